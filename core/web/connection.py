"""One connection to the server: whether it lets the server wait, and for how long."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from core.web.doors import LetIn
from core.web.line import Line

HEAD_SECONDS = 10.0
"""How long the head of a request may take, from its first byte or from the opening; likewise a TLS handshake, and what
is left of a body after it has been answered."""

MAX_HEAD = 64 * 1024
"""Bytes of a request's head."""

BODY_GRACE = 20.0
MIN_BODY_RATE = 1024.0
"""A body must bring as many bytes a second on average, after so many seconds."""


class Keeper(Protocol):
    """Who is told of connections."""

    def enter(self, connection: Connection, address: str | None) -> bool: ...

    def leave(self, connection: Connection) -> None: ...

    def drop_slow(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """Stands between a socket and the protocol of uvicorn that speaks with it, first HTTP and then perhaps websocket.

    What it asks of an HTTP protocol is ``cycle``, the request that is being answered, with ``scope``, ``more_body`` and
    ``response_complete``; uvicorn's on h11 and on httptools have it.
    """

    def __init__(
        self, protocol: asyncio.Protocol, keeper: Keeper, tls: ssl.SSLContext | None, clock: Callable[[], float]
    ) -> None:
        """Not opened yet.

        Args:
            protocol: what speaks HTTP.
            keeper: told when it opens and closes.
            tls: for the handshake before anything else, where there is one.
            clock: gives the time in seconds.
        """
        self._protocol = protocol
        self._keeper = keeper
        self._tls = tls
        self._clock = clock
        self._raw: asyncio.Transport | None = None
        self._line: Line | None = None
        self._early = b""
        self._securing: asyncio.Task[None] | None = None
        self._is_websocket = False
        self._phase: tuple[str, Any] = ("head", None)
        self._since = clock()
        self._received = 0

    # What asyncio tells it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = transport  # type: ignore[assignment]
        if not self._keeper.enter(self, (transport.get_extra_info("peername") or (None,))[0]):
            self.abort()
        elif self._tls is None:
            self._open(self._raw)  # type: ignore[arg-type]
        else:
            self._securing = asyncio.ensure_future(self._secure(self._raw, self._tls))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        if self._line is None:  # it came together with the end of the handshake
            self._early += data
            return
        self._received += len(data)
        self._protocol.data_received(data)
        self._look()
        if self._phase[0] == "head" and self._received > MAX_HEAD:
            self._keeper.drop_slow(self)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received() if self._line is not None else None

    def pause_writing(self) -> None:
        if self._line is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._line is not None:
            self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._keeper.leave(self)
        if self._line is not None:
            self._protocol.connection_lost(exc)

    # What the keeper asks of it

    def abort(self) -> None:
        """Close it at once, whatever is under way."""
        if self._raw is not None:
            self._raw.abort()

    @property
    def waits(self) -> bool:
        """Whether it can be closed in favour of another: nothing is being done for somebody who was let in."""
        if self._line is None:
            return True
        if self._is_websocket:
            return False
        cycle = getattr(self._protocol, "cycle", None)
        if cycle is None or not cycle.scope.get(LetIn.MARK):
            return True
        return bool(cycle.response_complete) and not self._line.held_back()

    def is_overdue(self) -> bool:
        """Whether it has let the server wait for too long; to be asked about once a second."""
        now = self._clock()
        if self._line is None:
            return now - self._since > HEAD_SECONDS
        if self._line.is_stalled(now):
            return True
        self._look()
        phase, _ = self._phase
        if phase == "body":
            if not self._line.reads:  # it is the application that is slow
                self._since, self._received = now, 0
            return self._received < MIN_BODY_RATE * (now - self._since - BODY_GRACE)
        if phase in {"head", "answered"} and self._line.owed():
            self._since = now  # it still reads the answer before
        return phase in {"head", "answered"} and now - self._since > HEAD_SECONDS

    def _look(self) -> None:
        """Note where it stands, and since when."""
        cycle = getattr(self._protocol, "cycle", None)
        if self._is_websocket:
            phase = "websocket"
        elif cycle is None or (cycle.response_complete and not cycle.more_body):
            phase = "head"
        elif cycle.response_complete:
            phase = "answered"
        else:
            phase = "body" if cycle.more_body else "answer"
        if (phase, cycle) != self._phase:
            self._phase = (phase, cycle)
            self._since = self._clock()
            self._received = 0

    async def _secure(self, raw: asyncio.Transport, tls: ssl.SSLContext) -> None:
        """Make a TLS connection of it: here and not by asyncio, which tells of one only when its handshake is over."""
        if raw.is_closing():
            return
        try:
            secured = await asyncio.get_running_loop().start_tls(
                raw, self, tls, server_side=True, ssl_handshake_timeout=HEAD_SECONDS
            )
        except OSError:  # the ssl module's own errors and those of a lost connection are among them
            secured = None
        if secured is None:
            raw.abort()
            self._keeper.leave(self)
        else:
            self._open(secured)

    def _open(self, transport: asyncio.Transport) -> None:
        self._line = Line(transport, self._raw or transport, self._hand_over)
        self._since = self._clock()
        self._protocol.connection_made(self._line)  # type: ignore[arg-type]
        if early := self._early:
            self._early = b""
            self.data_received(early)

    def _hand_over(self, protocol: asyncio.Protocol) -> None:
        self._is_websocket = True
        self._protocol = protocol
