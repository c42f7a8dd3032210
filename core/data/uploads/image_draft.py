"""An uploaded dataset of images, checked and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import SIDE, ImageDataset, Images, Labels, overlap_sentence
from core.data.uploads.classes import check_classes, check_counts, class_warnings, drawn_for_testing
from core.data.uploads.draft import Draft, Faults
from core.data.uploads.limits import MAX_IMAGES
from core.errors import DatasetError

DIM = 64
"""Warn if no pixel is as bright as this: the pixels probably have another scale."""


@dataclass(frozen=True, eq=False)
class Part:
    """Images of shape (n, 28, 28), and their labels as indices into the list of class names."""

    images: Images
    labels: Labels


def make_draft(
    names: Sequence[str], train: Part, test: Part | None, notes: Sequence[str] = (), faults: Faults | None = None
) -> Draft[ImageDataset]:
    """Check and split an uploaded dataset.

    Args:
        names: names of the classes, by label.
        train: training part; everything if there is no test part.
        test: test part; None sets aside a fifth of each class, always the same images.
        notes: notes of the reader, shown before the warnings.
        faults: of what was left out.

    Raises:
        DatasetError: too few or too many classes or images, or a class that is in one part only.
    """
    check_classes(names)
    total = len(train.labels) + (len(test.labels) if test else 0)
    if total > MAX_IMAGES:
        raise DatasetError(f"The file has {total:,} images: the limit is {MAX_IMAGES:,}.")
    check_counts(names, train.labels, test.labels if test else None, "images")
    split = "split as in the file"
    if test is None:
        train, test = _split(train, len(names))
        split = "with a random test part from each class, as the file has none"
    for part in (train, test):
        part.images.flags.writeable = part.labels.flags.writeable = False
    dataset = ImageDataset("upload", train.images, train.labels, test.images, test.labels, tuple(names))
    line = (
        f"{total:,} images in {len(names)} classes: {len(train.labels):,} for training and {len(test.labels):,} "
        f"for testing, {split}."
    )
    return Draft(dataset, line, (*notes, *_warnings(dataset)), faults or Faults())


def samples(dataset: ImageDataset, label: int, count: int, zoom: int = 1) -> Images:
    """The first training images of a class, side by side, enlarged ``zoom`` times.

    Returns:
        An image of shape (28 · zoom, 28 · zoom · k), with k at most ``count``.
    """
    return _strip(dataset, np.flatnonzero(dataset.train_labels == label)[:count], zoom)


def first_images(dataset: ImageDataset, count: int, zoom: int = 1) -> Images:
    """The first training images, whatever their targets; see :func:`samples`."""
    return _strip(dataset, np.arange(min(count, len(dataset.train_labels))), zoom)


def _strip(dataset: ImageDataset, rows: NDArray[np.intp], zoom: int) -> Images:
    strip = dataset.train_images[rows].transpose(1, 0, 2).reshape(SIDE, -1)
    return np.ascontiguousarray(strip.repeat(zoom, 0).repeat(zoom, 1))


def _split(everything: Part, classes: int) -> tuple[Part, Part]:
    """Set a fifth of each class aside for testing; both parts keep the order of the file."""
    testing = drawn_for_testing(everything.labels, classes)
    return (
        Part(everything.images[~testing], everything.labels[~testing]),
        Part(everything.images[testing], everything.labels[testing]),
    )


def _warnings(dataset: ImageDataset) -> list[str]:
    counts = np.bincount(dataset.train_labels, minlength=dataset.num_classes)
    found = class_warnings(dataset.class_names, counts, "images")
    if shared := overlap_sentence(dataset):
        found.append(shared)
    parts = (dataset.train_images, dataset.test_images)
    flat = sum(int((part.max((1, 2)) == part.min((1, 2))).sum()) for part in parts)
    if flat:
        total = len(dataset.train_labels) + len(dataset.test_labels)
        found.append(f"{flat:,} of {total:,} images are a single color: there is nothing to learn from them.")
    brightest = [int(part.max()) for part in parts]
    if 0 < max(brightest) < DIM:
        found.append(f"The brightest pixel is {max(brightest)} of 255: do the pixels use another scale?")
    elif 0 < min(brightest) < DIM:
        dim = "training" if brightest[0] < DIM else "test"
        found.append(
            f"The brightest pixel of the {dim} part is {min(brightest)} of 255, that of the other {max(brightest)}: do "
            "the parts use different scales?"
        )
    return found
