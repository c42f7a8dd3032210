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
from core.tracking.source import Source, Standing

log = logging.getLogger(__name__)

IDLE = 4
"""How many times longer the thread sleeps while nothing trains and nothing is missing."""

MAX_PAUSE = 300.0
"""Maximum seconds between two attempts to reach a tracker that fails."""


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
        self._sent: dict[str, Standing] = {}
        """Runs as they stood when they were last sent."""
        self._reports: set[str] = set()
        """Experiments of which a report may be missing."""
        self._closing = threading.Event()
        self._until = math.inf
        """When to begin nothing more, by the monotonic clock."""
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
                busy = self._look()
                if failures:
                    log.warning("%s is written again.", self._state.target.shown)
                self._state = replace(self._state, error=None)
                failures, pause = 0, self._seconds * (1 if busy else IDLE)
            except (LabError, sqlite3.Error, OSError) as error:
                failures += 1
                pause = min(MAX_PAUSE, self._seconds * 2**failures)
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

    def _look(self) -> bool:
        """Send what is new. Returns: whether anything trains or is missing."""
        found = self._source.since(self._state.since)
        new = [standing for standing in found if self._sent.get(standing.id) != standing]
        self._state = replace(self._state, pending=len(new))
        for standing in new:
            if self._must_stop():
                break
            self._send(standing)
            self._state = replace(self._state, pending=self._state.pending - 1)
        is_busy = self._is_busy()
        if not is_busy and not self._closing.is_set():
            self._send_reports()
        return is_busy or bool(new)

    def _must_stop(self) -> bool:
        return time.monotonic() > self._until

    def _send(self, standing: Standing) -> None:
        points = 0
        if not standing.is_over or not self._delivery.is_complete(standing.id):
            try:
                points = self._delivery.send(standing.id, self._must_stop)
            except UnknownRunError:  # deleted since
                return
        # As it stood before it was read: what came in between is sent again, that is, looked at again.
        self._sent[standing.id] = standing
        if points:
            self._state = replace(self._state, written=time.time())
        if standing.is_over and standing.experiment:
            self._reports.add(standing.experiment)

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
