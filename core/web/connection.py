"""One connection to the server, with timeouts for a slow peer."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Callable
from typing import Any, Protocol

from core.web.request_origin import Authorized

if sys.platform == "linux":
    import fcntl
    import termios

STALL_BYTES = 16 * 1024
STALL_SECONDS = 60.0
"""A peer must receive at least this many pending bytes, or all of them, in this time."""


class WatchedTransport:
    """The transport for uvicorn's protocols."""

    def __init__(self, transport: asyncio.Transport, raw: asyncio.Transport, replace: Callable[[Any], None]) -> None:
        """Wrap a transport.

        Args:
            transport: the transport to write to.
            raw: the transport of the socket; a different one with TLS.
            replace: called with the protocol that replaces the current one.
        """
        self._transport = transport
        self._raw = raw
        self._replace = replace
        self._written = 0
        self._taken, self._owed, self._since = 0, 0, 0.0
        """State at the last progress: bytes that the peer had received, bytes that were pending, and the time."""
        self.reads = True
        """Whether reading from the peer is not paused."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._replace(protocol)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._written += len(data)
        self._transport.write(data)

    def pause_reading(self) -> None:
        self.reads = False
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self.reads = True
        self._transport.resume_reading()

    def held_back(self) -> int:
        """Bytes that were written and are still buffered in this process."""
        # A TLS transport that is closing no longer reports this; asyncio gives it half a minute to end.
        tells = self._transport is not self._raw and not self._transport.is_closing()
        return self._raw.get_write_buffer_size() + (self._transport.get_write_buffer_size() if tells else 0)

    def owed(self) -> int:
        """Bytes that were written and that the peer has not received, in this process and in the system."""
        return self.held_back() + _in_system(self._raw)

    def is_stalled(self, now: float) -> bool:
        """Whether the peer receives too little of the pending bytes; to be called repeatedly."""
        owed = self.owed()
        taken = self._written - owed
        if not owed or not self._since or taken - self._taken >= min(self._owed, STALL_BYTES):
            self._taken, self._owed, self._since = taken, owed, now
        return now - self._since > STALL_SECONDS


def _in_system(transport: asyncio.Transport) -> int:
    """Bytes in the system's buffer that the peer has not acknowledged; 0 if unknown."""
    socket = transport.get_extra_info("socket")
    if sys.platform != "linux" or socket is None or socket.fileno() < 0:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


HEAD_SECONDS = 10.0
"""Timeout for the head of a request, from its first byte or from the opening of the connection; also for a TLS
handshake, and for the rest of a body after the response."""

MAX_HEAD = 64 * 1024
"""Maximum bytes of a request's head."""

BODY_GRACE = 20.0
"""Seconds before ``MIN_BODY_RATE`` applies."""

MIN_BODY_RATE = 1024.0
"""Minimum average rate of a body, in bytes per second."""


class Keeper(Protocol):
    """Keeps track of connections."""

    def enter(self, connection: Connection, address: str | None) -> bool: ...

    def leave(self, connection: Connection) -> None: ...

    def drop_slow(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """Sits between a socket and uvicorn's protocol for it, which is HTTP and may become a websocket.

    It needs the attribute ``cycle`` of an HTTP protocol, the current request, with ``scope``, ``more_body`` and
    ``response_complete``; uvicorn's protocols on h11 and on httptools have it.
    """

    def __init__(
        self, protocol: asyncio.Protocol, keeper: Keeper, tls: ssl.SSLContext | None, clock: Callable[[], float]
    ) -> None:
        """Create a connection that is not open yet.

        Args:
            protocol: the HTTP protocol.
            keeper: notified when the connection opens and closes.
            tls: for a TLS handshake, if any.
            clock: returns the time in seconds.
        """
        self._protocol = protocol
        self._keeper = keeper
        self._tls = tls
        self._clock = clock
        self._raw: asyncio.Transport | None = None
        self._transport: WatchedTransport | None = None
        self._early = b""
        self._securing: asyncio.Task[None] | None = None
        self._is_websocket = False
        self._phase: tuple[str, Any] = ("head", None)
        self._since = clock()
        self._received = 0

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = transport  # type: ignore[assignment]
        if not self._keeper.enter(self, (transport.get_extra_info("peername") or (None,))[0]):
            self.abort()
        elif self._tls is None:
            self._open(self._raw)  # type: ignore[arg-type]
        else:
            self._securing = asyncio.ensure_future(self._secure(self._raw, self._tls))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        if self._transport is None:  # arrived together with the end of the handshake
            self._early += data
            return
        self._received += len(data)
        self._protocol.data_received(data)
        self._look()
        if self._phase[0] == "head" and self._received > MAX_HEAD:
            self._keeper.drop_slow(self)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received() if self._transport is not None else None

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._keeper.leave(self)
        if self._transport is not None:
            self._protocol.connection_lost(exc)

    # Called by the keeper

    def abort(self) -> None:
        """Close the connection immediately."""
        if self._raw is not None:
            self._raw.abort()

    @property
    def waits(self) -> bool:
        """Whether it can be closed in favour of another: no authorized request is being processed."""
        if self._transport is None:
            return True
        if self._is_websocket:
            return False
        cycle = getattr(self._protocol, "cycle", None)
        if cycle is None or not cycle.scope.get(Authorized.MARK):
            return True
        return bool(cycle.response_complete) and not self._transport.held_back()

    def is_overdue(self) -> bool:
        """Whether it exceeded a timeout; to be called about once per second."""
        now = self._clock()
        if self._transport is None:
            return now - self._since > HEAD_SECONDS
        if self._transport.is_stalled(now):
            return True
        self._look()
        phase, _ = self._phase
        if phase == "body":
            if not self._transport.reads:  # the application is slow, not the peer
                self._since, self._received = now, 0
            return self._received < MIN_BODY_RATE * (now - self._since - BODY_GRACE)
        if phase in {"head", "answered"} and self._transport.owed():
            self._since = now  # the peer is still reading the previous response
        return phase in {"head", "answered"} and now - self._since > HEAD_SECONDS

    def _look(self) -> None:
        """Update the phase of the connection and the time of its start."""
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
        """Do the TLS handshake here, because asyncio would report the connection only after it."""
        if raw.is_closing():
            return
        try:
            secured = await asyncio.get_running_loop().start_tls(
                raw, self, tls, server_side=True, ssl_handshake_timeout=HEAD_SECONDS
            )
        except OSError:  # includes errors of the ssl module and lost connections
            secured = None
        if secured is None:
            raw.abort()
            self._keeper.leave(self)
        else:
            self._open(secured)

    def _open(self, transport: asyncio.Transport) -> None:
        self._transport = WatchedTransport(transport, self._raw or transport, self._hand_over)
        self._since = self._clock()
        self._protocol.connection_made(self._transport)  # type: ignore[arg-type]
        if early := self._early:
            self._early = b""
            self.data_received(early)

    def _hand_over(self, protocol: asyncio.Protocol) -> None:
        self._is_websocket = True
        self._protocol = protocol
