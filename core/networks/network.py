"""What a network family is: the sizes of a network, and how it is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import ConfigDict, Field
from torch import nn

from core.data.examples import Examples
from core.data.task_spec import MAX_CLASSES
from core.errors import SpecError
from core.spec import KindSpec


class NetworkSpec(KindSpec):
    """A network without its weights. A subclass is one family, and is listed in :mod:`core.networks.registry`."""

    title: ClassVar[str]
    """The family as people read it, as in ``multilayer perceptron``."""
    learning_rate: ClassVar[float] = 0.001
    """Default learning rate of full fine-tuning."""

    num_classes: int = Field(10, ge=2, le=MAX_CLASSES, title="Classes", description="Number of outputs.")

    def build(self, seed: int | None = None) -> nn.Module:
        """Build a network.

        Args:
            seed: seed of the initial weights, independent of torch's global generator. None builds the network on the
                ``meta`` device, with shapes only.
        """
        raise NotImplementedError

    def examples(self, count: int, generator: torch.Generator | None = None) -> Examples:
        """Examples that the network can read, with random inputs and labels.

        Args:
            count: how many.
            generator: random number generator; None makes them on the ``meta`` device, with shapes only.
        """
        raise NotImplementedError

    @property
    def sizes(self) -> str:
        """The sizes in one word, as in ``784-128-256-10``."""
        raise NotImplementedError

    def check_fit(self, dataset: str, pixels: int, classes: Sequence[int]) -> None:
        """Check that the network can learn a task.

        Args:
            dataset: name of the task's dataset.
            pixels: number of pixels per image.
            classes: labels of the task.

        Raises:
            SpecError: it has too few outputs, or does not read such images.
        """
        if max(classes) >= self.num_classes:
            raise SpecError(
                f"The network has {self.num_classes} outputs, but {dataset} has labels up to {max(classes)}: "
                f"choose a base with at least {max(classes) + 1} classes."
            )


class UnknownNetwork(NetworkSpec):
    """A network of a newer version: its runs are listed and kept, but not trained."""

    model_config = ConfigDict(extra="allow")

    kind: str
    title = "unknown network"

    @property
    def is_known(self) -> bool:
        return False

    @property
    def sizes(self) -> str:
        return self.kind

    def build(self, seed: int | None = None) -> nn.Module:
        """Raises: SpecError: this version does not know the network."""
        raise SpecError(f"This version of LoRA Lab has no network {self.kind!r}: update it to train this run.")
