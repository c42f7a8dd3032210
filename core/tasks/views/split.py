"""Which examples of a dataset a task consists of.

Which ones are held out, and which are the shots, depends only on the dataset and the class: all runs, methods and
transforms of a dataset are trained and validated on the same examples. A dataset without classes is split as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import Dataset
from core.data.task_spec import TaskSpec
from core.errors import DatasetError

SPLIT_SEED = 20210617
"""Seed of the choice of held-out examples and shots, the same for every run."""


@dataclass(frozen=True)
class Outline:
    """What a task will contain, known without making its tensors."""

    classes: tuple[int, ...]
    """Labels that occur, sorted; empty without classes."""
    train: NDArray[np.intp]
    """Training rows, as indices into the dataset's training part."""
    validation: NDArray[np.intp]
    """Held-out rows, as indices into the same part."""
    test: NDArray[np.intp]
    """Test rows, as indices into the dataset's test part."""


@dataclass(frozen=True)
class Kind:
    """What classes are called in messages."""

    one: str
    several: str


CLASSES, TOPICS = Kind("class", "classes"), Kind("topic", "topics")
"""Those that are learned, and those of texts to continue."""


def outline(spec: TaskSpec, dataset: Dataset, kind: Kind = CLASSES) -> Outline:
    """Choose a task's examples.

    Raises:
        DatasetError: the dataset is another one, lacks a class, or has too few examples of one.
    """
    if spec.dataset != dataset.name:
        raise DatasetError(f"This task is made of {spec.dataset}, not of {dataset.name}; choose the matching dataset.")
    if not dataset.num_classes:
        return _without_classes(spec, dataset, kind)
    present = np.intersect1d(dataset.train_labels, dataset.test_labels).tolist()
    classes = tuple(present) if spec.classes is None else tuple(sorted(spec.classes))
    lacking = [label for label in classes if label not in present]
    if lacking:
        raise DatasetError(
            f"{dataset.name} has no training or no test examples of {kind.one} {lacking[0]}; "
            f"choose among its {kind.several} {present[0]} to {present[-1]}."
        )
    train, validation = _split(spec, dataset, classes, kind)
    return Outline(classes, train, validation, np.flatnonzero(np.isin(dataset.test_labels, classes)))


def _split(
    spec: TaskSpec, dataset: Dataset, classes: tuple[int, ...], kind: Kind
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the training part to train on and rows to hold out, each sorted.

    Each class has one fixed random order. Validation rows are taken from its front and shots from its back, so a
    larger part contains the smaller one, and neither depends on the other or on the classes kept.
    """
    train, validation = [], []
    for label in classes:
        rows = np.flatnonzero(dataset.train_labels == label)
        # NumPy guarantees that the stream of RandomState never changes between versions.
        rows = np.random.RandomState([SPLIT_SEED, label]).permutation(rows)
        trained, held_out, available = _divided(rows, spec)
        if trained is None:
            raise DatasetError(
                f"{dataset.name} has {available} training examples of {kind.one} {dataset.class_names[label]} besides "
                f"the validation part, not {spec.shots or 1}: choose “all” or fewer shots, or leave the {kind.one} out."
            )
        train.append(trained)
        validation.append(held_out)
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(validation))


def _without_classes(spec: TaskSpec, dataset: Dataset, kind: Kind) -> Outline:
    """The examples of a task whose targets are no classes: all of them have one fixed random order."""
    if spec.classes is not None:
        raise DatasetError(f"{dataset.name} has no {kind.several}: leave the {kind.several} kept out.")
    rows = np.random.RandomState([SPLIT_SEED]).permutation(len(dataset.train_labels))
    trained, held_out, available = _divided(rows, spec)
    if trained is None:
        raise DatasetError(
            f"{dataset.name} has {available} training examples besides the validation part, not {spec.shots or 1}: "
            "choose “all” or fewer shots."
        )
    return Outline((), np.sort(trained), np.sort(held_out), np.arange(len(dataset.test_labels)))


def _divided(rows: NDArray[np.intp], spec: TaskSpec) -> tuple[NDArray[np.intp] | None, NDArray[np.intp], int]:
    """Rows to train on, None where there are too few; rows to hold out; and the number of rows besides those."""
    held_out = max(1, round(spec.validation * len(rows)))
    available = len(rows) - held_out
    if available < (1 if spec.shots is None else spec.shots):
        return None, rows[:held_out], available
    return rows[held_out:] if spec.shots is None else rows[-spec.shots :], rows[:held_out], available
