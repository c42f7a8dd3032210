"""Datasets in memory: labelled examples and the names of the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SIDE = 28
"""Pixels along each side of an image."""

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


class Dataset(Protocol):
    """What every dataset has, whatever its examples are."""

    @property
    def name(self) -> str:
        """The name that specs refer to it by."""
        ...

    @property
    def kind(self) -> str:
        """What its examples are, such as ``image``; tells which view makes tasks of it."""
        ...

    @property
    def train_labels(self) -> Labels:
        """(n,), from 0."""
        ...

    @property
    def test_labels(self) -> Labels:
        """(m,), from 0."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of labels 0, 1, …"""
        ...

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        ...


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled grey images of 28×28 pixels; the arrays are shared and read-only."""

    name: str
    train_images: Images
    """(n, 28, 28), 0 black to 255 white."""
    train_labels: Labels
    """(n,), from 0."""
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]
    """Names of labels 0, 1, …"""

    @property
    def kind(self) -> str:
        """``image``."""
        return "image"

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.class_names)


@dataclass(frozen=True, eq=False)
class TextDataset:
    """Labelled texts of any length; the arrays of labels are shared and read-only."""

    name: str
    train_texts: tuple[str, ...]
    """n texts, none of them empty."""
    train_labels: Labels
    """(n,), from 0."""
    test_texts: tuple[str, ...]
    test_labels: Labels
    class_names: tuple[str, ...]
    """Names of labels 0, 1, …"""

    @property
    def kind(self) -> str:
        """``text``."""
        return "text"

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.class_names)
