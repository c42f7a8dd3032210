"""The memory that all files which are read at the same time may take together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WAIT_SECONDS = 0.5
"""Interval at which those who wait are told so."""


class Budget:
    """Bytes, of which a file takes its limit while it is read, and waits while too few are left."""

    def __init__(self, total: int) -> None:
        """Args: total: number of bytes."""
        self._total = self._left = total
        self._returned = threading.Condition()

    @contextmanager
    def taken(self, size: int, waits: Callable[[bool], object]) -> Iterator[None]:
        """Take bytes within this context.

        Args:
            size: number of bytes; all of them if it is more.
            waits: called with True again and again while others have them, and then with False.
        """
        size, has_waited = min(size, self._total), False
        while not self._change(-size):
            has_waited = True
            waits(True)
        try:
            if has_waited:
                waits(False)
            yield
        finally:
            self._change(size)

    def _change(self, by: int) -> bool:
        """Take bytes or give them back. Returns: False if there were too few for a while."""
        with self._returned:
            found = self._returned.wait_for(lambda: self._left + by >= 0, WAIT_SECONDS)
            self._left += by * found
            self._returned.notify_all()
            return found
