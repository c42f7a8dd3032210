"""Labelled examples as tensors: the rows that a network is trained or evaluated on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from core.errors import DatasetError

Batch = dict[str, Tensor]
"""Inputs of a network by name, such as ``pixels``; the first dimension of each tensor counts the examples."""


def shapes_of(batch: Batch) -> dict[str, tuple[int, ...]]:
    """Shape of each input of one example, by its name."""
    return {name: tuple(tensor.shape[1:]) for name, tensor in batch.items()}


class Examples(ABC):
    """Labelled examples that can be batched."""

    labels: Tensor
    """(n,) int64 labels, or float32 numbers in a task without classes."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """The device that they are on."""
        return self.labels.device

    @abstractmethod
    def batch(self, rows: Tensor | slice) -> Batch:
        """The inputs of some examples, on their device. Args: rows: (k,) int64 indices, or a slice."""

    @abstractmethod
    def tensors(self) -> list[Tensor]:
        """Every tensor that they consist of, labels included."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:
        """The same examples on another device; tensors that are already on it are shared."""

    @abstractmethod
    def first(self, count: int) -> Self:
        """The first examples, or all of them if there are not so many; their tensors are shared."""

    @abstractmethod
    def at(self, rows: Tensor) -> Self:
        """Some examples, copied; ``rows`` are (k,) int64 indices, at least one."""

    def with_targets(self, labels: Tensor) -> Self:
        """The same examples with other targets, (n,); the other tensors are shared."""
        return replace(self, labels=labels)  # type: ignore[type-var]  # every kind of examples is a dataclass

    def batched(self, order: Tensor, batch_size: int, epoch: int = 0) -> Tensor:
        """The order of training examples in one epoch, where batches are not to be cut from a random order as it is.

        Args:
            order: (n,) int64, a random order of all examples.
            batch_size: examples per batch; the last batch may have fewer.
            epoch: number of the epoch.
        """
        return order

    def by_length(self) -> Tensor | None:
        """(n,) int64: an order in which neighbours are of similar length; None if all examples are of one length."""
        return None

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

    @classmethod
    def random(cls, count: int, pixels: int, num_classes: int, generator: torch.Generator | None) -> Self:
        """Noise with random labels.

        Args:
            count: number of images.
            pixels: number of pixels per image.
            num_classes: number of labels.
            generator: random number generator; None makes them on the ``meta`` device, with shapes only.
        """
        device = generator.device if generator else "meta"
        return cls(
            torch.rand(count, pixels, generator=generator, device=device),
            torch.randint(num_classes, (count,), generator=generator, device=device),
        )

    def batch(self, rows: Tensor | slice) -> Batch:
        return {"pixels": self.pixels[rows]}

    def tensors(self) -> list[Tensor]:
        return [self.pixels, self.labels]

    def to(self, device: torch.device | str) -> Self:
        return type(self)(self.pixels.to(device), self.labels.to(device))

    def first(self, count: int) -> Self:
        return type(self)(self.pixels[:count], self.labels[:count])

    def at(self, rows: Tensor) -> Self:
        return type(self)(self.pixels[rows], self.labels[rows])

    def all_pixels(self) -> Tensor:
        return self.pixels
