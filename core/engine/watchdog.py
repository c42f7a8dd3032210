"""A thread that sees that what is shown as running is being trained, in this process and in others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from core.engine.processes import Owner
from core.engine.workers import Workers

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
"""How often this process gives a sign of life, and looks after its own threads."""

PAUSE_SHARE = 0.25
"""Of the silence after which a thread is given up: a tick that is late by this much means that the whole process was
paused, as by Ctrl-Z or a container's freezer, and its silence says nothing."""


class Watchdog:
    """Looks after workers, and after what other processes leave behind."""

    def __init__(self, owner: Owner, workers: Workers, settle_seconds: float, hang_seconds: float) -> None:
        """Args:
        owner: this process among those of the home folder.
        workers: its threads.
        settle_seconds: between two looks for processes that are gone.
        hang_seconds: of silence after which a thread or process is given up.
        """
        self._owner = owner
        self._workers = workers
        self._settle_seconds = settle_seconds
        self._late_seconds = PAUSE_SHARE * hang_seconds
        self._failing: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Watch no more; a look that has begun may still end."""
        self._closing.set()

    def _watch(self) -> None:
        interval = min(TICK_SECONDS, self._settle_seconds)
        settled = last = time.monotonic()
        while not self._closing.wait(interval):
            now = time.monotonic()
            if now - last > interval + self._late_seconds:
                log.warning("This process was paused for %.0f seconds.", now - last)
                self._owner.allow_for_pause()
                self._workers.allow_for_pause()
            last = now
            # Each for itself: where one fails, the others still do their part.
            self._try("give a sign of life", self._owner.beat)
            self._try("look after the threads that train", self._workers.check)
            self._try("tell the store what it could not be told before", self._workers.say_all)
            if now - settled >= self._settle_seconds:
                settled = now
                self._try("look for processes that are gone", self._owner.settle)

    def _try(self, what: str, look: Callable[[], None]) -> None:
        try:
            look()
        except Exception:
            if what not in self._failing and not self._closing.is_set():
                log.exception("The watchdog could not %s; it goes on trying", what)
            self._failing.add(what)
        else:
            self._failing.discard(what)
