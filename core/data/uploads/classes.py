"""A dataset that somebody uploads, read and checked but not saved yet: its classes and parts, whatever its examples
are, the test part that is drawn of them, and what of the file cannot be used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import Dataset, Labels
from core.data.uploads.limits import MAX_CLASSES, MAX_NAME, MIN_CLASSES, MIN_TEST, MIN_TRAIN
from core.errors import DatasetError
from core.numbers import count_text

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


MAX_TOLD = 100
"""Faults that are told one by one."""

D = TypeVar("D", bound=Dataset)
T = TypeVar("T")


@dataclass
class Faults:
    """Files of an archive, or rows of a table, that cannot be used; they are left out if a person says so."""

    told: list[str] = field(default_factory=list)
    """A sentence for each of the first ones."""
    count: int = 0
    """Number of all of them."""

    def add(self, sentence: str) -> None:
        """Note one more."""
        self.count += 1
        if len(self.told) < MAX_TOLD:
            self.told.append(sentence)

    def plus(self, other: Faults) -> Faults:
        """These and then others."""
        return Faults([*self.told, *other.told][:MAX_TOLD], self.count + other.count)

    def check(self, usable: int, leave_out: bool) -> None:
        """Check that the rest may be used.

        Args:
            usable: number of files or rows without a fault.
            leave_out: whether those with one may be left out.

        Raises:
            DatasetError: they may not; or most have one, so that the whole upload is something else.
        """
        if self.count > (usable if leave_out else 0):
            more = f" {self.count - 1:,} more cannot be used." if self.count > 1 else ""
            raise DatasetError(f"{self.told[0]}{more}")

    def without(self, make: Callable[[], T], what: str) -> T:
        """Make something of the rest.

        Args:
            make: makes it.
            what: the files or rows are, in the plural.

        Raises:
            DatasetError: the rest is not enough.
        """
        try:
            return make()
        except DatasetError as error:
            if not self.count:
                raise
            raise DatasetError(f"{self.told[0]} Without the {what} that cannot be used: {error}") from error


@dataclass(frozen=True, eq=False)
class Draft(Generic[D]):
    """The dataset that an upload of images, texts or passages would become; nothing is on disk yet."""

    dataset: D
    line: str
    """What was read and how it was split, in one sentence."""
    warnings: tuple[str, ...]
    """Possible problems with the data, one sentence each."""
    faults: Faults = field(default_factory=Faults)
    """Files or rows that were left out because they cannot be used."""
    facts: tuple[tuple[str, str], ...] = ()
    """Titles and values: lengths, and what is empty, repeated or in both parts."""
    empty_rows: int = 0
    """Rows without content, which were left out."""
    duplicates: int = 0
    """Rows that repeat another one."""
    without_duplicates: bool = False
    """Whether these were left out."""
    colored: int = 0
    """Number of images that had colors before they were converted."""

    @property
    def train_counts(self) -> tuple[int, ...]:
        """Number of training examples of each class; empty without classes."""
        return _counts(self.dataset.train_labels, self.dataset.num_classes)

    @property
    def test_counts(self) -> tuple[int, ...]:
        """Number of test examples of each class; empty without classes."""
        return _counts(self.dataset.test_labels, self.dataset.num_classes)


def _counts(labels: np.ndarray, classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(labels, minlength=classes).tolist()) if classes else ()


def lengths_text(lengths: Sequence[int]) -> str:
    """How long texts are, as in ``3 to 88; median 11, 95 % have at most 27``. Args: lengths: at least one."""
    low, median, most, high = np.quantile(lengths, (0, 0.5, 0.95, 1), method="higher").tolist()
    return f"{count_text(low)} to {count_text(high)}; median {count_text(median)}, 95 % have at most {count_text(most)}"


def found_text(count: int, becomes: str = "") -> str:
    """How many there are, and what becomes of them, as in ``3, left out``; ``none`` for 0."""
    return ", ".join(filter(None, (count_text(count), becomes))) if count else "none"
