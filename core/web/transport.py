"""A transport that counts outgoing bytes, detects stalled peers, and lets a websocket protocol replace HTTP."""

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
