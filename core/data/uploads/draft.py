"""A dataset that somebody uploads, read and checked but not saved yet, and what of the file cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from core.data.dataset import Dataset
from core.errors import DatasetError
from core.numbers import count_text

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
