"""Trackers of one home folder: those that get every run when it ends, and those that an experiment is sent to."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from core.artifacts.artifacts import Artifacts
from core.background import Background
from core.errors import LabError, UnknownRunError
from core.settings import Settings
from core.store.record import Experiment
from core.store.store import Store
from core.tracking.content import OVER
from core.tracking.registry import Target, targets_of
from core.tracking.sending import Delivered, ReportMaker, Sending

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""Pause after a tracker has failed."""


@dataclass
class Written:
    """What a tracker of ``LORA_LAB_TRACK`` has of the runs that ended since the lab was opened."""

    target: Target
    runs: set[tuple[str, float]] = field(default_factory=set)
    """Ids of runs that are there, and when they ended: a run that goes on ends again."""
    at: float | None = None
    """When something was last written, in seconds since 1970, UTC."""
    missing: int = 0
    """Runs that have ended and are not there."""
    error: str | None = None
    """Why nothing can be written now, in one sentence."""
    retry: float = 0.0
    """When to try again, by the monotonic clock."""


class Tracking:
    """Writes runs to trackers. It reads the store and files of runs, and changes nothing for a run. Thread-safe."""

    def __init__(self, settings: Settings, store: Store, artifacts: Artifacts) -> None:
        """Args: settings: name the trackers that get every run; store: has the runs; artifacts: their files.

        Raises:
            TrackerError: ``LORA_LAB_TRACK`` names something else than trackers.
        """
        self._store = store
        self._sending = Sending(store, artifacts, settings.tracking)
        self._seconds = settings.track_seconds
        self.written = [Written(target) for target in targets_of(settings.track)]
        """Where each tracker stands that gets every run; only the thread changes it."""
        self.sendings = Background()
        """What is sent in the background, or was, under names of :meth:`begin`."""
        self._delivered: dict[str, Delivered] = {}
        self._since = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    def start(self) -> None:
        """Begin to write runs that end from now on."""
        if self.written:
            self._since = time.time()
            self._thread.start()

    def close(self, timeout: float) -> None:
        """Have everything written that has ended, and wait some seconds for that."""
        self.sendings.close()
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout))

    def send(
        self,
        experiment: Experiment,
        target: Target,
        make_report: ReportMaker,
        progress: Callable[[float], None] = lambda share: None,
        stop: threading.Event | None = None,
    ) -> Delivered:
        """Send an experiment to a tracker, in this thread; see :meth:`core.tracking.sending.Sending.experiment`.

        Raises:
            TrackerError: the tracker cannot be reached; what was sent until then stays, and is not sent again.
        """
        must_stop = stop.is_set if stop else lambda: False
        return self._sending.experiment(experiment, target, make_report, progress, must_stop)

    def begin(self, experiment: Experiment, target: Target, make_report: ReportMaker) -> None:
        """Begin to send an experiment in the background, unless that is under way; see :meth:`sendings`."""
        name = f"{experiment.id} to {target.shown}"

        def work(progress: Callable[[float], None], stop: threading.Event) -> None:
            self._delivered[name] = self.send(experiment, target, make_report, progress, stop)

        self._delivered.pop(name, None)
        self.sendings.begin(name, work)

    def delivered(self, name: str) -> Delivered | None:
        """What was sent in the background under this name, once that has ended well."""
        return self._delivered.get(name)

    def _work(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._closing.wait(self._seconds)
            for written in self.written:
                if time.monotonic() >= written.retry:
                    self._catch_up(written)

    def _catch_up(self, written: Written) -> None:
        """Write the runs that have ended and are not there; a failure is logged once, and shown until it is over."""
        try:
            missing = [run for run in self._ended() if run not in written.runs]
            written.missing = len(missing)
            for id, ended in missing:
                try:
                    self._sending.run(id, written.target)
                    written.at = time.time()
                except UnknownRunError:  # deleted since
                    pass
                written.runs.add((id, ended))
                written.missing -= 1
            written.error = None
        except Exception as error:  # a tracker may fail in any way, and the others must go on
            if not isinstance(error, LabError | sqlite3.Error | OSError):
                log.exception("Tracking in %s failed", written.target.shown)
            elif not written.error:
                log.warning("%s cannot be written, and is tried again later: %s", written.target.shown, error)
            written.error, written.retry = str(error), time.monotonic() + RETRY_SECONDS

    def _ended(self) -> list[tuple[str, float]]:
        """Runs that have begun, and have ended since the start, with the time; the first to end first."""
        rows = self._store.rows(
            "SELECT id, ended FROM runs WHERE started IS NOT NULL AND ended >= ? AND state IN (?, ?, ?)"
            " ORDER BY ended, id",
            self._since,
            *OVER,
        )
        return [(row["id"], row["ended"]) for row in rows]
