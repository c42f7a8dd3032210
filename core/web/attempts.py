"""Rate limit of wrong tokens and cookies per peer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from cachetools import LRUCache

from core.web.peers import peer_of


class Attempts:
    """Counts recent wrong attempts per peer; those of one peer do not affect others.

    A correct token is always accepted; otherwise, wrong attempts of others could lock out the owner. Protection against
    guessing is the strength of the token, see :mod:`core.web.token_strength`.
    """

    def __init__(
        self,
        per_peer: int = 10,
        max_peers: int = 4096,
        seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without any attempts.

        Args:
            per_peer: wrong attempts allowed per peer within ``seconds``.
            max_peers: number of peers to remember; the one with the oldest last attempt is forgotten first.
            seconds: how long a wrong attempt counts.
            clock: returns the time in seconds.
        """
        self._per_peer = per_peer
        self._seconds = seconds
        self._clock = clock
        self._times: LRUCache[str, deque[float]] = LRUCache(max_peers)

    def __len__(self) -> int:
        """Number of peers that are remembered."""
        return len(self._times)

    def wrong(self, address: str | None, count: int = 1) -> float:
        """Count wrong attempts.

        Args:
            address: address of the peer.
            count: number of attempts, at least one.

        Returns:
            Seconds until this peer may try again; 0 if these attempts were within its limit.
        """
        now, peer = self._clock(), peer_of(address)
        times = self._times.get(peer) or deque(maxlen=self._per_peer)
        while times and times[0] <= now - self._seconds:
            times.popleft()
        allowed = len(times) + count <= self._per_peer
        if allowed:
            times.extend([now] * count)
        self._times[peer] = times
        return 0.0 if allowed or not times else times[0] + self._seconds - now
