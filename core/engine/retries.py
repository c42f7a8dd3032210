"""A queue of writes to the store that are retried until they succeed, as when the disk was full."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable

from core.errors import RunStateError

log = logging.getLogger(__name__)


class RetryQueue:
    """Writes to the store that must not be lost, in order. Any thread may call any method."""

    def __init__(self) -> None:
        self._pending: list[Callable[[], None]] = []
        self._flushing = threading.Lock()

    def put(self, write: Callable[[], None]) -> None:
        """Run this write now if the store can be written, else at a later :meth:`flush`."""
        self._pending.append(write)
        self.flush()

    def flush(self) -> None:
        """Run pending writes until the queue is empty or the store cannot be written."""
        with self._flushing:
            while self._pending:
                try:
                    self._pending[0]()
                except RunStateError:
                    pass  # the run has been claimed or ended by another worker or process since
                except sqlite3.Error as error:
                    log.debug("The store cannot be written (%s); retrying later.", error)
                    return
                self._pending.pop(0)
