"""A thread that passes on to jobs what people ask of their runs."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable

from core.engine.recorder import Recorder

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
"""Interval between two looks at the store, where other processes leave their requests; those of this one wake it."""


class Requests:
    """Asks the store for what jobs would otherwise have to ask: who is to stop, and who is no longer their own."""

    def __init__(self, recorders: Callable[[], Iterable[Recorder]]) -> None:
        """Args: recorders: gives those of the jobs that run now."""
        self._recorders = recorders
        self._asked = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="requests", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Look at the store now."""
        self._asked.set()

    def close(self) -> None:
        """Ask the thread to end."""
        self._closing = True
        self._asked.set()

    def _work(self) -> None:
        while not self._closing:
            self._asked.wait(LOOK_SECONDS)
            self._asked.clear()
            for recorder in self._recorders():
                try:
                    recorder.pass_on_requests()
                except sqlite3.Error as error:
                    log.debug("The store cannot be read (%s); trying again.", error)
