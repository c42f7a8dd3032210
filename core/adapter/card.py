"""The model card, which is the README of an adapter file."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from typing import Protocol, Self

from core.adapter.card_data import Uploaded, classes_code, images_code, measure_images, measure_texts, outputs_text
from core.adapter.card_task import MAX_LINE, TRAINED, task_line, without_markup
from core.adapter.card_texts import (
    ALONE,
    CARD,
    FOLDER,
    LANGUAGE_FOLDER,
    NETWORK_FILE,
    SCORE_ANSWER,
    SCORE_TEXT,
    WEIGHTED,
    WITH_LORA_LAB,
    WITHOUT_LORA_LAB,
)
from core.adapter.certificate import Certificate
from core.adapter.config import CAUSAL
from core.data.dataset import SIDE
from core.data.examples import shapes_of
from core.data.task_spec import TaskSpec
from core.methods.adapter import AdapterSpec
from core.networks.network import NetworkSpec
from core.objectives.measure import BEFORE, SOURCE
from core.run_spec import OptimSpec, RunSpec

MAX_LISTED = 6
"""Layers that a card lists one by one; more are summed up."""

_BASE = re.compile(r"^- Base: (.{1,1000}?), fingerprint(?: without its head)? `[0-9a-f]{64}`$", re.MULTILINE)
"""The line of a card that names the base."""


_FILE = re.compile(r"[\w-]{1,80}", re.ASCII)
"""Pattern of the id of a run, after which its downloads are named."""


class Scores(Protocol):
    """The fields of a run's result that a card shows."""

    @property
    def measures(self) -> Mapping[str, float | None]: ...
    @property
    def epochs(self) -> int: ...
    @property
    def device(self) -> str: ...


@dataclass(frozen=True)
class Card:
    """What the model card says about the run. Any text is safe here."""

    run: str
    base: str
    """The pretrain run whose network was fine-tuned; empty for a network that was fine-tuned as it was imported."""
    task: tuple[str, ...] = ()
    """Lines about data and training."""
    results: Mapping[str, str] = field(default_factory=dict)
    """Measured values, by name."""
    labels: tuple[str, ...] = ()
    """Name of each class."""
    data: TaskSpec | None = None
    """What the network was trained on, if its inputs are to be explained."""
    uploaded: Uploaded | None = None
    """The dataset of that task, if somebody uploaded it."""
    length: int | None = None
    """Tokens after which texts were cut off, if known."""
    has_classes: bool = True
    """Whether the outputs are logits of classes."""
    seed: int | None = None
    """Of the run; None for a card without a run's results."""

    @classmethod
    def of(
        cls, run: str, spec: RunSpec, result: Scores, labels: Sequence[str] = (), uploaded: Uploaded | None = None
    ) -> Self:
        """The card of a finished LoRA run.

        Args:
            run: its id.
            spec: the run.
            result: what it came to.
            labels: name of each class of the task's dataset.
            uploaded: the dataset, if somebody uploaded it.
        """
        optim, texts = spec.optim, spec.network.reads_tokens
        classes = spec.objective.has_classes
        lines = [f"{TRAINED}{task_line(spec.task, texts, classes)}"]
        if spec.source is not None:
            what = "Forgetting was measured on" if spec.is_direct else "The base was trained on"
            lines.append(f"{what}: {task_line(spec.source, texts, classes)}")
        lines.append(
            f"{'AdamW' if optim.weight_decay else 'Adam'}, learning rate {optim.learning_rate:g}, "
            f"batch size {optim.batch_size}, {result.epochs} of {optim.epochs} epochs, seed {spec.seed}, "
            f"on {result.device}"
        )
        if more := optim.beyond_plain_adam | optim.model_dump(include={"head_rate"}):
            lines.append(f"Trained with {', '.join(starmap(_setting, more.items()))}")
        primary = spec.objective.primary
        measured = {
            f"{primary.title} on the test part": primary.name,
            f"{primary.title} before fine-tuning": primary.name + BEFORE,
            f"{primary.title} on the source task": SOURCE + primary.name,
            f"{primary.title} on the source task before": SOURCE + primary.name + BEFORE,
        }
        values = {title: result.measures.get(name) for title, name in measured.items()}
        results = {title: primary.text(value) for title, value in values.items() if value is not None}
        length = spec.task.length if texts else None
        data, told = spec.task if classes else None, tuple(lines)
        return cls(run, spec.base or "", told, results, tuple(labels), data, uploaded, length, classes, spec.seed)


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
    in_head = certificate.head_parameters
    text = CARD.substitute(
        run=plain(card.run),
        tag=method.peft.peft_type.lower(),
        title=method.title,
        method=method.line,
        base=_base(card, network),
        task="".join(f"- {plain(line)}\n" for line in card.task),
        results="".join(f"| {plain(name)} | {plain(value)} |\n" for name, value in card.results.items()),
        alone="" if card.seed is None else ALONE.substitute(seed=card.seed),
        overlap=f"\n{plain(card.uploaded.overlap)}\n" if card.uploaded and card.uploaded.overlap else "",
        settings=f"- {method.card_line}\n" if method.card_line else "",
        layers=_layers(certificate.layers),
        parameters=f"{certificate.parameters:,}",
        head=f", {in_head:,} of them in its head," if in_head else "",
        headless=" without its head" if network.has_head else "",
        fingerprint=certificate.base_fingerprint,
        network=plain(network.text) if network.brought else network.text,
        input=network.input_text,
        outputs=_outputs(card, network),
        preprocessed="in training" if card.data is None or not _reads(card, network) else "below",
        unused=outputs_text(card.data, card.labels, network.num_classes) if card.data and card.labels else "",
        data=_data(card, network),
        usage=_usage(card, network, head),
        weighted=WEIGHTED if method.is_low_rank and not head else "",
        rows=certificate.probe_rows,
        reloaded=f"{certificate.reloaded_difference:.2g}",
        merged=f"{certificate.merged_difference:.2g}",
    )
    return text.encode()


