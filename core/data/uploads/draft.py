"""A dataset that was read but is not kept yet: what is in it, and what should give pause."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import ImageDataset
from core.data.idx import SIDE, Images, Labels
from core.data.uploads.limits import (
    FEWEST_CLASSES,
    FEWEST_TEST,
    FEWEST_TRAIN,
    MOST_CLASSES,
    MOST_IMAGES,
    MOST_NAME,
)
from core.errors import DatasetError

SPLIT_SEED = 20210617
TEST_SHARE = 0.2
"""Of each class, where an upload has no test part."""

FEW = 20
"""Training images of a class below which its accuracy is mostly chance."""
UNEVEN = 5
"""Times that the largest class may outweigh the smallest before it is worth a word."""
DIM = 64
"""The brightest pixel of a dataset below which the pixels probably have another scale."""


@dataclass(frozen=True, eq=False)
class Part:
    """Images of shape (n, 28, 28) and what the file calls the class of each, as places in a list of names."""

    images: Images
    labels: Labels


@dataclass(frozen=True, eq=False)
class Draft:
    """What an upload would become; nothing of it is on disk."""

    dataset: ImageDataset
    line: str
    """What was read and how it was split, in one sentence."""
    warnings: tuple[str, ...]
    """What is allowed and yet should give pause, a sentence each."""
    train_counts: tuple[int, ...]
    """Training images of each class."""
    test_counts: tuple[int, ...]


def make_draft(names: Sequence[str], train: Part, test: Part | None, notes: Sequence[str] = ()) -> Draft:
    """Check and split what was read.

    Args:
        names: of the classes, by label.
        train: what to train on; without a test part, everything.
        test: what to test on; without it, a fifth of each class is set aside, always the same.
        notes: what the reader has to say, before all warnings.

    Raises:
        DatasetError: too few or too many classes or images, or a class that is in one part only.
    """
    _check_classes(names)
    total = len(train.labels) + (len(test.labels) if test else 0)
    if total > MOST_IMAGES:
        raise DatasetError(f"The file has {total:,} images: {MOST_IMAGES:,} are the most that can be taken.")
    _check_counts(names, train, test)
    split = "split as in the file"
    if test is None:
        train, test = _split(train, len(names))
        split = "the test part taken by lot from each class, as the file has none"
    for part in (train, test):
        part.images.flags.writeable = part.labels.flags.writeable = False
    dataset = ImageDataset("upload", train.images, train.labels, test.images, test.labels, tuple(names))
    counts = [np.bincount(part.labels, minlength=len(names)) for part in (train, test)]
    line = (
        f"{total:,} images in {len(names)} classes: {len(train.labels):,} to train on and {len(test.labels):,} "
        f"to test, {split}."
    )
    warnings = (*notes, *_warnings(dataset, counts[0]))
    return Draft(dataset, line, warnings, tuple(counts[0].tolist()), tuple(counts[1].tolist()))


def samples(dataset: ImageDataset, label: int, count: int, zoom: int = 1) -> Images:
    """The first training images of a class, side by side, each pixel ``zoom`` times as wide and high.

    Returns:
        (28 · zoom, 28 · zoom · k), k at most ``count``.
    """
    rows = np.flatnonzero(dataset.train_labels == label)[:count]
    strip = dataset.train_images[rows].transpose(1, 0, 2).reshape(SIDE, -1)
    return np.ascontiguousarray(strip.repeat(zoom, 0).repeat(zoom, 1))


def numbered(parts: Sequence[NDArray[np.int64]]) -> tuple[list[str], list[Labels]]:
    """Labels as they stand in a file, made into places in the list of those that occur.

    Args:
        parts: labels of each part, whole numbers.

    Returns:
        The numbers as names, in order, and the labels of each part from 0.

    Raises:
        DatasetError: a label is out of range.
    """
    everything = np.concatenate(parts)
    found = np.unique(everything)
    if len(found) and (found[0] < 0 or found[-1] >= MOST_CLASSES):
        odd = found[0] if found[0] < 0 else found[-1]
        raise DatasetError(f"The file has the label {odd}: labels are whole numbers from 0 to {MOST_CLASSES - 1}.")
    return [str(label) for label in found], [np.searchsorted(found, part).astype(np.int64) for part in parts]


def _check_classes(names: Sequence[str]) -> None:
    if not FEWEST_CLASSES <= len(names) <= MOST_CLASSES:
        raise DatasetError(
            f"The file has {len(names)} {'class' if len(names) == 1 else 'classes'}: "
            f"a dataset needs {FEWEST_CLASSES} to {MOST_CLASSES}."
        )
    for name in names:
        if not name or len(name) > MOST_NAME or not name.isprintable():
            raise DatasetError(f"The class {name[:80]!r} has no usable name: 1 to {MOST_NAME} printable characters.")


def _check_counts(names: Sequence[str], train: Part, test: Part | None) -> None:
    """See that every class has enough images in every part."""
    fewest = FEWEST_TRAIN if test else FEWEST_TRAIN + FEWEST_TEST
    what = "training images" if test else "images"
    for name, count in zip(names, np.bincount(train.labels, minlength=len(names)).tolist(), strict=True):
        if count < fewest:
            images = what.removesuffix("s") if count == 1 else what
            raise DatasetError(f"The class {name!r} has {count} {images}: each class needs at least {fewest}.")
    if test is None:
        return
    for name, count in zip(names, np.bincount(test.labels, minlength=len(names)).tolist(), strict=True):
        if count < FEWEST_TEST:
            raise DatasetError(
                f"The class {name!r} has no images in the test part: add some, or leave the test part out and let "
                "LoRA Lab set one aside."
            )


def _split(everything: Part, classes: int) -> tuple[Part, Part]:
    """A fifth of each class for the test, drawn by a fixed seed; both parts in the order of the file."""
    testing = np.zeros(len(everything.labels), bool)
    for label in range(classes):
        rows = np.flatnonzero(everything.labels == label)
        # RandomState's stream is promised to stay the same in every version of numpy.
        drawn = np.random.RandomState([SPLIT_SEED, label]).permutation(rows)
        testing[drawn[: max(FEWEST_TEST, round(TEST_SHARE * len(rows)))]] = True
    return (
        Part(everything.images[~testing], everything.labels[~testing]),
        Part(everything.images[testing], everything.labels[testing]),
    )


def _warnings(dataset: ImageDataset, counts: NDArray[np.int64]) -> list[str]:
    found = []
    names = dataset.class_names
    if counts.max() >= UNEVEN * counts.min():
        large, small = int(counts.argmax()), int(counts.argmin())
        found.append(
            f"The classes are uneven: {names[large]!r} has {counts[large]:,} training images, {names[small]!r} has "
            f"{counts[small]:,}. Accuracy then mostly shows the large ones."
        )
    if tiny := int((counts < FEW).sum()):
        found.append(
            f"{tiny} of {len(names)} classes have fewer than {FEW} training images: their figures are mostly chance."
        )
    if same := _duplicates(dataset):
        found.append(
            f"{same:,} of {len(dataset.test_labels):,} test images are in the training part too: "
            "accuracy on the test part flatters."
        )
    parts = (dataset.train_images, dataset.test_images)
    flat = sum(int((part.max((1, 2)) == part.min((1, 2))).sum()) for part in parts)
    if flat:
        total = len(dataset.train_labels) + len(dataset.test_labels)
        found.append(f"{flat:,} of {total:,} images are of one colour all over: there is nothing to learn from them.")
    if 0 < (brightest := max(int(part.max()) for part in parts)) < DIM:
        found.append(f"The brightest pixel is {brightest} of 255: were the pixels meant for another scale?")
    return found


def _duplicates(dataset: ImageDataset) -> int:
    """Test images that are among the training images, pixel by pixel."""
    known = {_digest(image) for image in dataset.train_images}
    return sum(_digest(image) in known for image in dataset.test_images)


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
