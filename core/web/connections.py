"""All connections to the server: how many there may be, and which has to go when there are too many.

Whoever has a token must get in even while others, perhaps from the same address, hold a thousand connections open and
say nothing. So a newcomer is not turned away at a limit: the oldest connection that waits is closed for it, and only
where none waits is the newcomer closed.
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
"""Between two looks for connections that are too slow."""

LINE_SECONDS = 60.0
"""Between two lines in the log."""

QUEUE = 4096
"""Connections that the system may hold until they are taken; it may allow fewer."""

SILENT_SECONDS = 5
"""How long the system holds a connection that has sent nothing, where it can (Linux); then it is taken all the same."""

OUT_OF_DESCRIPTORS = "socket.accept() out of system resource"
"""How asyncio begins its complaint, once for every connection that it could not take."""

MALFORMED = {"Invalid HTTP request received.", "Unsupported upgrade request."}
"""What uvicorn logs of a single request that anybody can send."""

REFUSED = {
    '%s - "WebSocket %s" %d',
    '%s - "WebSocket %s" 403',
    "connection rejected (%d %s)",
    "HTTP response sent (%d %s)",
}
"""What uvicorn and websockets log of a websocket that was refused, as of what else is refused nothing is logged."""

Queue = OrderedDict[Connection, None]


class Connections:
    """The connections that are open, the oldest first."""

    def __init__(
        self, measure: Callable[[int], Room], proxies: Proxies = NO_PROXIES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """None yet.

        Args:
            measure: says, of how many there are, how many there may be.
            proxies: they bring the connections of many, so the limit of one peer is not theirs.
            clock: gives the time in seconds.
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
        """Count a connection that was opened, and close others for it; whether it may stay."""
        peer = peer_of(address)
        own = self._by_peer.setdefault(peer, OrderedDict())
        crowded = len(own) >= self.room.per_peer and not self._proxies.trusts(address)
        fits = (not crowded or self._make_room(own)) and (
            len(self._all) < self.room.in_all or self._make_room(self._all)
        )
        if fits:
            # It may have been emptied, and so removed, meanwhile.
            self._by_peer.setdefault(peer, own)[connection] = None
            self._all[connection] = None
            self._peers[connection] = peer
        else:
            self._noted["refused"] += 1
            if not own:
                self._by_peer.pop(peer, None)
        return fits

    def leave(self, connection: Connection) -> None:
        """Forget a connection; it may be forgotten already."""
        peer = self._peers.pop(connection, None)
        if peer is None:
            return
        del self._all[connection]
        own = self._by_peer[peer]
        del own[connection]
        if not own:
            del self._by_peer[peer]

    def drop_slow(self, connection: Connection) -> None:
        """Close a connection that took too long or sent too much."""
        self._noted["slow"] += 1
        self._drop(connection)

    def look(self) -> None:
        """Close what is too slow or too much, and say in the log what was done, at most once a minute."""
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
                "Connections since the last such line, at most one a minute: %d that waited closed to let others in,"
                " %d refused, %d closed as too slow, %d malformed requests, %d times no descriptor was left."
                " There may be %d in all and %d of one address.",
                *(noted[name] for name in ("closed", "refused", "slow", "malformed", "descriptors")),
                self.room.in_all,
                self.room.per_peer,
            )

    def guard(self, server: uvicorn.Server) -> None:
        """Have all connections of a server counted here; to be called before it listens."""
        config = server.config
        speak, tls = config.http_protocol_class, config.ssl

        def protocol(**settings: Any) -> Connection:
            return Connection(speak(**settings), self, tls, self._clock)

        config.http_protocol_class = protocol  # type: ignore[assignment]
        config.ssl = None
        # asyncio takes so many from the system's queue before any protocol hears of the first.
        config.backlog = self.room.burst

    async def watch(self, server: uvicorn.Server, silent_seconds: int = SILENT_SECONDS) -> None:
        """Look after the connections of a server until this is cancelled.

        Args:
            server: that :meth:`guard` was called with.
            silent_seconds: how long the system holds a connection that has sent nothing.
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
        """Close the oldest of a queue that waits; whether there was one."""
        for _ in range(len(queue)):
            oldest = next(iter(queue))
            if oldest.waits:
                self._noted["closed"] += 1
                self._drop(oldest)
                return True
            queue.move_to_end(oldest)  # so that the next look does not begin with it
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
        """Whether a record of uvicorn is to be written; it is counted where anybody can cause it at will."""
        if record.msg in REFUSED:
            return False
        if record.msg in MALFORMED:
            self._noted["malformed"] += 1
            return False
        return True


def prepare_queues(server: uvicorn.Server, silent_seconds: int) -> None:
    """Let the system hold more connections than are taken at once, and those that have sent nothing yet.

    The request of a newcomer is there when its connection is taken, so it is read before others can push it out.
    """
    for listening in (listening for one in server.servers for listening in one.sockets):
        with socket.socket(fileno=os.dup(listening.fileno())) as same:
            same.listen(QUEUE)
            if silent_seconds and hasattr(socket, "TCP_DEFER_ACCEPT") and same.family != socket.AF_UNIX:
                same.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, silent_seconds)
