"""The model card, which is the README of an adapter file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pprint import pformat
from typing import Any, Self

import jinja2

from core.adapter.card_template import TEMPLATE
from core.adapter.certificate import Certificate
from core.adapter.config import CAUSAL
from core.data.dataset import SIDE, Dataset, LanguageDataset, TextDataset, overlap_sentence
from core.data.examples import shapes_of
from core.data.task_spec import TaskSpec
from core.data.uploads.classes import PARTS, SPLIT_SEED, TEST_SHARE
from core.data.uploads.image_draft import ENDINGS
from core.data.uploads.limits import MIN_SIDE, MIN_TEST
from core.data.uploads.text_draft import MISSING
from core.methods.adapter import AdapterSpec
from core.networks.network import NetworkSpec
from core.objectives.measure import BEFORE, SOURCE
from core.run_spec import OptimSpec, RunSpec
from core.spec import Spec
from core.wording.tasks import task_text

MAX_LINE = 200
"""Maximum number of characters of a line of a card; the rest of a longer one is missing."""

MAX_LISTED = 6
"""Layers that a card lists one by one; more are summed up."""

_FILE = re.compile(r"[\w-]{1,80}", re.ASCII)
"""Pattern of the id of a run, after which its downloads are named."""


class TrainedOn(Spec):
    """What ``task.json``, beside the card, says to programs that read an adapter file back."""

    base: str
    """Id of the base's run, or the name of the network that was imported."""
    task: TaskSpec | None = None
    """None where only the base is known."""


@dataclass(frozen=True)
class Card:
    """What the model card says about the run. Any text is safe here."""

    run: str
    base: str
    """The pretrain run whose network was fine-tuned; empty for a network that was fine-tuned as it was imported."""
    lines: tuple[str, ...] = ()
    """On data and training."""
    results: Mapping[str, str] = field(default_factory=dict)
    """Measured values, by name."""
    names: tuple[str, ...] = ()
    """Of the classes, by label; empty if the outputs are no logits of classes."""
    task: TaskSpec | None = None
    """What the network was trained on, if it is known."""
    uploaded: Dataset | None = None
    """The dataset of that task, if somebody uploaded it."""
    seed: int | None = None
    """Of the run; None for a card without a run's results."""

    @classmethod
    def of(
        cls,
        run: str,
        spec: RunSpec,
        measures: Mapping[str, float | None],
        labels: Sequence[str] = (),
        uploaded: Dataset | None = None,
    ) -> Self:
        """The card of a finished LoRA run.

        Args:
            run: its id.
            spec: the run.
            measures: what it came to.
            labels: name of each class of the task's dataset.
            uploaded: the dataset, if somebody uploaded it.
        """
        optim, objective = spec.optim, spec.objective
        lines = [f"Trained on {task_text(spec.task, objective)}"]
        if spec.source is not None:
            what = "Forgetting was measured on" if spec.is_direct else "The base was trained on"
            lines.append(f"{what} {task_text(spec.source, objective)}")
        lines.append(
            f"{'AdamW' if optim.weight_decay else 'Adam'}, learning rate {optim.learning_rate:g}, "
            f"batch size {optim.batch_size}, at most {optim.epochs} epochs, seed {spec.seed}"
        )
        if more := optim.beyond_plain_adam | optim.model_dump(include={"head_rate"}):
            told = (f"{(OptimSpec.model_fields[name].title or name).lower()} {value}" for name, value in more.items())
            lines.append(f"Trained with {', '.join(told)}")
        primary = objective.primary
        measured = {
            f"{primary.title} on the test part": primary.name,
            f"{primary.title} before fine-tuning": primary.name + BEFORE,
            f"{primary.title} on the source task": SOURCE + primary.name,
            f"{primary.title} on the source task before": SOURCE + primary.name + BEFORE,
        }
        values = {title: measures.get(name) for title, name in measured.items()}
        results = {title: primary.text(value) for title, value in values.items() if value is not None}
        names = tuple(labels) if objective.has_classes else ()
        return cls(run, spec.base or "", tuple(lines), results, names, spec.task, uploaded, spec.seed)


