"""Tasks: datasets seen in one way, as tensors on the training device.

Which images are held out, and which are the shots, depends only on the dataset and the class: all runs, methods and
transforms of a dataset are trained and validated on the same images.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate

from core.data.catalog import Catalog
from core.data.dataset import ImageDataset
from core.data.idx import SIDE, Images, Labels
from core.data.own import Revision
from core.errors import DatasetError
from core.spec import TaskSpec

SPLIT_SEED = 20210617
"""Seed of the choice of held-out images and shots, the same for every run."""

CHUNK = 4096
"""Images transformed at once: small enough for the processor's cache."""


EvaluationPart = Literal["validation", "test"]
"""The parts that are not trained on: one to choose settings by, one to report."""


@dataclass(frozen=True, eq=False)
class Task:
    """Training, validation and test data. Images are rows of 784 values from 0 to 1."""

    spec: TaskSpec
    classes: tuple[int, ...]
    """Labels that occur, sorted; they keep the dataset's numbers."""
    class_names: tuple[str, ...]
    """Name of each label of the dataset, including labels left out: ``class_names[label]``."""
    train_x: Tensor
    """(n, 784) float32."""
    train_y: Tensor
    """(n,) int64."""
    validation_x: Tensor
    validation_y: Tensor
    test_x: Tensor
    test_y: Tensor

    @property
    def num_train(self) -> int:
        """Number of training images."""
        return len(self.train_y)

    def part(self, name: EvaluationPart) -> tuple[Tensor, Tensor]:
        """Images of shape (n, pixels) and labels of shape (n,) of one part."""
        return (self.test_x, self.test_y) if name == "test" else (self.validation_x, self.validation_y)

    def to(self, device: torch.device | str) -> Task:
        """The same task on another device; tensors already on it are shared."""
        return replace(
            self,
            train_x=self.train_x.to(device),
            train_y=self.train_y.to(device),
            validation_x=self.validation_x.to(device),
            validation_y=self.validation_y.to(device),
            test_x=self.test_x.to(device),
            test_y=self.test_y.to(device),
        )


MAX_OUTLINES = 16
"""Outlines to keep in memory; MNIST's takes half a megabyte."""


class Tasks:
    """Recently used tasks, kept in memory. Thread-safe."""

    def __init__(self, catalog: Catalog, keep: int = 4) -> None:
        """Args:
        catalog: where datasets come from.
        keep: number of tasks to keep in memory; MNIST takes 220 MB.
        """
        self._catalog = catalog
        self._tasks: LRUCache[tuple[TaskSpec, str, Revision], Task] = LRUCache(keep)
        self._outlines: LRUCache[tuple[TaskSpec, Revision], Outline] = LRUCache(MAX_OUTLINES)
        # Held while a task is made, so that threads that want the same one wait for it instead of making it twice.
        self._making_task, self._making_outline = threading.Lock(), threading.Lock()

    def get(self, spec: TaskSpec, device: torch.device | str = "cpu") -> Task:
        """The task of a spec on a device, made now unless it was used recently.

        Raises:
            DatasetError: see :meth:`core.data.catalog.Catalog.load` and :func:`make_task`.
        """
        # The revision, because a name can be given to another dataset after the first one was removed.
        key = (spec, str(device), self._catalog.revision(spec.dataset))
        with self._making_task:
            if key not in self._tasks:
                self._tasks[key] = make_task(spec, self._catalog.load(spec.dataset)).to(device)
            return self._tasks[key]

    def outline(self, spec: TaskSpec) -> Outline:
        """What the task of a spec will contain; more of these are kept, since pages need one for every waiting run.

        Raises:
            DatasetError: see :meth:`get`.
        """
        key = (spec, self._catalog.revision(spec.dataset))
        with self._making_outline:
            if key not in self._outlines:
                self._outlines[key] = outline(spec, self._catalog.load(spec.dataset))
            return self._outlines[key]


@dataclass(frozen=True)
class Outline:
    """What a task will contain, known without making its tensors."""

    classes: tuple[int, ...]
    train: NDArray[np.intp]
    """Training rows, as indices into the dataset's training part."""
    validation: NDArray[np.intp]
    """Held-out rows, as indices into the same part."""
    test: NDArray[np.intp]
    """Test rows, as indices into the dataset's test part."""


