"""Writes runs to trackers: every run when it ends, where ``LORA_LAB_TRACK`` says so, and an experiment when asked."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from filelock import FileLock, Timeout

from core.artifacts.artifacts import Artifacts
from core.background import Background
from core.engine.jobs.run_files import ADAPTER
from core.errors import LabError, StoreError, TrackerError, UnknownRunError, os_error_as
from core.settings import Settings
from core.store.record import Experiment
from core.store.store import Store
from core.tracking.mlflow_tracker import MlflowTracker
from core.tracking.tensorboard_tracker import TensorBoardTracker
from core.tracking.tracker import OVER, Tracker, tracked_run

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""Pause after a tracker has failed."""

TURN_SECONDS = 60.0
"""Maximum time to wait for another writer."""

TRACKERS: dict[str, type[Tracker]] = {tracker.kind: tracker for tracker in (TensorBoardTracker, MlflowTracker)}
"""Trackers by kind, in the order in which forms list them."""


def tracker_of(text: str) -> Tracker:
    """The tracker that a text such as ``tensorboard:FOLDER`` names. Raises: TrackerError: it names none."""
    kind, _, address = text.strip().partition(":")
    if kind not in TRACKERS:
        known = " or ".join(f"{tracker.kind}:{tracker.example}" for tracker in TRACKERS.values())
        raise TrackerError(f"There is no tracker {kind[:60]!r}: name one as in {known}.")
    return TRACKERS[kind](address.strip())


@dataclass
class Written:
    """A tracker of ``LORA_LAB_TRACK``, and what it has of the runs that ended since the lab was opened."""

    tracker: Tracker
    runs: set[tuple[str, float]] = field(default_factory=set)
    """Ids of runs that are there, and when they ended: a run that goes on ends again."""
    error: str | None = None
    """Why nothing can be written now, in one sentence."""
    retry: float = 0.0
    """When to try again, by the monotonic clock."""


class Tracking:
    """Writes runs to trackers. It reads the store and files of runs, and changes nothing for a run. Thread-safe."""

    def __init__(self, settings: Settings, store: Store, artifacts: Artifacts) -> None:
        """Args: settings: name the trackers that get every run; store: has the runs; artifacts: their files.

        Raises: TrackerError: ``LORA_LAB_TRACK`` names something else than trackers.
        """
        self._store, self._artifacts, self._settings = store, artifacts, settings
        try:
            trackers = {tracker.shown: tracker for tracker in map(tracker_of, settings.track)}
        except TrackerError as error:
            raise TrackerError(f"LORA_LAB_TRACK cannot be used. {error}") from error
        self.written = [Written(tracker) for tracker in trackers.values()]
        """Where each tracker stands that gets every run; only the thread changes it."""
        self.sendings = Background()
        """What is sent in the background, or was, under names of :meth:`begin`."""
        self._since = time.time()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    def start(self) -> None:
        """Begin to write runs that end from now on."""
        if self.written:
            self._thread.start()

    def close(self, timeout: float) -> None:
        """Have everything written that has ended, and wait some seconds for that."""
        self.sendings.close()
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout))

    def run(self, id: str, tracker: Tracker) -> bool:
        """Write a run that is over. Returns: False where it was there.

        Raises:
            UnknownRunError: there is no such run.
            TrackerError: the tracker cannot be reached or written.
        """
        run = tracked_run(self._store, id)
        adapter = _if_any(partial(self._artifacts.path, id, ADAPTER))
        with self._turn(tracker):
            return tracker.write(run, adapter)

    def experiment(
        self,
        experiment: Experiment,
        tracker: Tracker,
        make_report: Callable[[Experiment], bytes],
        progress: Callable[[float], None] = lambda share: None,
        stop: threading.Event | None = None,
    ) -> int:
        """Write the runs of an experiment that are over, those of its bases, and its report once all are over.

        Args:
            experiment: what to send.
            tracker: where to.
            make_report: makes the report, one HTML file, in seconds; raises LabError where there is none.
            progress: called with the fraction that is done.
            stop: asks to stop before the next run; what was sent until then stays.

        Returns:
            The number of runs that were sent; the tracker had the others already.

        Raises:
            TrackerError: the tracker cannot be reached or written, or no run is over.
        """
        members = self._store.members(experiment.id)
        bases = self._store.runs_of(list(dict.fromkeys(run.spec.base for run in members if run.spec.base)))
        over = [run.id for run in [*bases, *members] if run.started is not None and run.state in OVER]
        if not over:
            raise TrackerError("No run of this experiment has ended: send it when one has.")
        sent = 0
        for number, id in enumerate(over):
            if stop is not None and stop.is_set():
                return sent
            sent += self.run(id, tracker)
            progress((number + 1) / (len(over) + 1))
        report = _if_any(partial(make_report, experiment)) if all(run.state in OVER for run in members) else None
        if report is not None:
            with self._turn(tracker):
                tracker.write_report(experiment, report.decode())
        progress(1.0)
        return sent

    def begin(self, experiment: Experiment, tracker: Tracker, make_report: Callable[[Experiment], bytes]) -> None:
        """Begin to send an experiment in the background, unless that is under way; see :attr:`sendings`."""
        name = f"{experiment.id} to {tracker.shown}"
        self.sendings.begin(name, partial(self.experiment, experiment, tracker, make_report))

    def _turn(self, tracker: Tracker) -> AbstractContextManager[object]:
        """Wait until nobody else writes to a tracker, in this process or another. Returns: a lock, released on exit."""
        name = hashlib.sha256(f"{tracker.kind}:{tracker.address}".encode()).hexdigest()[:16]
        folder = self._settings.tracking
        with os_error_as(TrackerError, f"{folder} cannot be written"):
            try:
                return FileLock(folder / f"{name}.lock").acquire(TURN_SECONDS)
            except Timeout as error:
                raise TrackerError(f"Another writer holds {tracker.shown}: try again when it is done.") from error

    def _work(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._closing.wait(self._settings.track_seconds)
            for written in self.written:
                if time.monotonic() >= written.retry:
                    self._catch_up(written)

    def _catch_up(self, written: Written) -> None:
        """Write the runs that have ended and are not there; a failure is logged once, and shown until it is over."""
        query = "SELECT id, ended FROM runs WHERE started NOTNULL AND ended >= ? AND state IN (?, ?, ?) ORDER BY ended"
        try:
            for row in self._store.rows(query, self._since, *OVER):
                end = row["id"], row["ended"]
                if end not in written.runs:
                    with suppress(UnknownRunError):  # deleted since
                        self.run(row["id"], written.tracker)
                    written.runs.add(end)
            written.error = None
        except Exception as error:  # a tracker may fail in any way, and the others must go on
            if not written.error:
                shown, is_bug = written.tracker.shown, not isinstance(error, LabError | OSError)
                log.warning("%s cannot be written, and is tried again: %s", shown, error, exc_info=is_bug)
            written.error, written.retry = str(error), time.monotonic() + RETRY_SECONDS


def _if_any(make: Callable[[], Any]) -> Any:
    """What a function makes; None for what there is not, such as the adapter of a base, or cannot be used."""
    try:
        return make()
    except StoreError:
        raise
    except LabError as error:
        log.info("Trackers are not sent everything: %s", error)
        return None
