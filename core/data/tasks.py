"""Tasks: datasets seen in one way, as tensors that lie ready on the device that trains.

Which images are held out, and which are the shots, depends on nothing but the dataset and the class:
every run, method and transform of a dataset is watched and trained on the same images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate

from core.data.catalog import Catalog
from core.data.dataset import ImageDataset
from core.data.idx import SIDE, Images, Labels
from core.data.latest import Latest
from core.data.own import Revision
from core.errors import DatasetError
from core.spec import TaskSpec

SPLIT_SEED = 20210617
"""Fixes the held-out images and the shots; no run's seed changes them."""

CHUNK = 4096
"""Images that are transformed at once: a few MB stay in the processor's cache."""


EvaluationPart = Literal["validation", "test"]
"""Images that no weight is trained on: what choices are made by, and what they are judged by."""


@dataclass(frozen=True, eq=False)
class Task:
    """What a network learns, is watched on and is judged by. Images are rows of 784 values, 0 to 1."""

    spec: TaskSpec
    classes: tuple[int, ...]
    """Labels that occur, in order; they keep the dataset's numbers."""
    class_names: tuple[str, ...]
    """What each label of the dataset stands for: ``class_names[label]``, also for labels left out."""
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
        """Images to train on."""
        return len(self.train_y)

    def part(self, name: EvaluationPart) -> tuple[Tensor, Tensor]:
        """Images of shape (n, pixels) and labels of shape (n,) of the part of this name."""
        return (self.test_x, self.test_y) if name == "test" else (self.validation_x, self.validation_y)

    def to(self, device: torch.device | str) -> Task:
        """The same task on another device; tensors that are there already are shared."""
        return replace(
            self,
            train_x=self.train_x.to(device),
            train_y=self.train_y.to(device),
            validation_x=self.validation_x.to(device),
            validation_y=self.validation_y.to(device),
            test_x=self.test_x.to(device),
            test_y=self.test_y.to(device),
        )


OUTLINES = 16
"""Outlines that stay in memory; MNIST's takes half a megabyte."""


class Tasks:
    """The latest tasks, ready to use. Any number of threads may use it at once."""

    def __init__(self, catalog: Catalog, keep: int = 4) -> None:
        """Args:
        catalog: where datasets come from.
        keep: tasks that stay in memory; MNIST takes 220 MB.
        """
        self._catalog = catalog
        self._made: Latest[tuple[TaskSpec, str, Revision], Task] = Latest(keep)
        self._outlined: Latest[tuple[TaskSpec, Revision], Outline] = Latest(OUTLINES)

    def get(self, spec: TaskSpec, device: torch.device | str = "cpu") -> Task:
        """The task of a spec, on a device; made once, then kept while it is among the latest used.

        Raises:
            DatasetError: as of :meth:`Catalog.load` and :func:`make_task`.
        """
        # A name may come to stand for another dataset, once its own one was removed.
        key = (spec, str(device), self._catalog.revision(spec.dataset))
        return self._made.get(key, lambda: make_task(spec, self._catalog.load(spec.dataset)).to(device))

    def outline(self, spec: TaskSpec) -> Outline:
        """What the task of a spec will hold; kept for longer, since pages ask it of every run that waits.

        Raises:
            DatasetError: as of :meth:`get`.
        """
        key = (spec, self._catalog.revision(spec.dataset))
        return self._outlined.get(key, lambda: outline(spec, self._catalog.load(spec.dataset)))


@dataclass(frozen=True)
class Outline:
    """What a task will hold, known without making its tensors."""

    classes: tuple[int, ...]
    train: NDArray[np.intp]
    """Rows of the dataset's training part to train on."""
    validation: NDArray[np.intp]
    """Rows of the same part that are held out."""
    test: NDArray[np.intp]
    """Rows of the dataset's test part."""


