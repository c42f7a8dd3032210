"""Wrong tokens and cookies of the last minute, counted by who has shown them."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from core.web.peers import peer_of


class Attempts:
    """How many wrong tries each peer has had; nobody's tries count against anybody else.

    It does not keep a right token out: that would let whoever tries wrong ones lock out the owner. Against guessing
    stands the strength of the token, see :mod:`core.web.token_strength`.
    """

    def __init__(
        self,
        per_peer: int = 10,
        max_peers: int = 4096,
        seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nobody has tried yet.

        Args:
            per_peer: wrong tries that one peer has in any ``seconds``.
            max_peers: whom to remember; beyond it the peer whose last try is the oldest is forgotten.
            seconds: how long a wrong try counts.
            clock: gives the time in seconds.
        """
        self._per_peer = per_peer
        self._max_peers = max_peers
        self._seconds = seconds
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        """Peers that are remembered."""
        return len(self._wrong)

    def wrong(self, address: str | None, tries: int = 1) -> float:
        """Count wrong tries.

        Args:
            address: of the peer.
            tries: at least one.

        Returns:
            Seconds until this peer may try again; 0 where these tries were within its limit.
        """
        now, peer = self._clock(), peer_of(address)
        moments = self._wrong.pop(peer, None) or deque(maxlen=self._per_peer)
        while moments and moments[0] <= now - self._seconds:
            moments.popleft()
        within = len(moments) + tries <= self._per_peer
        if within:
            moments.extend([now] * tries)
        self._wrong[peer] = moments
        if len(self._wrong) > self._max_peers:
            self._wrong.popitem(last=False)
        return 0.0 if within or not moments else moments[0] + self._seconds - now
