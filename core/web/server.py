"""Limits on the connections of a uvicorn server, and the proxies that it trusts."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from core.web.request_checks import WAIT_SECONDS

if sys.platform != "win32":
    import resource

ANSWER_SECONDS = 1
"""Timeout for open responses when the server stops. By default, a stalled download would keep it alive forever."""

MAX_CONNECTIONS = 1024
"""Maximum number of connections; at the limit, uvicorn answers requests with the status 503."""

MAX_REFUSED = 64
"""Connections above the limit that may still wait for that answer; more are closed at once."""

ENOUGH = 8192
"""File descriptors that are always enough: an open page needs four, and training and the store need some."""

UNKNOWN_LIMIT = 512
"""Assumed limit of descriptors on Windows: that of select()."""

NOISE = {
    "Invalid HTTP request received.",
    "Unsupported upgrade request.",
    "ASGI callable returned without completing handshake.",
    '%s - "WebSocket %s" %d',
}
"""Messages of uvicorn about malformed requests and rejected websockets, with which anybody could fill the log."""


def limit(config: uvicorn.Config, proxies: Sequence[str]) -> None:
    """Limit a server's connections, and let only these proxies say for whom a request is.

    Args:
        config: of a server that does not listen yet.
        proxies: trusted networks; by default, uvicorn trusts all programs on this machine.
    """
    if not config.loaded:
        config.load()
    config.http_protocol_class = TimedProtocol
    config.limit_concurrency = min(MAX_CONNECTIONS, _raise_descriptors() // 2)
    config.timeout_graceful_shutdown = ANSWER_SECONDS
    app = config.loaded_app
    if isinstance(app, ProxyHeadersMiddleware):
        app = app.app
    config.loaded_app = ProxyHeadersMiddleware(app, list(proxies)) if proxies else app
    logging.getLogger("uvicorn.error").addFilter(_is_news)


class TimedProtocol(H11Protocol):
    """HTTP on one connection, which is closed if the client lets it stall.

    Uvicorn closes connections without a further request (``timeout_keep_alive``), and
    :class:`core.web.request_checks.BodyLimit` answers slow bodies. Missing is a limit for the first request, for heads
    that arrive byte by byte, and for clients that do not read: within ``WAIT_SECONDS`` a request must begin, or some of
    the response be read.
    """

    _look: asyncio.TimerHandle | None = None
    _seen: object = None
    """State of the connection at the last look."""
    _resumed = 0
    """How often the client has read enough for the application to go on writing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency + MAX_REFUSED:
            transport.abort()
        else:
            self._close_stalled()

    def resume_writing(self) -> None:
        self._resumed += 1
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._look is not None:
            self._look.cancel()

    def _close_stalled(self) -> None:
        """Close the connection if nothing has moved since the last look."""
        if self not in self.connections:  # it has become a websocket, which has pings
            return
        # A TLS transport that is closing does not tell, and asyncio gives it half a minute.
        tells = self.scheme == "http" or not self.transport.is_closing()
        unread = self.transport.get_write_buffer_size() if tells else 0
        awaits_request = self.cycle is None or self.cycle.response_complete
        state = (self.cycle, awaits_request, unread, self._resumed)
        if state == self._seen and (awaits_request or unread):
            self.transport.abort()
        else:
            self._seen = state
            self._look = self.loop.call_later(WAIT_SECONDS, self._close_stalled)


def _is_news(record: logging.LogRecord) -> bool:
    return record.msg not in NOISE


def _raise_descriptors() -> int:
    """The number of descriptors that the process may have, after raising it as far as needed and allowed."""
    if sys.platform == "win32":
        return UNKNOWN_LIMIT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH:
        return ENOUGH
    wish = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    with suppress(OSError, ValueError):  # macOS has another limit, which getrlimit does not report
        resource.setrlimit(resource.RLIMIT_NOFILE, (wish, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
