"""The line of a model card on what its adapter was trained on: written, and read back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from core.data.task_spec import TaskSpec
from core.errors import SpecError

TRAINED = "Trained on: "
"""Start of the line."""

MAX_LINE = 200
"""Maximum number of characters of a line of a card; the rest of a longer one is missing."""

_LINE = re.compile(rf"^- (Trained on.{{1,{2 * MAX_LINE}}})$", re.MULTILINE)


def task_line(task: TaskSpec, texts: bool, classes: bool) -> str:
    """What a network was trained on. Args: task: what; texts: not images; classes: whether its targets are classes."""
    parts = [f"dataset {task.dataset}"]
    if task.classes is not None:
        parts.append(f"{'classes' if classes else 'topics'} {', '.join(map(str, task.classes))}")
    if task.rotation:
        parts.append(f"rotated by {task.rotation:g} degrees")
    if task.invert:
        parts.append("inverted")
    if task.permutation is not None:
        parts.append(f"pixels permuted with seed {task.permutation}")
    if task.shots is not None:
        parts.append(f"{task.shots} {'texts' if texts else 'images'}{' per class' if classes else ''}")
    if texts:
        parts.append(f"texts cut off after {task.length} tokens")
    return "; ".join(parts)


_PARTS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    (r"dataset ([a-z0-9-]+)", "dataset", str),
    (r"(?:classes|topics) (\d+(?:, \d+)*)", "classes", lambda found: tuple(map(int, found.split(", ")))),
    (r"rotated by (-?[\d.]+) degrees", "rotation", float),
    (r"(inverted)", "invert", bool),
    (r"pixels permuted with seed (\d+)", "permutation", int),
    (r"(\d+) (?:texts|images)(?: per class)?", "shots", int),
    (r"texts cut off after (\d+) tokens", "length", int),
)
"""Pattern of each part of the line, the field of the task, and what makes its value of the text."""


def task_named(card: str) -> TaskSpec | None:
    """The task that a card says its adapter was trained on; None if it does not say so as ours do.

    The size of the validation part is not in the line: it is the default one.

    Args:
        card: the ``README.md`` of an adapter file.
    """
    found = _LINE.search(card)
    told = without_markup(found[1]) if found else ""
    if not told.startswith(TRAINED) or len(told) >= MAX_LINE:
        return None
    values = {}
    for part in told.removeprefix(TRAINED).split("; "):
        fitting = [(name, make, each) for way, name, make in _PARTS if (each := re.fullmatch(way, part, re.ASCII))]
        if not fitting:
            return None
        name, make, each = fitting[0]
        try:
            values[name] = make(each[1])
        except ValueError:  # as of 1.2.3 degrees
            return None
    try:
        return TaskSpec.of(**values)
    except SpecError:
        return None


def without_markup(text: str) -> str:
    """Text of a card as it was before :func:`core.adapter.card.plain`."""
    return re.sub(r"`|\\([\W_])", r"\1", text)
