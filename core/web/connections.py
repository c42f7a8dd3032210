"""Limit the number of connections to the server, and choose which ones to close.

Authorized visitors must get in even while others, perhaps from the same address, hold a thousand idle connections open.
So at a limit, the oldest waiting connection is closed in favour of the new one; the new one is closed only if no other
is waiting.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import uvicorn

from core.web.connection import Connection
from core.web.descriptors import Room
from core.web.peers import NO_PROXIES, Proxies, peer_of

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""Interval between checks for slow connections."""

LINE_SECONDS = 60.0
"""Minimum interval between lines in the log."""

QUEUE = 4096
"""Backlog of connections in the system; it may allow fewer."""

SILENT_SECONDS = 5
"""How long the system (only Linux) holds back a connection that has sent nothing; then it is accepted anyway."""

OUT_OF_DESCRIPTORS = "socket.accept() out of system resource"
"""asyncio's message for every connection that it could not accept."""

MALFORMED = {"Invalid HTTP request received.", "Unsupported upgrade request."}
"""uvicorn's messages for malformed requests, which anyone can send."""

REFUSED = {
    '%s - "WebSocket %s" %d',
    '%s - "WebSocket %s" 403',
    "connection rejected (%d %s)",
    "HTTP response sent (%d %s)",
    "ASGI callable returned without completing handshake.",  # said of one rejected by a response with a sentence
}
"""Messages of uvicorn and websockets for rejected websockets; other rejected requests are not logged either."""

Queue = OrderedDict[Connection, None]


class Connections:
    """The open connections, oldest first."""

    def __init__(
        self, measure: Callable[[int], Room], proxies: Proxies = NO_PROXIES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start without connections.

        Args:
            measure: returns how many connections are allowed, given how many are open.
            proxies: trusted proxies, which forward connections of many visitors, so the limit per peer does not apply.
            clock: returns the time in seconds.
        """
        self.room = measure(0)
        self._measure = measure
        self._proxies = proxies
        self._clock = clock
        self._all: Queue = OrderedDict()
        self._by_peer: dict[str, Queue] = {}
        self._peers: dict[Connection, str] = {}
        self._noted: Counter[str] = Counter()
        self._next_line = clock()

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, connection: Connection, address: str | None) -> bool:
        """Add a new connection, closing others if necessary; returns whether it may stay."""
        peer = peer_of(address)
        own = self._by_peer.setdefault(peer, OrderedDict())
        crowded = len(own) >= self.room.per_peer and not self._proxies.trusts(address)
        fits = (not crowded or self._make_room(own)) and (
            len(self._all) < self.room.in_all or self._make_room(self._all)
        )
        if fits:
            # Making room may have emptied and removed the queue.
            self._by_peer.setdefault(peer, own)[connection] = None
            self._all[connection] = None
            self._peers[connection] = peer
        else:
            self._noted["refused"] += 1
            if not own:
                self._by_peer.pop(peer, None)
        return fits

    def leave(self, connection: Connection) -> None:
        """Remove a connection, if it was not removed already."""
        peer = self._peers.pop(connection, None)
        if peer is None:
            return
        del self._all[connection]
        own = self._by_peer[peer]
        del own[connection]
        if not own:
            del self._by_peer[peer]

    def drop_slow(self, connection: Connection) -> None:
        """Close a connection that was too slow or sent too much."""
        self._noted["slow"] += 1
        self._drop(connection)

    def look(self) -> None:
        """Close slow and excess connections, and log a summary at most once per minute."""
        for connection in [connection for connection in self._all if connection.is_overdue()]:
            self.drop_slow(connection)
        self.room = self._measure(len(self._all))
        while len(self._all) > self.room.in_all and self._make_room(self._all):
            pass
        now = self._clock()
        if now >= self._next_line and self._noted - Counter(slow=self._noted["slow"]):
            self._next_line = now + LINE_SECONDS
            noted, self._noted = self._noted, Counter()
            log.warning(
                "Connections since the last such line, at most one per minute: %d waiting ones closed to let others in,"
                " %d refused, %d closed as too slow, %d malformed requests, %d times out of descriptors."
                " The limits are %d in total and %d per address.",
                *(noted[name] for name in ("closed", "refused", "slow", "malformed", "descriptors")),
                self.room.in_all,
                self.room.per_peer,
            )

    def guard(self, server: uvicorn.Server) -> None:
        """Track all connections of a server; to be called before it listens."""
        config = server.config
        speak, tls = config.http_protocol_class, config.ssl

        def protocol(**settings: Any) -> Connection:
            return Connection(speak(**settings), self, tls, self._clock)

        config.http_protocol_class = protocol  # type: ignore[assignment]
        config.ssl = None
        # asyncio accepts this many connections before the first protocol is notified.
        config.backlog = self.room.burst

    async def watch(self, server: uvicorn.Server, silent_seconds: int = SILENT_SECONDS) -> None:
        """Watch the connections of a server until cancelled.

        Args:
            server: the argument of :meth:`guard`.
            silent_seconds: how long the system holds back a connection that has sent nothing.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_error)
        noise = logging.getLogger("uvicorn.error")
        noise.addFilter(self._is_news)
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            prepare_queues(server, silent_seconds)
            while True:
                self.look()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            noise.removeFilter(self._is_news)

    def _make_room(self, queue: Queue) -> bool:
        """Close the oldest waiting connection of a queue; returns whether there was one."""
        for _ in range(len(queue)):
            oldest = next(iter(queue))
            if oldest.waits:
                self._noted["closed"] += 1
                self._drop(oldest)
                return True
            queue.move_to_end(oldest)  # so that the next search does not start with it
        return False

    def _drop(self, connection: Connection) -> None:
        connection.abort()
        self.leave(connection)

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("message") != OUT_OF_DESCRIPTORS:
            loop.default_exception_handler(context)
            return
        self._noted["descriptors"] += 1
        self._make_room(self._all)

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Whether to log a record of uvicorn; those that any request can cause are counted or dropped instead."""
        if record.msg in REFUSED:
            return False
        if record.msg in MALFORMED:
            self._noted["malformed"] += 1
            return False
        return True


def prepare_queues(server: uvicorn.Server, silent_seconds: int) -> None:
    """Let the system queue more connections than are accepted at once, and hold back those that have sent nothing.

    A new connection's request has then arrived when it is accepted, so it is read before others can displace it.
    """
    for listening in (listening for one in server.servers for listening in one.sockets):
        with socket.socket(fileno=os.dup(listening.fileno())) as same:
            same.listen(QUEUE)
            if silent_seconds and hasattr(socket, "TCP_DEFER_ACCEPT") and same.family != socket.AF_UNIX:
                same.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, silent_seconds)
