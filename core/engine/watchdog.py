"""A thread that finds workers and processes that died or hang, so that no run is shown as running without one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from core.engine.processes import Process
from core.engine.workers import Workers

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
"""Interval between two heartbeats of this process, and between two checks of its workers."""

PAUSE_SHARE = 0.25
"""Share of the time after which a worker counts as hanging. A tick that is this late means that the whole process was
paused, as by Ctrl-Z or a container's freezer, so its workers are not to blame."""


class Watchdog:
    """Checks the workers of this process, and recovers the runs of other processes that are gone."""

    def __init__(self, process: Process, workers: Workers, settle_seconds: float, hang_seconds: float) -> None:
        """Args:
        process: this process.
        workers: its worker threads.
        settle_seconds: interval between two checks for processes that are gone.
        hang_seconds: time without progress after which a thread or process counts as hanging.
        """
        self._process = process
        self._workers = workers
        self._settle_seconds = settle_seconds
        self._late_seconds = PAUSE_SHARE * hang_seconds
        self._failing: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ask the thread to end; a check in progress may still complete."""
        self._closing.set()

    def _watch(self) -> None:
        interval = min(TICK_SECONDS, self._settle_seconds)
        settled = last = time.monotonic()
        while not self._closing.wait(interval):
            now = time.monotonic()
            if now - last > interval + self._late_seconds:
                log.warning("This process was paused for %.0f seconds.", now - last)
                self._process.allow_for_pause()
                self._workers.allow_for_pause()
            last = now
            # One by one, so that a failure of one does not prevent the others.
            self._try("update its heartbeat", self._process.beat)
            self._try("check the worker threads", partial(self._workers.check, now))
            self._try("retry writes to the store", self._workers.writes.flush)
            if now - settled >= self._settle_seconds:
                settled = now
                self._try("recover runs of processes that are gone", self._process.settle)

    def _try(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            if what not in self._failing and not self._closing.is_set():
                log.exception("The watchdog could not %s; it keeps trying", what)
            self._failing.add(what)
        else:
            self._failing.discard(what)
