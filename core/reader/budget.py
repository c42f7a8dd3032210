"""The memory that all files which are read at the same time may take together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WAIT_SECONDS = 0.5
"""Interval at which those who wait are told so."""


class Budget:
    """Bytes, of which each file takes as many as its limit while it is read; a file for which too few are left waits.

    A small file so does not wait for a large one, as long as there is room beside it.
    """

    def __init__(self, total: int) -> None:
        """Args: total: number of bytes."""
        self._total = self._left = total
        self._returned = threading.Condition()

    @contextmanager
    def taken(self, size: int, waits: Callable[[bool], None]) -> Iterator[None]:
        """Take bytes within this context.

        Args:
            size: number of bytes; all of them if it is more.
            waits: called with True again and again while others have them, and then with False.
        """
        size, has_waited = min(size, self._total), False
        while not self._take(size):
            has_waited = True
            waits(True)
        try:
            if has_waited:
                waits(False)
            yield
        finally:
            with self._returned:
                self._left += size
                self._returned.notify_all()

    def _take(self, size: int) -> bool:
        """Take bytes as soon as so many are left; returns False after a while without."""
        with self._returned:
            found = self._returned.wait_for(lambda: self._left >= size, WAIT_SECONDS)
            self._left -= size * found
            return found
