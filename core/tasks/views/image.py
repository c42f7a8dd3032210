"""Tasks of images: classes kept, rotated, inverted, with pixels shuffled, few of each class, some held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.dataset import SIDE, Dataset, ImageDataset, Images, Targets
from core.data.examples import Examples, ImageExamples, Task
from core.data.task_spec import TaskSpec
from core.errors import DatasetError
from core.tasks.views.view import FormField, Outline, TextTokenizer, outline, shots_field

CHUNK = 4096
"""Images transformed at once: small enough for the processor's cache."""

PREVIEWED = 10
"""Images in the preview of a task without classes."""


class ImageView:
    """Makes tasks of images of 28×28 pixels; see :class:`core.tasks.views.view.View`."""

    kind = "image"
    reads = f"{SIDE}×{SIDE} images"
    inputs: Mapping[str, tuple[int, ...]] = {"pixels": (SIDE * SIDE,)}
    fields: Sequence[FormField] = (
        FormField("classes", "classes"),
        FormField("rotation", "slider", step=5, unit="°"),
        FormField("invert", "switch"),
        FormField("permutation", "switch", on=0, help="Shuffles the pixels in the same way for every image."),
        shots_field("images"),
        FormField("validation", "share"),
    )

    def outline(self, spec: TaskSpec, dataset: Dataset) -> Outline:
        """Choose a task's images. Raises: DatasetError: see :func:`core.tasks.views.view.outline`."""
        return outline(spec, dataset)

    def task(self, spec: TaskSpec, dataset: Dataset, tokenizer: TextTokenizer | None = None) -> Task:
        """Make a task from a dataset. The same spec and dataset give the same task, bit for bit.

        Args:
            spec: classes, transforms, shots and validation part. Transforms are applied in this order: rotation,
                inversion, permutation.
            dataset: the one that ``spec`` names.
            tokenizer: not used.

        Returns:
            The task on the CPU, images in the dataset's order, as rows of 784 values.

        Raises:
            DatasetError: the dataset is another one, has no images, lacks a class, or has too few images of one.
        """
        if not isinstance(dataset, ImageDataset):
            raise DatasetError(f"{dataset.name} has no images: choose a dataset of images.")
        chosen = self.outline(spec, dataset)
        return Task(
            spec=spec,
            classes=chosen.classes,
            class_names=dataset.class_names,
            train=_examples(dataset.train_images, dataset.train_labels, chosen.train, spec),
            validation=_examples(dataset.train_images, dataset.train_labels, chosen.validation, spec),
            test=_examples(dataset.test_images, dataset.test_labels, chosen.test, spec),
        )

    def preview(self, spec: TaskSpec, dataset: Dataset) -> tuple[Images, Targets]:
        """The first training image of each class of a task, or the first ones of a task without classes.

        Returns:
            Images of shape (k, 28, 28), 0 black to 255 white, and their targets of shape (k,), sorted by class.

        Raises:
            DatasetError: see :meth:`task`.
        """
        if not isinstance(dataset, ImageDataset):
            raise DatasetError(f"{dataset.name} has no images: choose a dataset of images.")
        chosen = self.outline(spec, dataset)
        rows = chosen.train[:PREVIEWED]
        if chosen.classes:
            labels = dataset.train_labels[chosen.train]
            rows = np.array([chosen.train[np.argmax(labels == label)] for label in chosen.classes])
        examples = _examples(dataset.train_images, dataset.train_labels, rows, spec)
        return images_of(examples, torch.arange(len(rows))), dataset.train_labels[rows]


def images_of(examples: Examples, rows: Tensor) -> Images:
    """Some examples as a network sees them, of shape (k, 28, 28), 0 black to 255 white; ``rows`` has shape (k,)."""
    pixels = examples.batch(rows)["pixels"]
    images: Images = (pixels * 255).round().to(torch.uint8).view(-1, SIDE, SIDE).cpu().numpy()
    return images


def as_seen(images: Images, spec: TaskSpec) -> Tensor:
    """Images of shape (n, 28, 28) transformed as those of a task: (n, 784) float32 from 0 to 1."""
    return _transformed(images, np.arange(len(images)), spec)


def _examples(images: Images, labels: Targets, rows: NDArray[np.intp], spec: TaskSpec) -> ImageExamples:
    return ImageExamples(_transformed(images, rows, spec), torch.from_numpy(labels[rows]))


def _transformed(images: Images, rows: NDArray[np.intp], spec: TaskSpec) -> Tensor:
    """Selected rows of ``images``, of shape (n, 28, 28), transformed to (len(rows), 784) float32 from 0 to 1."""
    out = torch.empty(len(rows), SIDE * SIDE)
    order = None
    if spec.permutation is not None:
        order = torch.from_numpy(np.random.RandomState(spec.permutation).permutation(SIDE * SIDE))
    for start in range(0, len(rows), CHUNK):
        x = torch.from_numpy(images[rows[start : start + CHUNK]]).float().div_(255)
        if spec.rotation:
            x = _rotated(x, spec.rotation)
        if spec.invert:
            # After the rotation, so that the empty corners become background too.
            x = 1 - x
        x = x.reshape(len(x), -1)
        out[start : start + len(x)] = x if order is None else x[:, order]
    return out


def _rotated(x: Tensor, degrees: float) -> Tensor:
    """Images of shape (n, side, side), rotated counter-clockwise, as (n, 1, side, side)."""
    from torchvision.transforms import InterpolationMode  # takes a second to import, which app.py does beforehand
    from torchvision.transforms.functional import rotate

    rotated: Tensor = rotate(x.unsqueeze(1), degrees, InterpolationMode.BILINEAR)
    return rotated
