"""Middleware that checks where a request comes from: its host name, its origin, and its machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from core.web.answers import answer

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
"""Methods that change nothing, so that links on any page may use them."""

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
"""Headers in which proxies name the original client."""


def is_loopback(address: str | None) -> bool:
    """Whether an address is one of the loopback interface.

    Args:
        address: an IP address or a name; empty means all addresses, as for servers.
    """
    if not address:
        return False
    if address.lower() == "localhost":
        return True
    try:
        ip = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def host_name(host: str) -> str | None:
    """The name in a Host header, in lower case, without port and brackets; None if the header is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname, parts.port  # accessing the port validates it
    except ValueError:
        return None
    if not name or parts.netloc != host or "@" in host:
        return None
    return name.rstrip(".")


def is_allowed(name: str, patterns: Sequence[str]) -> bool:
    """Whether a host name matches one of the patterns: a name, ``*.name`` for its subdomains, or ``*``."""
    for pattern in (pattern.strip().strip("[]").rstrip(".").lower() for pattern in patterns):
        if pattern in {"*", name} or (pattern.startswith("*.") and name.endswith(pattern[1:])):
            return True
    return False


class Hosts:
    """Refuses requests with other host names than the server's, against DNS rebinding."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        """Args: app: the application; allowed: patterns as in :func:`is_allowed`."""
        self.app = app
        self.allowed = tuple(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            hosts = Headers(scope=scope).getlist("host")
            name = host_name(hosts[0]) if len(hosts) == 1 else None
            if name is None or not is_allowed(name, self.allowed):
                sentence = (
                    "This server does not answer to that host name; if the name is correct, add it to LORA_LAB_HOSTS"
                    " or to server.allowedHosts and restart LoRA Lab."
                )
                await answer(scope, sentence, 400)(scope, receive, send)
                return
        await self.app(scope, receive, send)


class Origins:
    """Refuses requests from pages of other sites, except for following a link.

    Browsers treat all ports of a host as one site, so a SameSite cookie does not distinguish them; the Origin header
    does. Following a link sends no Origin and is allowed from anywhere; for other requests without one, such as images
    and scripts, the Sec-Fetch headers tell (https://www.w3.org/TR/fetch-metadata/).
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str] = ()) -> None:
        """Args: app: the application; allowed: further origins, such as ``https://lab.example``."""
        self.app = app
        self.allowed = frozenset(origin.strip().rstrip("/").lower() for origin in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_foreign(scope):
            sentence = "This request comes from a page of another site; open LoRA Lab itself."
            await answer(scope, sentence, 403)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        if scope["type"] not in {"http", "websocket"}:
            return False
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        if not origins:  # browsers send it with every request that does more than read; programs may omit it
            follows_link = scope.get("method") in SAFE_METHODS and headers.get("sec-fetch-mode") == "navigate"
            return not follows_link and headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
        origin = origins[0].lower()
        own = headers.get("host", "").lower()
        return len(origins) > 1 or (origin not in self.allowed and origin.partition("://")[2] != own)


class LocalOnly:
    """Refuses requests from other machines, for a server without token and login.

    Requests through a local proxy may come from other machines, so they are refused unless the proxy is trusted and
    says in ``X-Forwarded-For`` that the client is on this machine.
    """

    def __init__(self, app: ASGIApp, has_proxies: bool = False) -> None:
        """Args: app: the application; has_proxies: whether a trusted proxy may have told the client's address."""
        self.app = app
        self.has_proxies = has_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and not self._is_local(scope):
            sentence = "Only the machine that LoRA Lab runs on has access; set LORA_LAB_TOKEN there to allow others."
            await answer(scope, sentence, 403)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_local(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        host, port = scope.get("client") or ("", 0)
        # Where uvicorn has taken the client from a trusted proxy's header, its port is 0; a socket's never is.
        applied = self.has_proxies and "x-forwarded-for" in headers and not port
        forwarded = not applied and any(name in headers for name in FORWARDED)
        return not forwarded and is_loopback(host)
