"""What a tracker is, as LoRA Lab writes to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from core.errors import TrackerError
from core.optional_packages import optional_module
from core.tracking.content import Group, Series, TrackedRun


@dataclass(frozen=True)
class Points:
    """What a tracker has of one series."""

    step: NDArray[np.int64]
    """(n,) steps, ascending."""
    value: NDArray[np.float64]
    """(n,) values."""


class Tracker(ABC):
    """A tracker at one address, opened. A subclass is one kind, and is listed in :mod:`core.tracking.registry`.

    The tracker itself is asked what it has; nothing about that is kept elsewhere. So whatever becomes of the process
    that writes, the next one finds what has arrived. One thread uses it at a time. Every method raises
    :class:`core.errors.TrackerError` if the tracker cannot be reached or written, and may then have written a part.
    """

    kind: ClassVar[str]
    """Its name in addresses, as in ``tensorboard:FOLDER``."""
    title: ClassVar[str]
    example: ClassVar[str]
    """An address."""
    batch: ClassVar[int]
    """Maximum number of points that are written at once."""
    is_single: ClassVar[bool] = False
    """Whether it keeps values as float32."""
    takes_files: ClassVar[bool] = False
    """Whether it keeps adapters and reports."""

    @classmethod
    @abstractmethod
    def clean(cls, address: str) -> str:
        """Check an address, without looking whether there is anything.

        Returns:
            The address, absolute.

        Raises:
            TrackerError: it is not an address of such a tracker.
        """

    @abstractmethod
    def __init__(self, address: str) -> None:
        """Open a tracker, and make it where that is possible.

        Args:
            address: as :meth:`clean` returns it.

        Raises:
            TrackerError: it cannot be opened, or its package is not installed.
        """

    @abstractmethod
    def complete(self) -> set[str]:
        """Ids of the finished runs of which it has everything; see :meth:`finish`."""

    @abstractmethod
    def end(self, run: TrackedRun) -> str:
        """The state with which a run ended when :meth:`finish` was last called; empty if it was not."""

    @abstractmethod
    def points(self, run: TrackedRun) -> dict[str, Points]:
        """What it has of a run, by name of the series, whatever process has written it."""

    @abstractmethod
    def begin(self, run: TrackedRun) -> None:
        """Show a run with its settings, unless it is shown already."""

    @abstractmethod
    def write(self, run: TrackedRun, parts: Mapping[str, Series]) -> None:
        """Append points, :attr:`batch` at most, to series of a run that is shown; in float32 if :attr:`is_single`."""

    @abstractmethod
    def finish(self, run: TrackedRun, files: Mapping[str, Path]) -> None:
        """Add the files of a run that is over, by name, and its end; then mark it as complete.

        One that was stopped or failed may go on; it is then discarded, and written anew.
        """

    @abstractmethod
    def discard(self, run: TrackedRun) -> None:
        """Remove what was written of a run: it went on after its end, or from a step before the last one written."""

    def report_version(self, group: Group) -> str:
        """What :meth:`write_report` was last told of a group; empty for nothing."""
        return ""

    def write_report(self, group: Group, content: bytes, version: str) -> None:  # noqa: B027
        """Add the report of an experiment, or replace it; a tracker that takes no files does nothing.

        Args:
            group: the experiment.
            content: one HTML file; empty if there is none to add.
            version: equal for reports on the same runs.
        """


def package(name: str, title: str) -> Any:
    """A module of an optional package.

    Args:
        name: of the module.
        title: of the tracker that needs it.

    Raises:
        TrackerError: it is not installed.
    """
    return optional_module(name, f"{title} needs", "trackers", TrackerError)
