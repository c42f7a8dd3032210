"""What a method is: its settings, and what it trains of a network."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import nn

from core.errors import SpecError
from core.spec import KindSpec


class Role(StrEnum):
    """What a method is for in a comparison."""

    BASE = "base"
    """Trains the network that the others start from."""
    REFERENCE = "reference"
    """Full fine-tuning, with which the others are compared."""
    ADAPTER = "adapter"
    """Trains small weights beside frozen ones, as LoRA does."""
    CONTROL = "control"
    """Shows what a part of the network, or no base at all, would reach."""


class MethodSpec(KindSpec):
    """A method with its settings. A subclass is one method, and is listed in :mod:`core.methods.registry`."""

    title: ClassVar[str]
    """The method as people read it, as in ``Full fine-tuning``."""
    short: ClassVar[str]
    """The same where there is little room, as in ``Full``."""
    line: ClassVar[str]
    """What it trains, in a few words for forms and the command line."""
    role: ClassVar[Role]
    rate_factor: ClassVar[float] = 1.0
    """Default learning rate, as a multiple of the one that suits full fine-tuning of the same network."""
    starts_from_base: ClassVar[bool] = True
    """Whether training starts from weights that were learnt before, if there are any, not from random ones."""

    @property
    def label(self) -> str:
        """Short name of an arm with these settings, as in ``LoRA r=4``."""
        return self.short

    def prepare(self, network: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
        """Add what the method trains to ``network`` and freeze the rest, in place; by default all weights are trained.

        Args:
            network: with the weights to start from.
            generator: random number generator for new weights; None for torch's global one.

        Returns:
            ``network`` itself.

        Raises:
            LoRAError: the settings do not fit the network.
        """
        return network

    def shape(self) -> MethodSpec:
        """The settings that decide the time and memory of a step, the others at their defaults; a method whose steps
        are those of another gives the other.
        """
        return self


class UnknownMethod(MethodSpec):
    """A method of a newer version: its runs are listed and kept, but not trained."""

    model_config = ConfigDict(extra="allow")

    kind: str
    title = "Unknown method"
    short = "Unknown"
    line = "a method of a newer version of LoRA Lab"
    role = Role.CONTROL

    @property
    def is_known(self) -> bool:
        return False

    @property
    def label(self) -> str:
        return self.kind

    def prepare(self, network: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
        """Raises: SpecError: this version does not know the method."""
        raise SpecError(f"This version of LoRA Lab has no method {self.kind!r}: update it to train this run.")
