"""Writes runs and experiments to trackers, in turns with others that write to the same one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from core.artifacts.artifacts import Artifacts
from core.engine.jobs.run_files import ADAPTER
from core.errors import LabError, StoreError, TrackerError
from core.methods.method import Role
from core.numbers import counted
from core.store.record import Experiment
from core.store.store import Store
from core.tracking.content import OVER, group_of, tracked_run
from core.tracking.registry import Target
from core.tracking.tracker import Tracker

log = logging.getLogger(__name__)

TURN_SECONDS = 60.0
"""Maximum time to wait for another writer."""

ReportMaker = Callable[[Experiment], bytes]
"""Makes the report of an experiment, one HTML file. Raises: LabError: there is none."""


@dataclass(frozen=True)
class Delivered:
    """What was sent of an experiment."""

    runs: int
    """Runs that are over."""
    complete: int
    """Runs of these that were there before."""
    points: int
    """Points that were sent."""
    report: bool
    """Whether a report was sent."""
    training: int
    """Runs that have begun and are not over; nothing is sent of them."""

    @property
    def sentence(self) -> str:
        """What happened, for people."""
        runs = counted(self.runs, "run")
        left = f" Send again to have the rest: {counted(self.training, 'run')} not over." if self.training else ""
        if not self.points and not self.report:
            return f"Everything of {runs} was there already, and nothing was sent twice.{left}"
        there = f" Of {self.complete:,} everything was there already." if self.complete else ""
        return f"{self.points:,} points of {runs} were sent{', and the report' if self.report else ''}.{there}{left}"


class Sending:
    """Sends what the store has to trackers. Thread-safe. Raises: TrackerError: a tracker cannot be reached or written.

    A tracker is opened for each run, and held by a lock while it is written.
    """

    def __init__(self, store: Store, artifacts: Artifacts, folder: Path) -> None:
        """Args: store: has the runs; artifacts: their files; folder: for the locks of all trackers."""
        self._store, self._artifacts, self._folder = store, artifacts, folder

    def run(self, id: str, target: Target) -> int:
        """Send a run that is over. Returns: the number of points; 0 where it was there.

        Raises: UnknownRunError: there is no such run.
        """
        run, files = tracked_run(self._store, id), self._files(id)
        with self._turn(target) as tracker:
            return len(run.points) if tracker.write(run, files) else 0

    def experiment(
        self,
        experiment: Experiment,
        target: Target,
        make_report: ReportMaker,
        progress: Callable[[float], None],
        must_stop: Callable[[], bool],
    ) -> Delivered:
        """Send the runs of an experiment, those of its bases, and its report once all are over.

        Args:
            experiment: what to send.
            target: where to.
            make_report: makes the report, which takes seconds.
            progress: called with the fraction of the runs that are done.
            must_stop: called before each run; what was sent until then stays.
        """
        members = self._store.members(experiment.id)
        bases = self._store.runs_of(list(dict.fromkeys(run.spec.base for run in members if run.spec.base)))
        begun = [run for run in [*bases, *members] if run.started is not None]
        over = [run.id for run in begun if run.state in OVER]
        if not over:
            raise TrackerError("No run of this experiment has ended: send it when one has.")
        complete, points, report = 0, 0, False
        for number, run in enumerate(over):
            if must_stop():
                break
            sent = self.run(run, target)
            complete, points = complete + (not sent), points + sent
            progress((number + 1) / (len(over) + 1))
        else:
            if all(run.state in OVER for run in members):
                version = f"{len(members)} runs until {max(run.ended or run.created for run in members):.3f}"
                with self._turn(target) as tracker:
                    report = tracker.write_report(group_of(experiment), version, _report(experiment, make_report))
            progress(1.0)
        return Delivered(len(over), complete, points, report, len(begun) - len(over))

    def _files(self, id: str) -> list[Path]:
        """Files that a tracker keeps of a run with a result: its adapter, if it has one."""
        run = self._store.run(id)
        if run.result is None or run.spec.role is not Role.ADAPTER:
            return []
        try:
            return [self._artifacts.path(id, ADAPTER)]
        except StoreError:
            raise
        except LabError as error:  # a damaged file is no reason to track nothing of the run
            log.warning("The adapter of run %s is not sent to a tracker: %s", id, error)
            return []

    @contextmanager
    def _turn(self, target: Target) -> Iterator[Tracker]:
        """Hold a tracker, opened."""
        name = hashlib.sha256(f"{target.kind}:{target.address}".encode()).hexdigest()[:16]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._folder / f"{name}.lock").acquire(TURN_SECONDS)
        except Timeout as error:
            raise TrackerError(f"Another writer holds {target.shown}: try again when it is done.") from error
        except OSError as error:
            raise TrackerError(f"{self._folder} cannot be written: {error.strerror or error}.") from error
        with lock:
            yield target.open()


def _report(experiment: Experiment, make: ReportMaker) -> bytes:
    try:
        return make(experiment)
    except StoreError:
        raise
    except LabError:  # such as an experiment in which nothing can be chosen
        return b""
