"""Delivery of an experiment, or of single runs, to one tracker, in turns with others that write to it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from core.errors import LabError, StoreError, TrackerError, os_error_as
from core.numbers import counted
from core.store.record import Experiment
from core.tracking.content import group_of
from core.tracking.registry import Target
from core.tracking.sender import Sender
from core.tracking.source import Source


class Turns:
    """Lets one writer at a time write to a tracker, and tells it whether another one has written meanwhile."""

    def __init__(self, folder: Path, target: Target) -> None:
        """Args: folder: for the locks of all trackers; target: the tracker."""
        self._target = target
        name = hashlib.sha256(f"{target.kind}:{target.address}".encode()).hexdigest()[:16]
        self._lock_file, self._writer_file = folder / f"{name}.lock", folder / f"{name}.writer"
        self._own = secrets.token_hex(8)

    @contextmanager
    def turn(self, seconds: float) -> Iterator[bool]:
        """Hold the tracker.

        Args:
            seconds: maximum time to wait for others.

        Yields:
            Whether another one has written since the last turn.

        Raises:
            TrackerError: others wrote for that long, or the folder cannot be written.
        """
        try:
            self._lock_file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock_file, timeout=seconds)
            lock.acquire()
        except Timeout as error:
            raise TrackerError(f"Another writer holds {self._target.shown}: try again when it is done.") from error
        except OSError as error:
            raise TrackerError(f"{self._lock_file} cannot be written: {error.strerror or error}.") from error
        try:
            yield self._has_other_written()
        finally:
            lock.release()

    def _has_other_written(self) -> bool:
        """Whether another one has written last; from now on it is this one."""
        with os_error_as(TrackerError, f"{self._writer_file} cannot be written"):
            # Not durable: after a power cut there is no process that would remember anything.
            last = self._writer_file.read_text() if self._writer_file.exists() else ""
            if last != self._own:
                self._writer_file.write_text(self._own)
        return last != self._own


TURN_SECONDS = 60.0
"""Maximum time to wait for another writer."""

T = TypeVar("T")

ReportMaker = Callable[[Experiment], bytes]
"""Makes the report of an experiment, one HTML file. Raises: LabError: there is none."""


@dataclass(frozen=True)
class Delivered:
    """What was sent to a tracker."""

    runs: int
    """Runs that have begun, those included of which everything was there."""
    complete: int
    """Runs of these of which everything was there before."""
    points: int
    """Points that were sent."""
    report: bool
    """Whether a report was sent."""

    @property
    def sentence(self) -> str:
        """What happened, for people."""
        runs = counted(self.runs, "run")
        if not self.points and not self.report:
            return f"Everything of {runs} was there already, and nothing was sent twice."
        there = f" Of {self.complete:,} everything was there already." if self.complete else ""
        return f"{self.points:,} points of {runs} were sent{', and the report' if self.report else ''}.{there}"


class Delivery:
    """Sends to one tracker, which is opened when first needed and again after each failure. One thread uses it."""

    def __init__(self, source: Source, target: Target, folder: Path) -> None:
        """Args: source: what to send; target: where to; folder: for locks."""
        self._source = source
        self._target = target
        self._turns = Turns(folder, target)
        self._sender: Sender | None = None

    def is_complete(self, run: str) -> bool:
        """Whether the tracker has everything of a run that has finished. Raises: TrackerError."""
        with self._turns.turn(TURN_SECONDS) as others:
            return self._opened(others).is_complete(run)

    def send(self, run: str, must_stop: Callable[[], bool]) -> int:
        """Send what the tracker lacks of a run; see :meth:`core.tracking.sender.Sender.send`.

        Returns:
            The number of points that were sent.

        Raises:
            UnknownRunError: there is no such run.
            TrackerError: the tracker cannot be reached.
        """
        found = self._source.run(run)
        with self._turns.turn(TURN_SECONDS) as others:
            return self._do(lambda sender: sender.send(found, lambda: self._source.files(run), must_stop), others)

    def send_report(self, experiment: Experiment, make: ReportMaker) -> bool:
        """Send the report of an experiment whose runs are over, unless the tracker has it.

        Args:
            experiment: what the report is about.
            make: makes it, which takes seconds.

        Returns:
            Whether there was anything to send.

        Raises:
            TrackerError: the tracker cannot be reached.
        """
        version = self._source.report_version(experiment)
        if version is None:
            return False

        def content() -> bytes:
            try:
                return make(experiment)
            except StoreError:
                raise
            except LabError:  # such as an experiment in which nothing can be chosen
                return b""

        group = group_of(experiment)
        with self._turns.turn(TURN_SECONDS) as others:
            return self._do(lambda sender: sender.send_report(group, version, content), others)

    def send_experiment(
        self,
        experiment: Experiment,
        make_report: ReportMaker,
        progress: Callable[[float], None],
        must_stop: Callable[[], bool],
    ) -> Delivered:
        """Send what the tracker lacks of an experiment, and of the bases that it starts from.

        Args:
            experiment: what to send.
            make_report: see :meth:`send_report`.
            progress: called with the fraction of the runs that are done.
            must_stop: called now and then; what was sent until then stays.

        Raises:
            TrackerError: the tracker cannot be reached; what was sent until then stays, and is not sent again.
        """
        runs = self._source.of_experiment(experiment)
        if not runs:
            raise TrackerError("No run of this experiment has begun: send it when there is something to send.")
        complete, points = 0, 0
        for number, run in enumerate(runs):
            if must_stop():
                return Delivered(len(runs), complete, points, report=False)
            if self.is_complete(run):
                complete += 1
            else:
                points += self.send(run, must_stop)
            progress((number + 1) / (len(runs) + 1))
        report = not must_stop() and self.send_report(experiment, make_report)
        progress(1.0)
        return Delivered(len(runs), complete, points, report)

    def close(self) -> None:
        """Let go of the tracker."""
        self._sender = None

    def _opened(self, others: bool) -> Sender:
        if self._sender is None:
            self._sender = Sender(self._target.open())
        if others:
            self._sender.forget()
        return self._sender

    def _do(self, work: Callable[[Sender], T], others: bool) -> T:
        sender = self._opened(others)
        try:
            return work(sender)
        except TrackerError:
            self.close()
            raise
