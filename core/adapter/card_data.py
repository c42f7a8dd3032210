"""The sections of a model card on data: how to read a person's own files, and to measure accuracy on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from core.adapter.card_code import FOUND, IMAGES, MEASURE_IMAGES, MEASURE_TEXTS, REPEATS
from core.data.dataset import SIDE, Dataset, LanguageDataset, TextColumns, TextDataset, overlap_sentence
from core.data.task_spec import TaskSpec
from core.data.uploads.classes import PARTS, SPLIT_SEED, TEST_SHARE
from core.data.uploads.images import ENDINGS
from core.data.uploads.limits import MIN_SIDE, MIN_TEST
from core.data.uploads.text_draft import MISSING
from core.numbers import capitalized

WIDTH = 100
"""Columns of a line of code."""


@dataclass(frozen=True)
class Uploaded:
    """What a card says of a dataset that somebody uploaded."""

    tested: int
    """Number of test examples of the task."""
    columns: TextColumns | None = None
    """That were chosen of a table of texts, where they are known."""
    overlap: str = ""
    """What follows from test examples that are also in the training part; empty where there are none."""
    has_messages: bool = False
    """Whether it has conversations, which a network writes in its chat template."""

    @classmethod
    def of(cls, dataset: Dataset, tested: int) -> Self:
        """Of a dataset, and the number of test examples of a task of it."""
        columns = dataset.columns if isinstance(dataset, TextDataset) else None
        passages = dataset.test_texts if isinstance(dataset, LanguageDataset) else ()
        has_messages = any(passage.messages for passage in passages)
        return cls(tested, columns, overlap_sentence(dataset), has_messages)


def classes_code(names: Sequence[str], outputs: int) -> str:
    """Code for the names of a network's outputs, in order, with those that no class has.

    Args:
        names: of the classes, by label; at least one.
        outputs: number of outputs of the network.
    """
    code = f"classes = [{_listed(names[:outputs])}]"
    unused = outputs - len(names)
    return f'{code}\nclasses += ["unused"] * {unused}  # outputs of no class' if unused > 0 else code


def outputs_text(task: TaskSpec, names: Sequence[str], outputs: int) -> str:
    """Sentences on outputs that are never right; empty if there are none.

    Args:
        task: what the network was trained on.
        names: of the classes, by label.
        outputs: number of outputs of the network.
    """
    found = []
    if outputs > len(names):
        several = outputs > len(names) + 1
        unused = f"outputs {len(names)} to {outputs - 1} are" if several else f"output {len(names)} is"
        found.append(f"{unused} of no class")
    if task.classes is not None:
        found.append(f"only the classes {', '.join(map(str, sorted(task.classes)))} were trained and tested")
    if not found:
        return ""
    text = "; ".join(found)
    return f" {capitalized(text)}. A prediction is the largest of all {outputs} outputs, unused ones included."


def images_code(task: TaskSpec, names: Sequence[str], outputs: int) -> str:
    """The section of a card that reads images as a task does.

    Args:
        task: what the network was trained on.
        names: of the classes, by label; at least one.
        outputs: number of outputs of the network.
    """
    steps, told = [], []
    if task.rotation:
        told.append(f"turned by {task.rotation:g} degrees counter-clockwise")
        steps.append(f"x = rotate(x[None, None], {task.rotation!r}, InterpolationMode.BILINEAR)[0, 0]")
    if task.invert:
        told.append("inverted")
        steps.append("x = 1 - x")
    if task.permutation is not None:
        told.append("shuffled in one fixed way")
        steps.append(f"x = x.reshape(-1)[np.random.RandomState({task.permutation}).permutation({SIDE * SIDE})]")
    return IMAGES.substitute(
        side=SIDE,
        smallest=MIN_SIDE,
        classes=classes_code(names, outputs),
        transforms=f" Then it is {', '.join(told)}, as all images of the task." if told else "",
        imports=_ROTATE if task.rotation else "",
        steps="".join(f"    {step}\n" for step in steps),
    )


def measure_images(task: TaskSpec, names: Sequence[str], own: Uploaded) -> str:
    """The section of a card that measures accuracy on the zip of images that was uploaded.

    Args:
        task: what the network was trained on.
        names: of the classes of the dataset, by label.
        own: the dataset.
    """
    keep = "" if task.classes is None else f"test = [name for name in test if labels[name] in {_kept(task)}]\n"
    return MEASURE_IMAGES.substitute(
        file=task.dataset,
        tested=f"{own.tested:,} test images",
        endings=_listed(ENDINGS),
        parts=_PARTS_CODE,
        named="classes" if task.classes is None else f"classes[:{len(names)}]",
        kept=keep,
        **_DRAW,
    )


def measure_texts(task: TaskSpec, names: Sequence[str], own: Uploaded) -> str:
    """The section of a card that measures accuracy on the table of texts that was uploaded; see
    :func:`measure_images`.
    """
    repeats = REPEATS[own.columns.without_repeats if own.columns else None]
    return MEASURE_TEXTS.substitute(
        file=task.dataset,
        tested=f"{own.tested:,} test texts",
        parts=_PARTS_CODE,
        missing=_listed(MISSING),
        count=len(names),
        columns=_chosen(own.columns) if own.columns else FOUND.substitute(count=len(names)),
        kept="test" if task.classes is None else f"[row for row in test if row[1] in {_kept(task)}]",
        repeats=repeats.replace("$number", str(own.tested)),
        **_DRAW,
    )


def _chosen(columns: TextColumns) -> str:
    """Code that names the columns of a table as somebody chose them."""
    named = [
        f"{title} = {'None' if name is None else _string(name)}"
        for title, name in (("TEXT", columns.text), ("LABEL", columns.label), ("PART", columns.part))
    ]
    return "\n".join(["# The columns as you chose them on the Data page.", *named])


def _kept(task: TaskSpec) -> str:
    """The labels that a task keeps, in code."""
    return "{" + ", ".join(map(str, sorted(task.classes or ()))) + "}"


def _listed(texts: Sequence[str]) -> str:
    """Strings in code, separated by commas, in as many lines as they need; no string can end the block of code."""
    return _lines([_string(text) for text in texts])


def _string(text: str) -> str:
    return json.dumps(text).replace("`", "\\u0060").replace("<", "\\u003c")


def _lines(items: Sequence[str]) -> str:
    lines = [""]
    for place, item in enumerate(items):
        piece = item if place == len(items) - 1 else f"{item},"
        if lines[-1] and len(lines[-1]) + 1 + len(piece) > WIDTH:
            lines.append(piece)
        else:
            lines[-1] = f"{lines[-1]} {piece}".lstrip()
    return lines[0] if len(lines) == 1 else "\n    " + "\n    ".join(lines) + "\n"


_PARTS_CODE = _lines([f"{_string(word)}: {_string(part)}" for word, part in PARTS.items()])
_ROTATE = "from torchvision.transforms import InterpolationMode\nfrom torchvision.transforms.functional import rotate\n"
_DRAW = {"seed": SPLIT_SEED, "share": TEST_SHARE, "fewest": MIN_TEST}
