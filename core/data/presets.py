"""Presets: pairs of a source task to pretrain on and a target task to fine-tune on, each with its lesson."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.data.catalog import Catalog
from core.errors import DatasetError, SpecError
from core.spec import TaskSpec

TARGETS = ("fashion-mnist", "mnist", "kmnist", "emnist-letters", "digits")
"""Datasets to transfer to where none is named, the first choice first."""


@dataclass(frozen=True)
class Preset:
    """One way to make a target task out of a source task."""

    name: str
    title: str
    line: str
    """What it shows, in one line."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of :class:`TaskSpec` that the target task has and the source task has not."""
    halves: bool = False
    """Whether the source keeps the first half of the classes and the target the second."""
    other_dataset: bool = False
    """Whether the target must be another dataset than the source."""


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "same",
            "Same task",
            "Training goes on with what the base already knows: how little is left to gain, and at what price.",
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
            "Every image is turned by 45 degrees: the same strokes at new places, a moderate change.",
            {"rotation": 45.0},
        ),
        Preset(
            "inversion",
            "Inversion",
            "Black and white change places: the same shapes, with the opposite sign at every pixel.",
            {"invert": True},
        ),
        Preset(
            "permutation",
            "Pixel permutation",
            "All pixels are shuffled in one fixed way, so the first layer must change as a whole: LoRA's hard case.",
            {"permutation": 0},
        ),
        Preset(
            "transfer",
            "Another dataset",
            "Fine-tune on other images with other meanings: how much of the base is of use elsewhere.",
            other_dataset=True,
        ),
        Preset(
            "ten-shot",
            "Ten shots",
            "Ten training images a class, turned by 45 degrees: which method makes more of very little data.",
            {"rotation": 45.0, "shots": 10},
        ),
    )
}
"""All presets, in the order in which they are offered."""


def preset_tasks(
    name: str, source: str, catalog: Catalog, target: str | None = None, validation: float | None = None
) -> tuple[TaskSpec, TaskSpec]:
    """The source task and the target task of a preset.

    Args:
        name: the preset.
        source: dataset to pretrain on.
        catalog: knows the datasets.
        target: dataset to fine-tune on; without one, the source, or for ``transfer`` the best other
            dataset that is ready and has no more classes than the source.
        validation: share that both tasks hold out; without one, the default of :class:`TaskSpec`.

    Raises:
        SpecError: there is no such preset, or the share is out of bounds.
        DatasetError: there is no such dataset, or ``transfer`` has no other one to go to.
    """
    if name not in PRESETS:
        raise SpecError(f"There is no preset {name!r}; choose one of: {', '.join(PRESETS)}.")
    preset = PRESETS[name]
    catalog.info(source)
    if target is None:
        target = _other(source, catalog) if preset.other_dataset else source
    if preset.other_dataset and target == source:
        raise DatasetError(f"The preset {name} needs a target other than its source {source}; choose another dataset.")
    shared: dict[str, Any] = {} if validation is None else {"validation": validation}
    first: dict[str, Any] = {"dataset": source, **shared}
    second: dict[str, Any] = {"dataset": target, **shared, **preset.changes}
    classes = catalog.info(target).num_classes
    if preset.halves:
        first["classes"] = tuple(range(catalog.info(source).num_classes // 2))
        second["classes"] = tuple(range(classes // 2, classes))
    return TaskSpec.of(**first), TaskSpec.of(**second)


def _other(source: str, catalog: Catalog) -> str:
    """The dataset to transfer to from ``source`` where none is named."""
    most = catalog.info(source).num_classes
    others = {info.name: info for info in catalog.list() if info.name != source and info.num_classes <= most}
    choices = [name for name in TARGETS if name in others]
    for name in choices:
        if others[name].state == "ready":
            return name
    raise DatasetError(f"To transfer from {source} takes a second dataset: download {' or '.join(choices[:2])}.")