def outline(spec: TaskSpec, dataset: ImageDataset) -> Outline:
    """Choose a task's images.

    Raises:
        DatasetError: the dataset is another one, lacks a class, or has too few images of one.
    """
    if spec.dataset != dataset.name:
        raise DatasetError(f"This task is made of {spec.dataset}, not of {dataset.name}; choose the matching dataset.")
    present = np.intersect1d(dataset.train_labels, dataset.test_labels).tolist()
    classes = tuple(present) if spec.classes is None else tuple(sorted(spec.classes))
    lacking = [label for label in classes if label not in present]
    if lacking:
        raise DatasetError(
            f"{dataset.name} has no training or no test images of class {lacking[0]}; "
            f"choose among its classes {present[0]} to {present[-1]}."
        )
    train, validation = _split(spec, dataset, classes)
    return Outline(classes, train, validation, np.flatnonzero(np.isin(dataset.test_labels, classes)))


def make_task(spec: TaskSpec, dataset: ImageDataset) -> Task:
    """Make a task from a dataset. The same spec and dataset give the same task, bit for bit.

    Args:
        spec: classes, transforms, shots and validation part. Transforms are applied in this order: rotation,
            inversion, permutation.
        dataset: the one that ``spec`` names.

    Returns:
        The task on the CPU, images in the dataset's order.

    Raises:
        DatasetError: the dataset is another one, lacks a class, or has too few images of one.
    """
    chosen = outline(spec, dataset)
    return Task(
        spec=spec,
        classes=chosen.classes,
        class_names=dataset.class_names,
        train_x=_transformed(dataset.train_images, chosen.train, spec),
        train_y=torch.from_numpy(dataset.train_labels[chosen.train]),
        validation_x=_transformed(dataset.train_images, chosen.validation, spec),
        validation_y=torch.from_numpy(dataset.train_labels[chosen.validation]),
        test_x=_transformed(dataset.test_images, chosen.test, spec),
        test_y=torch.from_numpy(dataset.test_labels[chosen.test]),
    )


def preview(task: Task, per_class: int) -> tuple[Images, Labels]:
    """The first training images of each class.

    Args:
        task: the task.
        per_class: number of images per class; fewer if the task has fewer.

    Returns:
        Images of shape (k, 28, 28), 0 black to 255 white, and their labels of shape (k,), sorted by class.
    """
    rows = torch.cat([(task.train_y == label).nonzero()[:per_class, 0] for label in task.classes])
    images = (task.train_x[rows] * 255).round().to(torch.uint8).view(-1, SIDE, SIDE)
    return images.cpu().numpy(), task.train_y[rows].cpu().numpy()


def _split(
    spec: TaskSpec, dataset: ImageDataset, classes: tuple[int, ...]
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
        held_out = max(1, round(spec.validation * len(rows)))
        available = len(rows) - held_out
        wanted = 1 if spec.shots is None else spec.shots
        if available < wanted:
            raise DatasetError(
                f"{dataset.name} has {available} training images of class {label} besides the validation part, "
                f"not {wanted}; ask for fewer shots or leave the class out."
            )
        train.append(rows[held_out:] if spec.shots is None else rows[-spec.shots :])
        validation.append(rows[:held_out])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(validation))


def _transformed(images: Images, rows: NDArray[np.intp], spec: TaskSpec) -> Tensor:
    """Selected rows of ``images``, of shape (n, 28, 28), transformed to (len(rows), 784) float32 from 0 to 1."""
    out = torch.empty(len(rows), SIDE * SIDE)
    order = None
    if spec.permutation is not None:
        order = torch.from_numpy(np.random.RandomState(spec.permutation).permutation(SIDE * SIDE))
    for start in range(0, len(rows), CHUNK):
        x = torch.from_numpy(images[rows[start : start + CHUNK]]).float().div_(255)
        if spec.rotation:
            x = rotate(x.unsqueeze(1), spec.rotation, InterpolationMode.BILINEAR)
        if spec.invert:
            # After the rotation, so that the empty corners become background too.
            x = 1 - x
        x = x.reshape(len(x), -1)
        out[start : start + len(x)] = x if order is None else x[:, order]
    return out
