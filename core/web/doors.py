"""From where a request may come: under which name, from which page, from which machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from core.web.answers import answer, refuse
from core.web.peers import NO_PROXIES, Proxies

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
"""Methods that change nothing, which a link on any page may use."""

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
"""Headers by which proxies say for whom they ask."""


def is_loopback(address: str | None) -> bool:
    """Whether only this machine can reach an address, or can have it.

    Args:
        address: an IP address or a name; where there is none, servers listen on all.
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
    """The name in a Host header, in lower case, without port and brackets; None where the header is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname, parts.port  # reading the port checks it
    except ValueError:
        return None
    if not name or parts.netloc != host or "@" in host:
        return None
    return name.rstrip(".")


def is_allowed(name: str, patterns: Sequence[str]) -> bool:
    """Whether a host name is one of the patterns: a name, ``*.name`` for all names below it, or ``*``."""
    for pattern in (pattern.strip().strip("[]").rstrip(".").lower() for pattern in patterns):
        if pattern in {"*", name} or (pattern.startswith("*.") and name.endswith(pattern[1:])):
            return True
    return False


class Hosts:
    """Answers only under the names of this server, so that no other name can be pointed here (DNS rebinding)."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        """Args: app: what answers; allowed: names, patterns as of :func:`is_allowed`."""
        self.app = app
        self.allowed = tuple(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            hosts = Headers(scope=scope).getlist("host")
            name = host_name(hosts[0]) if len(hosts) == 1 else None
            if name is None or not is_allowed(name, self.allowed):
                sentence = (
                    "This server does not answer to that name; if it is its name, add it to LORA_LAB_HOSTS"
                    " or to server.allowedHosts and start LoRA Lab again."
                )
                await refuse(scope, receive, send, answer(scope, sentence, 400))
                return
        await self.app(scope, receive, send)


class Origins:
    """Lets only this server's own pages open a websocket, change anything, or read anything beside following a link.

    Browsers count all ports of a host as one site, so a SameSite cookie does not tell them apart; the Origin does.
    A link, which names no origin, may come from anywhere; what else a browser fetches for a page of another site,
    as a picture or a script, it says so (https://www.w3.org/TR/fetch-metadata/).
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str] = ()) -> None:
        """Args: app: what answers; allowed: further origins, as in ``https://lab.example``."""
        self.app = app
        self.allowed = frozenset(origin.strip().rstrip("/").lower() for origin in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_foreign(scope):
            sentence = "This request comes from a page of another site; open LoRA Lab itself."
            await refuse(scope, receive, send, answer(scope, sentence, 403))
            return
        await self.app(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        if scope["type"] not in {"http", "websocket"}:
            return False
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        if not origins:  # browsers name it wherever more than reading is asked for; programs need not
            follows_link = scope.get("method") in SAFE_METHODS and headers.get("sec-fetch-mode") == "navigate"
            return not follows_link and headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
        origin = origins[0].lower()
        own = headers.get("host", "").lower()
        return len(origins) > 1 or (origin not in self.allowed and origin.partition("://")[2] != own)


class LocalOnly:
    """Lets in only programs of this machine: the door of a server without token and login.

    A proxy on this machine asks for others. What comes through one that was not named is refused, since nobody can say
    for whom it asks.
    """

    def __init__(self, app: ASGIApp, proxies: Proxies = NO_PROXIES) -> None:
        """Args: app: what answers; proxies: those whose word about the visitor has been taken already."""
        self.app = app
        self.proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and not self._is_local(scope):
            sentence = "Only the machine that LoRA Lab runs on may come in; set LORA_LAB_TOKEN there to let others in."
            await refuse(scope, receive, send, answer(scope, sentence, 403))
            return
        await self.app(scope, receive, send)

    def _is_local(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        forwarded = not self.proxies and any(name in headers for name in FORWARDED)
        return not forwarded and is_loopback((scope.get("client") or ("",))[0])


class LetIn:
    """Marks a request that has passed all doors, so that it is not closed in favour of those that have not."""

    MARK = "lora_lab.let_in"
    """In the scope of the request."""

    def __init__(self, app: ASGIApp) -> None:
        """Args: app: what answers."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[self.MARK] = True
        await self.app(scope, receive, send)