def outline(spec: TaskSpec, dataset: ImageDataset) -> Outline:
    """Choose a task's images.

    Raises:
        DatasetError: another dataset, a class that it lacks, or fewer images of one than it takes.
    """
    if spec.dataset != dataset.name:
        raise DatasetError(f"This task is made of {spec.dataset}, not of {dataset.name}; choose the matching dataset.")
    present = np.intersect1d(dataset.train_labels, dataset.test_labels).tolist()
    classes = tuple(present) if spec.classes is None else tuple(sorted(spec.classes))
    lacking = [label for label in classes if label not in present]
    if lacking:
        raise DatasetError(
            f"{dataset.name} has no images of class {lacking[0]} to train and test on; "
            f"choose among its classes {present[0]} to {present[-1]}."
        )
    train, validation = _split(spec, dataset, classes)
    return Outline(classes, train, validation, np.flatnonzero(np.isin(dataset.test_labels, classes)))


def make_task(spec: TaskSpec, dataset: ImageDataset) -> Task:
    """See a dataset as ``spec`` says. The same spec and dataset give the same task, bit for bit.

    Args:
        spec: classes, transforms, shots and validation part. Transforms follow each other in this
            order: rotation, inversion, permutation.
        dataset: the one that ``spec`` names.

    Returns:
        The task on the CPU, images in the dataset's order.

    Raises:
        DatasetError: another dataset, a class that it lacks, or fewer images of one than it takes.
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
    """What the task looks like: its first training images of each class.

    Args:
        task: the task.
        per_class: images of each class; fewer where the task has fewer.

    Returns:
        Images of shape (k, 28, 28), 0 black to 255 white, and their labels of shape (k,), class by class.
    """
    rows = torch.cat([(task.train_y == label).nonzero()[:per_class, 0] for label in task.classes])
    images = (task.train_x[rows] * 255).round().to(torch.uint8).view(-1, SIDE, SIDE)
    return images.cpu().numpy(), task.train_y[rows].cpu().numpy()


def _split(
    spec: TaskSpec, dataset: ImageDataset, classes: tuple[int, ...]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the training part to train on, and rows that are held out, each in order.

    Each class has one fixed order. Validation comes from its front and shots from its back, so a
    larger part holds the smaller one, and neither depends on the other or on the classes kept.
    """
    train, validation = [], []
    for label in classes:
        rows = np.flatnonzero(dataset.train_labels == label)
        # RandomState's stream is promised to stay the same in every version of numpy.
        rows = np.random.RandomState([SPLIT_SEED, label]).permutation(rows)
        held_out = max(1, round(spec.validation * len(rows)))
        available = len(rows) - held_out
        wanted = 1 if spec.shots is None else spec.shots
        if available < wanted:
            raise DatasetError(
                f"{dataset.name} has {available} training images of class {label} beside the validation part, "
                f"not {wanted}; ask for fewer shots or leave the class out."
            )
        train.append(rows[held_out:] if spec.shots is None else rows[-spec.shots :])
        validation.append(rows[:held_out])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(validation))


def _transformed(images: Images, rows: NDArray[np.intp], spec: TaskSpec) -> Tensor:
    """These rows of ``images`` of shape (n, 28, 28), as (len(rows), 784) float32 from 0 to 1."""
    out = torch.empty(len(rows), SIDE * SIDE)
    order = None
    if spec.permutation is not None:
        order = torch.from_numpy(np.random.RandomState(spec.permutation).permutation(SIDE * SIDE))
    for start in range(0, len(rows), CHUNK):
        x = torch.from_numpy(images[rows[start : start + CHUNK]]).float().div_(255)
        if spec.rotation:
            x = rotate(x.unsqueeze(1), spec.rotation, InterpolationMode.BILINEAR)
        if spec.invert:
            # After the rotation, so that the corners it opens are background too.
            x = 1 - x
        x = x.reshape(len(x), -1)
        out[start : start + len(x)] = x if order is None else x[:, order]
    return out
