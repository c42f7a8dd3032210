"""All trackers, and their addresses as people write them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.errors import TrackerError
from core.tracking.mlflow_tracker import MlflowTracker, without_password
from core.tracking.tensorboard_tracker import TensorBoardTracker
from core.tracking.tracker import Tracker

TRACKERS: dict[str, type[Tracker]] = {tracker.kind: tracker for tracker in (TensorBoardTracker, MlflowTracker)}
"""Trackers by kind, in the order in which forms list them."""


@dataclass(frozen=True)
class Target:
    """A tracker at an address."""

    kind: str
    address: str
    """As :meth:`core.tracking.tracker.Tracker.clean` returns it."""

    @property
    def title(self) -> str:
        """What people call the tracker."""
        return TRACKERS[self.kind].title

    @property
    def shown(self) -> str:
        """Kind and address, without a password."""
        return f"{self.kind}:{without_password(self.address)}"

    def open(self) -> Tracker:
        """Open it. Raises: TrackerError: it cannot be opened, or its package is not installed."""
        return TRACKERS[self.kind](self.address)


def target_of(text: str) -> Target:
    """The tracker that a text such as ``tensorboard:FOLDER`` names. Raises: TrackerError: it names none."""
    kind, _, address = text.strip().partition(":")
    if kind not in TRACKERS:
        known = " or ".join(f"{tracker.kind}:{tracker.example}" for tracker in TRACKERS.values())
        raise TrackerError(f"There is no tracker {kind[:60]!r}: name one as in {known}.")
    return Target(kind, TRACKERS[kind].clean(address.strip()))


def targets_of(texts: Iterable[str]) -> list[Target]:
    """The trackers of ``LORA_LAB_TRACK``, each once. Raises: TrackerError: one of them is none."""
    try:
        return list(dict.fromkeys(map(target_of, texts)))
    except TrackerError as error:
        raise TrackerError(f"LORA_LAB_TRACK cannot be used. {error}") from error
