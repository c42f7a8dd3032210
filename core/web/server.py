"""A uvicorn server that limits its connections, and trusts the forwarding headers of named proxies only."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
import uvicorn.middleware.proxy_headers

from core.web.connections import Connections
from core.web.descriptors import Descriptors
from core.web.peers import NO_PROXIES, Proxies

ANSWER_SECONDS = 1
"""Timeout for open responses when the server stops."""


def trust(proxies: Proxies, server: uvicorn.Server) -> None:
    """Make a server trust the forwarding headers of these proxies only.

    By default, uvicorn trusts those of all programs on this machine.
    """
    middleware = uvicorn.middleware.proxy_headers.ProxyHeadersMiddleware
    inner = server.config.loaded_app
    if isinstance(inner, middleware):
        inner = inner.app
    server.config.loaded_app = middleware(inner, proxies.spellings()) if proxies else inner


@asynccontextmanager
async def limited(server: uvicorn.Server, proxies: Proxies) -> AsyncIterator[None]:
    """Limit the connections of a server; to be entered before it listens, with its configuration loaded.

    Args:
        server: the server.
        proxies: trusted proxies.
    """
    # By default it waits for open responses forever, and a stalled download would keep it alive.
    server.config.timeout_graceful_shutdown = ANSWER_SECONDS
    trust(proxies, server)
    connections = Connections(Descriptors().room, proxies)
    connections.guard(server)
    watching = asyncio.create_task(connections.watch(server))
    try:
        yield
    finally:
        watching.cancel()


class LimitedServer(uvicorn.Server):
    """A server that limits its connections from its start."""

    def __init__(self, config: uvicorn.Config, proxies: Proxies = NO_PROXIES) -> None:
        """Args: config: of uvicorn; proxies: trusted proxies."""
        super().__init__(config)
        self._proxies = proxies

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal ends it. Args: sockets: that listen already, as in uvicorn."""
        if not self.config.loaded:
            self.config.load()
        async with limited(self, self._proxies):
            await super().serve(sockets)
