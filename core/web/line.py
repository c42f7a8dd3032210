"""The transport of one connection, which counts what goes out and lets a websocket take the place of HTTP."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

if sys.platform == "linux":
    import fcntl
    import termios

STALL_BYTES = 16 * 1024
STALL_SECONDS = 60.0
"""A peer must take so much of what is owed to it, or all, in that time."""


class Line:
    """What a protocol of uvicorn is given as its transport."""

    def __init__(self, transport: asyncio.Transport, raw: asyncio.Transport, replace: Callable[[Any], None]) -> None:
        """Stand between a protocol and its transport.

        Args:
            transport: what the protocol writes to.
            raw: the transport of the socket, another one under TLS.
            replace: told the protocol that takes the place of the one before.
        """
        self._transport = transport
        self._raw = raw
        self._replace = replace
        self._written = 0
        self._taken, self._owed, self._since = 0, 0, 0.0
        """At the last progress: bytes that the peer had taken, that were owed to it, and when it was."""
        self.reads = True
        """Whether what the peer sends is read, so that it is the peer who keeps it waiting."""

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
        """Bytes that were written and that the system has not even taken for the peer."""
        # A TLS transport that is closing no longer tells; asyncio gives it half a minute to end.
        tells = self._transport is not self._raw and not self._transport.is_closing()
        return self._raw.get_write_buffer_size() + (self._transport.get_write_buffer_size() if tells else 0)

    def owed(self) -> int:
        """Bytes that were written and that the peer has not taken, in this process and in the system."""
        return self.held_back() + _in_system(self._raw)

    def is_stalled(self, now: float) -> bool:
        """Whether the peer takes nothing, or next to nothing, of what is owed to it; asked again and again."""
        owed = self.owed()
        taken = self._written - owed
        if not owed or not self._since or taken - self._taken >= min(self._owed, STALL_BYTES):
            self._taken, self._owed, self._since = taken, owed, now
        return now - self._since > STALL_SECONDS


def _in_system(transport: asyncio.Transport) -> int:
    """Bytes in the system's buffer that the peer has not acknowledged; 0 where the system does not tell."""
    socket = transport.get_extra_info("socket")
    if sys.platform != "linux" or socket is None or socket.fileno() < 0:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0
