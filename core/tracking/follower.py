"""A thread that sends all runs to one tracker while they are trained, and later what could not be sent then."""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from core.errors import LabError, UnknownRunError
from core.tracking.delivery import Delivery, ReportMaker
from core.tracking.registry import Target
from core.tracking.source import RunProgress, Source

log = logging.getLogger(__name__)

IDLE = 4
"""How many times longer the thread sleeps while nothing trains and nothing is missing."""

SHARE = 0.1
"""Maximum share of its time that the thread computes while something trains: both take turns in Python."""

TURN_SECONDS = 5.0
"""Time after which it lets others write to the tracker, and goes on afterwards."""

MAX_PAUSE = 300.0
"""Maximum seconds between two attempts to reach a tracker that fails."""

MAX_DOUBLINGS = 20
"""Maximum number of times that this pause is doubled; no float holds 2 to the power of the failures of some days."""


@dataclass(frozen=True)
class Followed:
    """Where a tracker that follows runs stands."""

    target: Target
    since: float
    """Runs are followed that were in training at this moment or later, in seconds since 1970, UTC."""
    written: float | None = None
    """When something was last written, by this process."""
    pending: int = 0
    """Runs of which something may be missing there."""
    error: str | None = None
    """Why nothing can be written now, in one sentence."""


class Follower:
    """Follows all runs of a home folder with one tracker, in a thread of its own, which only reads the store."""

    def __init__(
        self,
        source: Source,
        delivery: Delivery,
        followed: Followed,
        seconds: float,
        is_busy: Callable[[], bool],
        make_report: Callable[[], ReportMaker | None],
    ) -> None:
        """Args:
        source: has the runs.
        delivery: sends them; only this thread uses it.
        followed: the tracker, and since when.
        seconds: between two looks at the store.
        is_busy: whether anything trains; reports are made only while nothing does.
        make_report: gives what makes a report, once there is something.
        """
        self._source, self._delivery = source, delivery
        self._seconds, self._is_busy, self._make_report = seconds, is_busy, make_report
        self._state = followed
        self._sent: dict[str, RunProgress] = {}
        """Runs as they stood when they were last sent."""
        self._reports: set[str] = set()
        """Experiments of which a report may be missing."""
        self._closing = threading.Event()
        self._until = math.inf
        """When to begin nothing more, by the monotonic clock."""
        self._is_training = False
        self._turn_until, self._computed = math.inf, 0.0
        self._was_cut = False
        """Whether the last run was sent in part."""
        self._thread = threading.Thread(target=self._work, name=f"tracking-{followed.target.kind}", daemon=True)

    @property
    def state(self) -> Followed:
        """Where the tracker stands; from any thread."""
        return self._state

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ask_close(self, timeout: float) -> None:
        """Have the thread look at the store once more; what it cannot send within some seconds is sent another time."""
        self._until = time.monotonic() + timeout
        self._closing.set()

    def join(self, timeout: float) -> None:
        """Wait some seconds for the end of the thread."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout))

    def _work(self) -> None:
        pause, failures, is_last = 0.0, 0, False
        while True:
            is_last = self._closing.wait(pause)
            if is_last and failures:
                return
            try:
                found = self._look()
                if failures:
                    log.warning("%s is written again.", self._state.target.shown)
                self._state = replace(self._state, error=None)
                failures, pause = 0, found
            except (LabError, sqlite3.Error, OSError) as error:
                failures += 1
                pause = min(MAX_PAUSE, self._seconds * 2 ** min(failures, MAX_DOUBLINGS))
                if failures == 1 and not is_last:
                    log.warning("%s cannot be written, and is tried again later: %s", self._state.target.shown, error)
                self._state = replace(self._state, error=str(error))
            except Exception as error:
                log.exception("Tracking in %s ended", self._state.target.shown)
                self._state = replace(self._state, error=f"Tracking ended by a fault of LoRA Lab: {error}")
                return
            if is_last:
                self._delivery.close()
                return

    def _look(self) -> float:
        """Send what is new. Returns: seconds until there may be more."""
        self._is_training = self._is_busy()
        found = self._source.since(self._state.since)
        new = [progress for progress in found if self._sent.get(progress.id) != progress]
        self._state = replace(self._state, pending=len(new))
        for progress in new:
            if time.monotonic() > self._until:
                break
            self._send(progress)
            if self._was_cut:
                return 0.0
            self._state = replace(self._state, pending=self._state.pending - 1)
        if not self._is_busy() and not self._closing.is_set():
            self._send_reports()
        return self._seconds * (1 if new or self._is_training else IDLE)

    def _must_stop(self) -> bool:
        """Whether to send no more of a run for now; waits where the thread has computed more than its share."""
        now = time.monotonic()
        # From the first part on, so that every turn gets something done.
        self._turn_until = min(self._turn_until, now + TURN_SECONDS)
        if now > min(self._until, self._turn_until):
            self._was_cut = True
            return True
        if self._is_training:
            self._closing.wait((time.thread_time() - self._computed) * (1 / SHARE - 1))
            self._computed = time.thread_time()
        return False

    def _send(self, progress: RunProgress) -> None:
        points, self._was_cut = 0, False
        self._turn_until, self._computed = math.inf, time.thread_time()
        if not progress.is_over or not self._delivery.is_complete(progress.id):
            try:
                points = self._delivery.send(progress.id, self._must_stop)
            except UnknownRunError:  # deleted since
                return
        if points:
            self._state = replace(self._state, written=time.time())
        if self._was_cut:
            return
        self._sent[progress.id] = progress  # as it was before it was read: what came since is looked at again
        if progress.is_over and progress.experiment:
            self._reports.add(progress.experiment)

    def _send_reports(self) -> None:
        make = self._make_report()
        while make is not None and self._reports:
            id = next(iter(self._reports))
            try:
                if self._delivery.send_report(self._source.experiment(id), make):
                    self._state = replace(self._state, written=time.time())
            except UnknownRunError:  # deleted since
                pass
            self._reports.discard(id)
