"""What a tracker is, as LoRA Lab writes to it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from core.errors import TrackerError
from core.optional_packages import optional_module
from core.store.record import Experiment
from core.tracking.content import TrackedRun


class Tracker(ABC):
    """A tracker at one address, which is opened only to write. A subclass is one kind, and is listed in
    :data:`core.tracking.tracking.TRACKERS`.
    """

    kind: ClassVar[str]
    """Its name in addresses, as in ``tensorboard:FOLDER``."""
    title: ClassVar[str]
    example: ClassVar[str]
    """An address."""

    def __init__(self, address: str) -> None:
        """Args: address: without the kind. A subclass raises :class:`TrackerError` where it is none."""
        self.address = address

    @property
    def shown(self) -> str:
        """Kind and address, without a password."""
        return f"{self.kind}:{re.sub('://[^/].*@', '://', self.address)}"

    @abstractmethod
    def write(self, run: TrackedRun, adapter: Path | None) -> bool:
        """Write a run that is over whole, in place of any other end or part of it.

        Args:
            run: what to write.
            adapter: the file of its adapter, if it has one, to be kept where a tracker keeps files.

        Returns:
            False where it is there whole already, with the same state and time of its end.

        Raises:
            TrackerError: the tracker cannot be reached or written, or its package is not installed.
        """

    def write_report(self, experiment: Experiment, report: str) -> None:  # noqa: B027
        """Write the report of an experiment, one HTML file, in place of an earlier one, where a tracker keeps files.

        Raises:
            TrackerError: as :meth:`write`.
        """

    def package(self, name: str) -> Any:
        """A module of a package that the tracker needs. Raises: TrackerError: it is not installed."""
        return optional_module(name, f"{self.title} needs", "trackers", TrackerError)
