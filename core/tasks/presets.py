"""Presets: pairs of a source task to pretrain on and a target task to fine-tune on, and targets without a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.data.sources.catalog import Catalog
from core.data.sources.source import DatasetInfo
from core.data.task_spec import TaskSpec
from core.errors import DatasetError, SpecError


@dataclass(frozen=True)
class Preset:
    """One way to derive a target task from a source task."""

    name: str
    title: str
    line: str
    """What it shows, in one line, for every kind of data."""
    views: Mapping[str, Mapping[str, Any]]
    """For each kind of data that it is for (see :class:`core.tasks.views.view.View`), the fields of
    :class:`core.data.task_spec.TaskSpec` in which the target task differs from the source task."""
    halves: bool = False
    """Whether the source keeps the first half of the classes and the target the second."""
    other_dataset: bool = False
    """Whether the target must be a different dataset from the source."""
    lines: Mapping[str, str] = field(default_factory=dict)
    """What it shows, for the kinds of data for which :attr:`line` says too little."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """What it is called, for the kinds of data for which :attr:`title` is another word."""
    classes: int = 0
    """Classes that a dataset has at least, where it chooses some of them or counts examples of each."""
    plain_line: str = ""
    """What it shows with a dataset without classes; empty where :attr:`line` says it."""
    direct: Mapping[str, Any] | None = None
    """The fields above that are others where a network is fine-tuned as it was imported, with no source to change; None
    for a preset that takes a source."""

    def title_for(self, kind: str) -> str:
        """What it is called for data of a kind."""
        return self.titles.get(kind, self.title)

    def line_for(self, kind: str) -> str:
        """What it shows with data of a kind, in one line."""
        return self.lines.get(kind, self.line)

    def tasks(self, source: DatasetInfo, target: DatasetInfo, **shared: Any) -> tuple[TaskSpec, TaskSpec]:
        """The source task and the target task on two datasets of a kind that it is for.

        Args:
            source: to pretrain on.
            target: to fine-tune on.
            shared: other fields of both tasks.

        Raises:
            SpecError: a field is out of bounds.
        """
        first: dict[str, Any] = {"dataset": source.name, **shared}
        second: dict[str, Any] = {"dataset": target.name, **shared, **self.views[target.kind]}
        if self.halves:
            first["classes"] = tuple(range(source.num_classes // 2))
            second["classes"] = tuple(range(target.num_classes // 2, target.num_classes))
        return TaskSpec.of(**first), TaskSpec.of(**second)


HALVES = 4
"""Classes of a dataset of which each half is a task."""

ANY: Mapping[str, Mapping[str, Any]] = {"image": {}, "text": {}, "language": {}}
"""Views of a preset that is for every kind of data and changes no field."""

TEN_SHOTS: Mapping[str, Mapping[str, Any]] = {"image": {"shots": 10}, "text": {"shots": 10}}
"""Views of a preset that leaves ten training examples of each class, and changes no other field."""

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "same",
            "Same task",
            "Training continues on what the base already knows: how little is left to gain, and at what cost.",
            ANY,
            direct={
                "title": "Whole dataset",
                "line": "Every class, and all training examples.",
                "lines": {"language": "All training texts."},
                "plain_line": "All training examples.",
            },
        ),
        Preset(
            "split",
            "New classes",
            "Pretrain on the first half of the classes, fine-tune on the second: what is learned, what is forgotten.",
            ANY,
            lines={
                "language": "Pretrain on the first half of the topics, fine-tune on the second: what is learned, what "
                "is forgotten.",
            },
            titles={"language": "New topics"},
            halves=True,
            classes=HALVES,
        ),
        Preset(
            "rotation-45",
            "Rotation by 45°",
            "Every image is rotated by 45 degrees: the same strokes in new places, a moderate change.",
            {"image": {"rotation": 45.0}},
        ),
        Preset(
            "inversion",
            "Inversion",
            "Black and white are swapped: the same shapes, with the opposite sign at every pixel.",
            {"image": {"invert": True}},
        ),
        Preset(
            "permutation",
            "Pixel permutation",
            "All pixels are shuffled in one fixed way, so the whole first layer must change: the hard case for LoRA.",
            {"image": {"permutation": 0}},
        ),
        Preset(
            "transfer",
            "Another dataset",
            "Fine-tune on different data with different meanings: how much of the base is useful elsewhere.",
            ANY,
            other_dataset=True,
        ),
        Preset(
            "ten-shot",
            "Ten shots",
            "Ten training examples per class: which method makes more of very little data.",
            {"image": {"rotation": 45.0, "shots": 10}, "text": {"shots": 10}},
            lines={
                "image": "Ten training images per class, rotated by 45°: which method makes more of very little data.",
                "text": "Ten training texts per class: which method makes more of very little data.",
            },
            classes=1,
            direct={"views": TEN_SHOTS, "lines": {}},
        ),
    )
}
"""All presets, in display order."""


SUGGESTED = ("rotation-45", "split")
"""The first of these that is for a kind of data is its suggested preset."""


def suggested_preset(kind: str, direct: bool = False, classes: int = HALVES) -> str | None:
    """The name of the preset to suggest for datasets of a kind, see :func:`presets_for`; None if there is none."""
    names = presets_for(kind, direct, classes)
    return next((name for name in (*SUGGESTED, *names) if name in names), None)


def presets_for(kind: str, direct: bool = False, classes: int = HALVES) -> dict[str, Preset]:
    """The presets for datasets of a kind, in display order; empty if there are none.

    Args:
        kind: of the datasets.
        direct: whether a network is fine-tuned as it was imported, without a source task.
        classes: number of classes of the datasets; 0 where their targets are none.
    """
    found = {name: preset for name, preset in PRESETS.items() if kind in preset.views}
    if direct:
        found = {name: replace(each, **each.direct) for name, each in found.items() if each.direct is not None}
    found = {name: each for name, each in found.items() if each.classes <= classes}
    if classes:
        return found
    return {name: replace(each, line=each.plain_line or each.line) for name, each in found.items()}


def preset_tasks(
    name: str,
    source: str,
    catalog: Catalog,
    target: str | None = None,
    validation: float | None = None,
    learns: str = "",
) -> tuple[TaskSpec, TaskSpec]:
    """The source task and the target task of a preset.

    Args:
        name: the preset.
        source: dataset to pretrain on.
        catalog: all datasets.
        target: dataset to fine-tune on. Default: the source, or for ``transfer`` the best other dataset that is ready
            and has no more classes than the source.
        validation: fraction that both tasks hold out; None for the default of :class:`core.data.task_spec.TaskSpec`.
        learns: kind of data that the network learns; empty for that of the source.

    Raises:
        SpecError: there is no such preset, or the fraction is out of bounds.
        DatasetError: there is no such dataset, the preset is not for its kind, the target is of another kind than the
            source, or ``transfer`` finds no other.
    """
    if name not in PRESETS:
        raise SpecError(f"There is no preset {name!r}; choose one of: {', '.join(PRESETS)}.")
    preset = PRESETS[name]
    kind = _kind(preset, source, catalog, learns)
    if target is None:
        target = _other(source, catalog, learns) if preset.other_dataset else source
    if preset.other_dataset and target == source:
        raise DatasetError(f"The preset {name} needs a target other than its source {source}; choose another dataset.")
    before, after = (catalog.info(each, learns) for each in (source, target))
    if after.kind != kind:
        raise DatasetError(f"{target} is not of the same kind of data as {source}: choose another dataset.")
    if not after.is_like(before):
        raise DatasetError(f"{target} does not have the kind of targets that {source} has: choose another dataset.")
    shared: dict[str, Any] = {} if validation is None else {"validation": validation}
    return preset.tasks(before, after, **shared)


def direct_task(
    name: str, dataset: str, catalog: Catalog, validation: float | None = None, learns: str = ""
) -> TaskSpec:
    """The task of a preset for a network that is fine-tuned as it was imported.

    Args:
        name: the preset.
        dataset: what to fine-tune on.
        catalog: all datasets.
        validation: fraction to hold out; None for the default of :class:`core.data.task_spec.TaskSpec`.
        learns: kind of data that the network learns; empty for that of the dataset.

    Raises:
        SpecError: there is no such preset for such a network, or the fraction is out of bounds.
        DatasetError: there is no such dataset.
    """
    info = catalog.info(dataset, learns)
    kind = info.kind
    known = presets_for(kind, direct=True, classes=info.num_classes)
    if name not in known:
        raise SpecError(f"There is no preset {name!r} without a source; choose one of: {', '.join(known)}.")
    shared: dict[str, Any] = {} if validation is None else {"validation": validation}
    return TaskSpec.of(dataset=dataset, **shared, **known[name].views[kind])


def _kind(preset: Preset, dataset: str, catalog: Catalog, learns: str) -> str:
    """The kind of a dataset. Raises: DatasetError: the preset is not for it, or there is no such dataset."""
    info = catalog.info(dataset, learns)
    kind = info.kind
    if info.num_classes < preset.classes and kind in preset.views and info.state == "ready":
        names = ", ".join(presets_for(kind, classes=info.num_classes))
        least = f"{preset.classes} classes at least" if info.num_classes else "classes"
        has = f"{dataset} has {info.num_classes}" if info.num_classes else f"which {dataset} has not"
        raise DatasetError(f"The preset {preset.name} is for datasets with {least}, {has}; those for it: {names}.")
    if kind not in preset.views:
        names = ", ".join(presets_for(kind)) or "none"
        raise DatasetError(
            f"The preset {preset.name} is not for datasets of kind {kind!r} such as {dataset}; those for it: {names}."
        )
    return kind


def _other(source: str, catalog: Catalog, learns: str) -> str:
    """The default dataset to transfer to from ``source``."""
    base = catalog.info(source, learns)
    others = [
        info
        for info in (each.seen_by(learns) for each in catalog.list())
        if info.as_target and info.name != source and info.is_like(base) and info.num_classes <= base.num_classes
    ]
    choices = sorted(others, key=lambda info: info.as_target, reverse=True)
    for info in choices:
        if info.state == "ready":
            return info.name
    names = " or ".join(info.name for info in choices[:2])
    how = f"download {names}" if choices else "upload one, and choose it as the target"
    raise DatasetError(f"Transfer from {source} needs a second dataset: {how}.")