def _outputs(card: Card, network: NetworkSpec) -> str:
    """What the network gives for one input: a logit for each class, or numbers."""
    if network.task_type == CAUSAL:
        return "the logits of each next token"
    if card.has_classes:
        return f"a row of {network.num_classes} logits"
    return "a row of one number" if network.num_classes == 1 else f"a row of {network.num_classes} numbers"


def base_named(card: str) -> str | None:
    """What a card calls the base of its adapter, without markup; None if it does not say so as ours do.

    Args:
        card: the ``README.md`` of an adapter file.
    """
    found = _BASE.search(card)
    return without_markup(found[1]) if found else None


def _base(card: Card, network: NetworkSpec) -> str:
    """What the base is: a run, the network that somebody imported, or both."""
    if network.brought is None:
        return plain(card.base)
    imported = f"{plain(network.sizes)} (files with the digest `{network.brought}`)"
    return f"{plain(card.base)}, which was trained from {imported}" if card.base else imported


def _layers(ranks: Mapping[str, int]) -> str:
    """The adapted layers with their ranks, if any; many are summed up, with a star for the number of a block."""
    found = Counter((path, rank) for path, rank in sorted(ranks.items()))
    if len(found) > MAX_LISTED:
        found = Counter((re.sub(r"\b\d+\b", "*", path), rank) for path, rank in sorted(ranks.items()))
    return ", ".join(
        f"{f'{n} × ' if n > 1 else ''}`{path}`{f' (rank {rank})' if rank else ''}" for (path, rank), n in found.items()
    )


def _usage(card: Card, network: NetworkSpec, head: Sequence[str]) -> str:
    """How to load the adapter: on a base in one file, or on a folder of transformers."""
    arguments = network.pretrained
    files = {
        "adapter_file": f"{card.run}-adapter.zip" if _FILE.fullmatch(card.run) else "adapter.zip",
        "base_file": f"{card.base}-network.safetensors" if _FILE.fullmatch(card.base) else "base.safetensors",
    }
    if arguments is None:
        code = network.torch_code
        loading = WITH_LORA_LAB if code is None else WITHOUT_LORA_LAB
        return NETWORK_FILE.substitute(files, loading=loading.substitute(files, code=code, where=_where_file(card)))
    if network.task_type == CAUSAL:
        scoring = SCORE_ANSWER if card.uploaded and card.uploaded.has_messages else SCORE_TEXT
        return LANGUAGE_FOLDER.substitute(files, where=_where(card, network), scoring=scoring)
    named = bool(card.labels) and card.has_classes
    return FOLDER.substitute(
        files,
        where=_where(card, network),
        arguments="\n".join(f"    {name}={_code(value)}," for name, value in arguments.items()),
        padding=arguments["pad_token_id"],
        longest="" if card.length is None else f", max_length={card.length}",
        cut="" if card.length is None else f", cut off after {card.length} with their marks",
        head="`, `".join(head),
        classes=f"{classes_code(card.labels, network.num_classes)}\n" if named else "",
        shown="print([classes[label] for label in logits.argmax(1)])\n" if named else "",
    )


def _data(card: Card, network: NetworkSpec) -> str:
    """How to read a person's own files, and to measure the accuracy on those that were uploaded."""
    task, names = card.data, card.labels
    if task is None or not names or not _reads(card, network):
        return ""
    if network.pretrained is not None:
        return measure_texts(task, names, card.uploaded) if card.uploaded else ""
    measure = measure_images(task, names, card.uploaded) if card.uploaded else ""
    return images_code(task, names, network.num_classes) + measure


def _reads(card: Card, network: NetworkSpec) -> bool:
    """Whether the code of a card makes the network's inputs of texts or images."""
    if network.pretrained is not None:
        return True
    pixels = {"pixels": (SIDE * SIDE,)}
    return bool(card.labels) and shapes_of(network.examples(1).batch(slice(None))) == pixels


def _code(value: str | int) -> str:
    """A value in code, with strings in the quotes that the rest of a card has."""
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _where_file(card: Card) -> str:
    """Where the base's weights are to be had."""
    run = f" of run {plain(card.base)}" if card.base else ""
    return f"The base is the network{run}, which LoRA Lab's page Adapters offers as *Base*, beside the adapter."


def _where(card: Card, network: NetworkSpec) -> str:
    """Where the folder of the base comes from."""
    if card.base:
        return (
            f"It is what the zip `{plain(card.base)}-hugging-face.zip` unpacks to, which the page Runs makes of run "
            f"{plain(card.base)}, among its files for other tools."
        )
    name = network.sizes
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return "It has the files of the network named above: config, tokenizer and weights."
    return f"It has the files of the network named above; `{name}` in its place loads them from Hugging Face."


def plain(text: str) -> str:
    """Escape ``text`` to a single line that Markdown shows literally, without markup, links, table cells or HTML."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_LINE]
    escaped = re.sub(r"([\\`*_{}\[\]<>()#|~!&$@:])", r"\\\1", line)
    escaped = re.sub(r"(?i)\b(www)\.", r"\1\\.", escaped)
    # At the start of a line, these would start a list or a rule.
    return re.sub(r"^(\d*)([-+=.])", r"\1\\\2", escaped)


def _setting(name: str, value: float | str) -> str:
    """A setting of training with its value. Args: name: of the field; value: other than by default."""
    title = OptimSpec.model_fields[name].title or name
    if value is True:
        return title.lower()
    return f"{title.lower()} {value if isinstance(value, str) else f'{value:g}'}"
