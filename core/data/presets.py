"""Presets: pairs of a source task to pretrain on and a target task to fine-tune on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.data.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.errors import DatasetError, SpecError


@dataclass(frozen=True)
class Preset:
    """One way to derive a target task from a source task."""

    name: str
    title: str
    line: str
    """What it shows, in one line."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of :class:`core.data.task_spec.TaskSpec` in which the target task differs from the source task."""
    halves: bool = False
    """Whether the source keeps the first half of the classes and the target the second."""
    other_dataset: bool = False
    """Whether the target must be a different dataset from the source."""
    view: str = "image"
    """The kind of data that it is for; see :class:`core.data.views.view.View`."""


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "same",
            "Same task",
            "Training continues on what the base already knows: how little is left to gain, and at what cost.",
        ),
        Preset(
            "split",
            "New classes",
            "Pretrain on the first half of the classes, fine-tune on the second: what is learnt, what is forgotten.",
            halves=True,
        ),
        Preset(
            "rotation-45",
            "Rotation by 45°",
            "Every image is rotated by 45 degrees: the same strokes in new places, a moderate change.",
            {"rotation": 45.0},
        ),
        Preset(
            "inversion",
            "Inversion",
            "Black and white are swapped: the same shapes, with the opposite sign at every pixel.",
            {"invert": True},
        ),
        Preset(
            "permutation",
            "Pixel permutation",
            "All pixels are shuffled in one fixed way, so the whole first layer must change: the hard case for LoRA.",
            {"permutation": 0},
        ),
        Preset(
            "transfer",
            "Another dataset",
            "Fine-tune on different images with different meanings: how much of the base is useful elsewhere.",
            other_dataset=True,
        ),
        Preset(
            "ten-shot",
            "Ten shots",
            "Ten training images per class, rotated by 45 degrees: which method makes more of very little data.",
            {"rotation": 45.0, "shots": 10},
        ),
    )
}
"""All presets, in display order."""


def preset_tasks(
    name: str, source: str, catalog: Catalog, target: str | None = None, validation: float | None = None
) -> tuple[TaskSpec, TaskSpec]:
    """The source task and the target task of a preset.

    Args:
        name: the preset.
        source: dataset to pretrain on.
        catalog: all datasets.
        target: dataset to fine-tune on. Default: the source, or for ``transfer`` the best other dataset that is ready
            and has no more classes than the source.
        validation: fraction that both tasks hold out; None for the default of :class:`core.data.task_spec.TaskSpec`.

    Raises:
        SpecError: there is no such preset, or the fraction is out of bounds.
        DatasetError: there is no such dataset, it is of another kind than the preset, or ``transfer`` finds no other.
    """
    if name not in PRESETS:
        raise SpecError(f"There is no preset {name!r}; choose one of: {', '.join(PRESETS)}.")
    preset = PRESETS[name]
    _check_kind(preset, source, catalog)
    if target is None:
        target = _other(source, catalog) if preset.other_dataset else source
    if preset.other_dataset and target == source:
        raise DatasetError(f"The preset {name} needs a target other than its source {source}; choose another dataset.")
    _check_kind(preset, target, catalog)
    shared: dict[str, Any] = {} if validation is None else {"validation": validation}
    first: dict[str, Any] = {"dataset": source, **shared}
    second: dict[str, Any] = {"dataset": target, **shared, **preset.changes}
    classes = catalog.info(target).num_classes
    if preset.halves:
        first["classes"] = tuple(range(catalog.info(source).num_classes // 2))
        second["classes"] = tuple(range(classes // 2, classes))
    return TaskSpec.of(**first), TaskSpec.of(**second)


def _check_kind(preset: Preset, dataset: str, catalog: Catalog) -> None:
    """Check that a dataset is of the preset's kind. Raises: DatasetError: it is not, or there is none of that name."""
    kind = catalog.info(dataset).kind
    if kind != preset.view:
        raise DatasetError(
            f"The preset {preset.name} is for datasets of kind {preset.view!r}, and {dataset} is of kind {kind!r}: "
            "choose another one."
        )


def _other(source: str, catalog: Catalog) -> str:
    """The default dataset to transfer to from ``source``."""
    base = catalog.info(source)
    others = [
        info
        for info in catalog.list()
        if info.as_target and info.name != source and info.kind == base.kind and info.num_classes <= base.num_classes
    ]
    choices = sorted(others, key=lambda info: info.as_target, reverse=True)
    for info in choices:
        if info.state == "ready":
            return info.name
    names = " or ".join(info.name for info in choices[:2])
    raise DatasetError(f"Transfer from {source} needs a second dataset: download {names}.")
