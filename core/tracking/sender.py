"""Sends runs to one tracker: what it lacks, and nothing twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import TrackerError
from core.tracking.content import Group, Series, TrackedRun
from core.tracking.tracker import Tracker


@dataclass(frozen=True)
class Known:
    """Which points of a series the tracker has: the first ``count``, of which this is the digest."""

    count: int
    digest: str

    @classmethod
    def of(cls, step: NDArray[np.int64], value: NDArray[np.float64]) -> Known:
        """Args: step, value: of the points, each (n,)."""
        # SQLite has no -0.0, and adding 0.0 makes it 0.0.
        return cls(len(step), hashlib.sha256(step.tobytes() + (value + 0.0).tobytes()).hexdigest())

    def is_start_of(self, series: Series) -> bool:
        """Whether the points are still the first ones of the series."""
        return len(series) >= self.count and self == Known.of(series.step[: self.count], series.value[: self.count])


class Sender:
    """Sends runs to a tracker that is open. One thread uses it at a time.

    What the tracker has of a run is asked once, and remembered for as long as nothing fails and nobody else writes. If
    the store's curve no longer begins with it, since the run went on from an older checkpoint, or if the run has ended
    otherwise there, it is written anew.
    """

    def __init__(self, tracker: Tracker) -> None:
        """Args: tracker: where to."""
        self.tracker = tracker
        self._complete: set[str] | None = None
        self._known: dict[str, dict[str, Known]] = {}

    def forget(self) -> None:
        """Ask the tracker again, since another process has written to it."""
        self._complete = None
        self._known.clear()

    def is_complete(self, run: str) -> bool:
        """Whether the tracker has everything of a run that has finished. Raises: TrackerError."""
        if self._complete is None:
            self._complete = self.tracker.complete()
        return run in self._complete

    def send(
        self, run: TrackedRun, files: Callable[[], Mapping[str, Path]], must_stop: Callable[[], bool] = lambda: False
    ) -> int:
        """Send what the tracker lacks of a run.

        Args:
            run: as it is now.
            files: gives the files of a run that is over; called for trackers that keep files.
            must_stop: called before each part; what was sent until then stays.

        Returns:
            The number of points that were sent.

        Raises:
            TrackerError: the tracker cannot be reached; some points may have arrived, and are not sent again.
        """
        if self.is_complete(run.id):
            return 0
        try:
            return self._send(run, files, must_stop)
        except TrackerError:
            self.forget()  # nobody knows what has arrived
            raise

    def _send(self, run: TrackedRun, files: Callable[[], Mapping[str, Path]], must_stop: Callable[[], bool]) -> int:
        if self.tracker.is_single:
            run = replace(run, series={name: series.in_single_precision() for name, series in run.series.items()})
        known, has_ended = self._known.get(run.id), False
        if known is None:
            has_ended = self.tracker.end(run) not in ("", run.state)
            found = self.tracker.points(run)
            known = {name: Known.of(points.step, points.value) for name, points in found.items()}
            self.tracker.begin(run)
        if has_ended or not all(n in run.series and had.is_start_of(run.series[n]) for n, had in known.items()):
            self.tracker.discard(run)
            known = {}
            self.tracker.begin(run)
        self._known[run.id] = known
        sent = 0
        missing = {name: series.part(_count(known, name)) for name, series in run.series.items()}
        for parts in batches(missing, self.tracker.batch):
            if must_stop():
                return sent
            self.tracker.write(run, parts)
            for name, series in parts.items():
                count = _count(known, name) + len(series)
                whole = run.series[name]
                known[name] = Known.of(whole.step[:count], whole.value[:count])
                sent += len(series)
        if run.is_over:
            self.tracker.finish(run, files() if self.tracker.takes_files else {})
            del self._known[run.id]
            if self._complete is not None and run.state == "finished":
                self._complete.add(run.id)
        return sent

    def send_report(self, group: Group, version: str, make: Callable[[], bytes]) -> bool:
        """Send the report of an experiment unless the tracker has this version of it.

        Args:
            group: the experiment.
            version: see :meth:`core.tracking.source.Source.report_version`.
            make: makes the file; empty if there is none.

        Returns:
            Whether anything was sent.

        Raises:
            TrackerError: the tracker cannot be reached.
        """
        if not self.tracker.takes_files or self.tracker.report_version(group) == version:
            return False
        self.tracker.write_report(group, make(), version)
        return True


def batches(series: Mapping[str, Series], size: int) -> Iterator[dict[str, Series]]:
    """All points of some series, ``size`` at most at a time."""
    parts: dict[str, Series] = {}
    room = size
    for name, whole in series.items():
        first = 0
        while first < len(whole):
            parts[name] = whole.part(first, first + room)
            room -= len(parts[name])
            first += len(parts[name])
            if not room:
                yield parts
                parts, room = {}, size
    if parts:
        yield parts


def _count(known: Mapping[str, Known], name: str) -> int:
    return known[name].count if name in known else 0
