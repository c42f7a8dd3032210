"""A dataset that somebody uploads, read and checked but not saved yet: the same for images, texts and passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from core.data.dataset import Dataset
from core.data.uploads.faults import Faults
from core.numbers import count_text

D = TypeVar("D", bound=Dataset)

Facts = tuple[tuple[str, str], ...]
"""What was counted of an upload: a title and a value each."""


@dataclass(frozen=True, eq=False)
class Draft(Generic[D]):
    """The dataset that an upload would become; nothing is on disk yet."""

    dataset: D
    line: str
    """What was read and how it was split, in one sentence."""
    warnings: tuple[str, ...]
    """Possible problems with the data, one sentence each."""
    faults: Faults = field(default_factory=Faults)
    """Files, lines or rows that were left out because they cannot be used."""
    facts: Facts = ()
    """Lengths, and what is empty, repeated or in both parts."""
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
