"""What is checked of a request before anything reads it: its host, origin and machine, and its body's size and time."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


MAX_FORM_BYTES = 4096
"""Limit for everything but uploads: enough for a token and the URL to redirect to."""

FRAME_BYTES = 64 * 1024
"""Bytes that multipart encoding may add to an uploaded file."""

WAIT_SECONDS = 20.0
"""Seconds that a request may take to arrive, in addition to those of its body by ``MIN_RATE``."""

MIN_RATE = 1024
"""Minimum average rate of a body, in bytes per second."""

MAX_HELD = 512 * 2**20
"""Total bytes of all uploads in memory, including those in progress."""

FULL_OF_FILES = "The files uploaded to open pages use all the memory that is available for them: close some pages."

FULL_OF_REQUESTS = (
    "Other requests and uploaded files use all the memory that is available for them: send this request again later."
)

FILES_SECONDS, REQUESTS_SECONDS = 60, 5
"""Seconds after which it makes sense to try again: somebody has to close a page, or a body has to be read."""


@dataclass(frozen=True)
class Limits:
    """Sizes of request bodies."""

    upload_path: str
    """Prefix of paths that accept uploads."""
    upload_bytes: int
    """Maximum size of an uploaded file."""
    held: Callable[[], int] = lambda: 0
    """Returns the total bytes of uploads in memory; a file stays there until its page is closed."""
    larger: Mapping[str, int] = field(default_factory=dict)
    """Paths that accept more bytes than a form, and how many; they count as uploads while they are read."""


class BodyError(Exception):
    """A body was too large or too slow."""

    def __init__(self, status: int, sentence: str) -> None:
        """Args: status: HTTP status of the response; sentence: its text."""
        super().__init__(sentence)
        self.status = status


class BodyLimit:
    """Limits the body of every request, and the total memory of all uploads."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        """Args: app: the application; limits: sizes of bodies."""
        self.app = app
        self.limits = limits
        self.reserved = 0
        """Bytes reserved for uploads in progress."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, larger = scope["path"], self.limits.larger
        writes = scope["method"] in {"PUT", "POST"}
        is_upload = writes and (path.startswith(self.limits.upload_path) or path in larger)
        limit = larger.get(path, self.limits.upload_bytes + FRAME_BYTES) if is_upload else MAX_FORM_BYTES
        declared = Headers(scope=scope).get("content-length", "0")
        # Such long numbers are not lengths, and int() raises for some thousands of digits.
        if not declared.isdecimal() or len(declared) > 20 or int(declared) > limit:
            await answer(scope, _too_large(limit), 413)(scope, receive, send)
            return
        # A chunked body declares no length, so assume the maximum.
        size = limit if "transfer-encoding" in Headers(scope=scope) else int(declared)
        reserved = size if is_upload else 0
        if reserved and self.limits.held() + self.reserved + reserved > MAX_HELD:
            full, seconds = (FULL_OF_REQUESTS, REQUESTS_SECONDS) if path in larger else (FULL_OF_FILES, FILES_SECONDS)
            await answer(scope, full, 503, {"retry-after": f"{seconds}"})(scope, receive, send)
            return
        self.reserved += reserved
        try:
            await self._pass_on(scope, receive, send, limit)
        finally:
            self.reserved -= reserved

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        """Pass a request to the application, and abort it if its body exceeds the limit or takes too long."""
        read, arriving, started = 0, True, False
        due = asyncio.get_running_loop().time() + WAIT_SECONDS

        async def bounded_receive() -> Message:
            nonlocal read, arriving
            try:
                async with asyncio.timeout_at(due + read / MIN_RATE if arriving else None):
                    message = await receive()
            except TimeoutError:
                raise BodyError(408, "The request took too long to arrive; send it again.") from None
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                arriving = message.get("more_body", False)
                if read > limit:
                    raise BodyError(413, _too_large(limit))
            return message

        async def noting_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, bounded_receive, noting_send)
        except BodyError as error:
            if started:
                raise
            # Nobody waits for the rest of a slow body; that of a large one is skipped, so that its sender is told.
            headers = {"connection": "close"} if error.status == 408 else {}
            await answer(scope, str(error), error.status, headers)(scope, receive, send)
        except ClientDisconnect:
            pass  # in the middle of its body: nobody is left to answer, and the log should not report it


def _too_large(limit: int) -> str:
    return f"A request to this path may have at most {limit:,} bytes."
