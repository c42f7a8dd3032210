"""What a tracker is, as LoRA Lab writes to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from core.errors import TrackerError
from core.optional_packages import optional_module
from core.tracking.content import Group, TrackedRun


class Tracker(ABC):
    """A tracker at one address, opened. A subclass is one kind, and is listed in :mod:`core.tracking.registry`.

    Every method raises :class:`core.errors.TrackerError` if the tracker cannot be reached or written.
    """

    kind: ClassVar[str]
    """Its name in addresses, as in ``tensorboard:FOLDER``."""
    title: ClassVar[str]
    example: ClassVar[str]
    """An address."""

    @classmethod
    @abstractmethod
    def clean(cls, address: str) -> str:
        """Check an address, without looking whether there is anything. Returns: the address, absolute."""

    @abstractmethod
    def __init__(self, address: str) -> None:
        """Open a tracker, and make it where that is possible. Args: address: as :meth:`clean` returns it."""

    @abstractmethod
    def write(self, run: TrackedRun, files: Sequence[Path]) -> bool:
        """Write a run that is over whole, in place of any other version or part of it.

        Args:
            run: what to write.
            files: what to keep beside it where a tracker keeps files, such as its adapter.

        Returns:
            False where it is there whole in this :attr:`core.tracking.content.TrackedRun.version` already.
        """

    def write_report(self, group: Group, version: str, content: bytes) -> bool:
        """Write the report of an experiment, one HTML file or nothing, where the tracker keeps files.

        Returns:
            Whether it was written: not where it is there in this version, which is equal for reports on the same runs.
        """
        return False


def package(name: str, title: str) -> Any:
    """A module of a package that the tracker of this title needs. Raises: TrackerError: it is not installed."""
    return optional_module(name, f"{title} needs", "trackers", TrackerError)