def render(
    card: Card, method: AdapterSpec, network: NetworkSpec, certificate: Certificate, head: Sequence[str] = ()
) -> bytes:
    """Render the ``README.md`` of an adapter file.

    Args:
        card: the run.
        method: the settings of the adapter.
        network: the base's family and sizes.
        certificate: the measurements.
        head: paths of the modules that were trained whole.
    """
    own, names, folder = card.uploaded, card.names, network.pretrained is not None
    pixels = {"pixels": (SIDE * SIDE,)}
    reads = bool(names) and (folder or shapes_of(network.examples(1).batch(slice(None))) == pixels)
    unused = network.num_classes - len(names)
    base_file = f"{card.base}-network.safetensors" if _FILE.fullmatch(card.base) else "base.safetensors"
    text: str = _TEMPLATE.render(
        card=card,
        method=method,
        network=network,
        certificate=certificate,
        head=head,
        base=_base(card, network),
        headless=" without its head" if network.has_head else "",
        in_head=f", {certificate.head_parameters:,} of them in its head," if certificate.head_parameters else "",
        layers=_layers(certificate.layers),
        is_causal=network.task_type == CAUSAL,
        folder=folder,
        adapter_file=f"{card.run}-adapter.zip" if _FILE.fullmatch(card.run) else "adapter.zip",
        base_file="base" if folder else base_file,
        has_messages=isinstance(own, LanguageDataset) and any(passage.messages for passage in own.test_texts),
        overlap=overlap_sentence(own) if own else "",
        reads=reads,
        classes=code(names[: network.num_classes]) + (f' + ("unused",) * {unused}' if unused > 0 else ""),
        columns=own.columns if isinstance(own, TextDataset) else None,
        measures=reads and own is not None and not (isinstance(own, TextDataset) and own.columns is None),
        data_file=f"{own.name if own else ''}.{'csv' if folder else 'zip'}",
        kept={*range(len(names))} if card.task is None or card.task.classes is None else {*card.task.classes},
        side=SIDE,
        smallest=MIN_SIDE,
        missing=MISSING,
        endings=ENDINGS,
        parts=PARTS,
        seed=SPLIT_SEED,
        share=TEST_SHARE,
        fewest=MIN_TEST,
    )
    return text.encode()


def _base(card: Card, network: NetworkSpec) -> str:
    """What the base is: a run, the network that somebody imported, or both."""
    if network.brought is None:
        return plain(card.base)
    imported = f"{plain(network.sizes)} (files with the digest `{network.brought}`)"
    return f"{plain(card.base)}, which was trained from {imported}" if card.base else imported


def _layers(ranks: Mapping[str, int]) -> str:
    """The adapted layers with their ranks, if any; many are summed up, with a star for the number of a block."""
    several = len(ranks) > MAX_LISTED
    found = Counter((re.sub(r"\b\d+\b", "*", path) if several else path, rank) for path, rank in sorted(ranks.items()))
    return ", ".join(
        f"{f'{n} × ' if n > 1 else ''}`{path}`{f' (rank {rank})' if rank else ''}" for (path, rank), n in found.items()
    )


def code(value: Any) -> str:
    """A value in code, in as many lines as it needs; no string in it can end the block of code."""
    written = pformat(value, width=100, compact=True, sort_dicts=False)
    return written.replace("`", r"\x60").replace("<", r"\x3c")


def plain(text: str) -> str:
    """Escape ``text`` to a single line that Markdown shows literally, without markup, links, table cells or HTML."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_LINE]
    escaped = re.sub(r"([\\`*_{}\[\]<>()#|~!&$@:])", r"\\\1", line)
    escaped = re.sub(r"(?i)\b(www)\.", r"\1\\.", escaped)
    # At the start of a line, these would start a list or a rule.
    return re.sub(r"^(\d*)([-+=.])", r"\1\\\2", escaped)


_environment = jinja2.Environment(  # noqa: S701 (Markdown, in which plain() escapes)
    trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
)
_environment.filters |= {"plain": plain, "code": code}
_TEMPLATE = _environment.from_string(TEMPLATE)
