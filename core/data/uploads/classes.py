"""Classes and parts of an uploaded dataset, whatever its examples are, and the test part that is drawn of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import Labels
from core.data.uploads.limits import MAX_CLASSES, MAX_NAME, MIN_CLASSES, MIN_TEST, MIN_TRAIN
from core.errors import DatasetError

SPLIT_SEED = 20210617
TEST_SHARE = 0.2
"""Fraction of each class to test on if an upload has no test part."""

FEW = 20
"""Warn about classes with fewer training examples: their accuracy is mostly noise."""
UNEVEN = 5
"""Warn if the largest class has at least this many times as many examples as the smallest."""

PARTS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development", "eval"), "validation"),
}
"""Parts by the words for them, in lower case."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)


def part_of(word: str) -> str | None:
    """The part that a word names, in upper or lower case; None if it names none."""
    return PARTS.get(word.strip().lower())


def train_and_test(parts: Sequence[str]) -> tuple[list[str], str | None]:
    """Whether each example is trained on or tested on.

    A validation part belongs to training if there is a test part, and is the test part otherwise: LoRA Lab holds out
    a validation part of its own.

    Args:
        parts: ``train``, ``test`` or ``validation`` for every example.

    Returns:
        ``train`` or ``test`` for every example, and a note on a validation part if there is one.
    """
    if "validation" not in parts:
        return list(parts), None
    instead, use = ("train", "trained on") if "test" in parts else ("test", "used for testing")
    note = f"The validation part of the file is {use}: LoRA Lab holds out one of its own from the training part."
    return [instead if part == "validation" else part for part in parts], note


def number_of(label: str) -> int | float | None:
    """The finite number that a cell is written as; None if it is none."""
    if len(label) > MAX_NAME or not _NUMBER.fullmatch(label):
        return None
    value = float(label)
    if not np.isfinite(value):
        return None
    try:
        return int(label)
    except ValueError:
        return int(value) if value == int(value) else value


def one_spelling(label: str) -> str:
    """The spelling of all labels that equal this one: 1 and 1.0 are the same. One that would be too long is left."""
    number = number_of(label)
    written = label if number is None else str(number)
    return written if len(written) <= MAX_NAME else label


def named_classes(labels: Sequence[str], where: str) -> tuple[list[str], Labels]:
    """Names of the classes (numbers sorted by value, words alphabetically) and the label of each example.

    Args:
        labels: as they are written.
        where: they are, as the subject of a sentence.

    Raises:
        DatasetError: they are too many, or mix numbers and words.
    """
    spelled = {label: one_spelling(label) for label in dict.fromkeys(labels)}
    found = set(spelled.values())
    if len(found) > MAX_CLASSES:
        raise DatasetError(f"{where} has {len(found):,} different labels: the limit is {MAX_CLASSES:,} classes.")
    number = {name: number_of(name) for name in found}
    words = sorted(name for name in found if number[name] is None)
    if words and len(words) < len(found):
        raise DatasetError(f"{where} has labels that mix numbers and words such as {words[0][:40]!r}: use one kind.")
    names = words or sorted(found, key=lambda name: number[name] or 0)
    label_of = {name: label for label, name in enumerate(names)}
    return names, np.array([label_of[spelled[label]] for label in labels], np.int64)


def check_classes(names: Sequence[str], one: str = "class", several: str = "classes") -> None:
    """Check number and names of classes.

    Args:
        names: by label.
        one: what they are, for messages.
        several: the same in the plural.

    Raises:
        DatasetError: too few, too many, or a name that cannot be shown.
    """
    if not MIN_CLASSES <= len(names) <= MAX_CLASSES:
        raise DatasetError(
            f"The file has {len(names)} {one if len(names) == 1 else several}: "
            f"a dataset needs {MIN_CLASSES} to {MAX_CLASSES}."
        )
    for name in names:
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise DatasetError(f"The {one} {name[:80]!r} has no usable name: 1 to {MAX_NAME} printable characters.")


def check_counts(names: Sequence[str], train: Labels, test: Labels | None, what: str, one: str = "class") -> None:
    """Check that every class has enough examples in every part.

    Args:
        names: of the classes, by label.
        train: labels of the training part, or of everything if there is no test part.
        test: labels of the test part, if there is one.
        what: the examples are, in the plural.
        one: what a class is called.

    Raises:
        DatasetError: a class has too few.
    """
    fewest = MIN_TRAIN + MIN_TEST if test is None else MIN_TRAIN
    kind = what if test is None else f"training {what}"
    for name, count in zip(names, np.bincount(train, minlength=len(names)).tolist(), strict=True):
        if count < fewest:
            examples = kind.removesuffix("s") if count == 1 else kind
            raise DatasetError(
                f"The {one} {name!r} has {count} {examples}: each {one} needs at least {fewest}. Add some, or give "
                f"what it has to another {one}."
            )
    if test is None:
        return
    for name, count in zip(names, np.bincount(test, minlength=len(names)).tolist(), strict=True):
        if count < MIN_TEST:
            raise DatasetError(
                f"The {one} {name!r} has no {what} in the test part: add some, or leave the test part out, and LoRA "
                "Lab sets one aside."
            )


def drawn_for_testing(labels: Labels, classes: int) -> NDArray[np.bool_]:
    """Which examples to test on: a fifth of each class, drawn with a fixed seed; of shape (n,)."""
    testing = np.zeros(len(labels), bool)
    for label in range(classes):
        rows = np.flatnonzero(labels == label)
        # NumPy guarantees that the stream of RandomState never changes between versions.
        drawn = np.random.RandomState([SPLIT_SEED, label]).permutation(rows)
        testing[drawn[: max(MIN_TEST, round(TEST_SHARE * len(rows)))]] = True
    return testing


def class_warnings(names: Sequence[str], counts: NDArray[np.int64], what: str) -> list[str]:
    """Sentences about classes that are uneven or small.

    Args:
        names: of the classes.
        counts: number of training examples of each.
        what: the examples are, in the plural.
    """
    found = []
    if counts.max() >= UNEVEN * counts.min():
        large, small = int(counts.argmax()), int(counts.argmin())
        found.append(
            f"The classes are uneven: {names[large]!r} has {counts[large]:,} training {what}, {names[small]!r} has "
            f"{counts[small]:,}. Accuracy mostly reflects the large ones."
        )
    if tiny := int((counts < FEW).sum()):
        found.append(
            f"{tiny} of {len(names)} classes have fewer than {FEW} training {what}: their results are mostly noise."
        )
    return found
