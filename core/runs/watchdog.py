"""A thread that sees that what is shown as running is being trained, in this process and in others."""

from __future__ import annotations

import logging
import threading
import time

from core.runs.owners import Owner
from core.runs.workers import Workers

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
"""How often this process gives a sign of life, and looks after its own threads."""


class Watchdog:
    """Looks after workers, and after what other processes leave behind."""

    def __init__(self, owner: Owner, workers: Workers, settle_seconds: float) -> None:
        """Args: settle_seconds: between two looks for processes that are gone."""
        self._owner = owner
        self._workers = workers
        self._settle_seconds = settle_seconds
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Watch no more; a look that has begun may still end."""
        self._closing.set()

    def _watch(self) -> None:
        settled, troubled = time.monotonic(), False
        while not self._closing.wait(min(TICK_SECONDS, self._settle_seconds)):
            try:
                self._owner.beat()
                self._workers.check()
                self._workers.say_all()
                if time.monotonic() - settled >= self._settle_seconds:
                    settled = time.monotonic()
                    self._owner.settle()
                troubled = False
            except Exception:
                if not troubled and not self._closing.is_set():
                    log.exception("The watchdog could not look")
                troubled = True
