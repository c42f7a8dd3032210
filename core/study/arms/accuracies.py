"""The measure of a network that is evaluated again, on target and source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Accuracies:
    """The primary measure of one network on target and source; of the source None where it was not measured."""

    target: float
    source: float | None
    source_masked: float | None
    """Choosing only among the source's classes."""
