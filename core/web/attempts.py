"""How often somebody may try a token."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class Attempts:
    """Wrong tries of the last minute, counted by address and in all."""

    def __init__(
        self,
        per_address: int = 10,
        in_all: int = 100,
        seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nobody has tried yet.

        Args:
            per_address: wrong tries that one address has in any ``seconds``.
            in_all: the same for everybody together; it also bounds what is remembered.
            seconds: how long a wrong try counts.
            clock: gives the time in seconds.
        """
        self._per_address = per_address
        self._in_all = in_all
        self._seconds = seconds
        self._clock = clock
        self._wrong: deque[tuple[float, str]] = deque(maxlen=in_all)

    def note(self, address: str) -> None:
        """Count one wrong try."""
        self._wrong.append((self._clock(), address))

    def wait(self, address: str) -> float:
        """Seconds until this address may try again; 0 where it may now."""
        now = self._clock()
        while self._wrong and self._wrong[0][0] <= now - self._seconds:
            self._wrong.popleft()
        own = [moment for moment, who in self._wrong if who == address]
        waits = [0.0]
        if len(own) >= self._per_address:
            waits.append(own[-self._per_address] + self._seconds - now)
        if len(self._wrong) >= self._in_all:
            waits.append(self._wrong[0][0] + self._seconds - now)
        return max(waits)
