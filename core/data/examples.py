"""Labelled examples as tensors: the rows that a network is trained or evaluated on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from core.errors import DatasetError

Batch = dict[str, Tensor]
"""Inputs of a network by name, such as ``pixels``; the first dimension of each tensor counts the examples."""


class Examples(ABC):
    """Labelled examples that can be batched."""

    labels: Tensor
    """(n,) int64."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """The device that they are on."""
        return self.labels.device

    @abstractmethod
    def batch(self, rows: Tensor | slice) -> Batch:
        """The inputs of some examples, on their device.

        Args:
            rows: (k,) int64 indices, or a slice.
        """

    @abstractmethod
    def tensors(self) -> list[Tensor]:
        """Every tensor that they consist of, labels included."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """The same examples on another device; tensors that are already on it are shared."""

    def all_pixels(self) -> Tensor:
        """The inputs of all examples at once, (n, pixels) float32, for networks that take nothing but pixels.

        Raises:
            DatasetError: these examples are not images.
        """
        raise DatasetError("These examples are not images: choose a network for their kind of data.")


@dataclass(frozen=True, eq=False)
class ImageExamples(Examples):
    """Images as rows of values from 0 to 1."""

    pixels: Tensor
    """(n, pixels) float32."""
    labels: Tensor

    def batch(self, rows: Tensor | slice) -> Batch:
        return {"pixels": self.pixels[rows]}

    def tensors(self) -> list[Tensor]:
        return [self.pixels, self.labels]

    def to(self, device: torch.device | str) -> Self:
        return type(self)(self.pixels.to(device), self.labels.to(device))

    def all_pixels(self) -> Tensor:
        return self.pixels
