"""Access control: local programs only, or visitors with a token in a link, a form or a header, and then by a cookie; or
with a login at a provider.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import AccessError
from core.web.answers import answer, page, wants_page
from core.web.request_checks import is_loopback

TOKEN_BYTES = 32
"""Random bytes of a generated token."""

TOKEN_LENGTHS = range(12, 257)
"""Allowed lengths of a token from the environment; it must fit into a form."""

ALL_ADDRESSES = {"0.0.0.0", "::"}  # noqa: S104 - to recognize them, not to bind to them


@dataclass(frozen=True)
class Access:
    """Access settings of a server."""

    address: str
    """Address to listen on; empty for all."""

    token: str | None
    """Token required from visitors; None if none is."""

    made: bool
    """Whether the token was generated at this start."""

    login: bool
    """Whether visitors sign in with an OpenID Connect provider."""

    hosts: tuple[str, ...]
    """Accepted host names."""

    proxies: tuple[str, ...] = ()
    """Networks of proxies whose information about a visitor's address is trusted."""

    @classmethod
    def decide(
        cls, address: str | None, environment: Mapping[str, str], hosts: Sequence[str] = (), login: bool = False
    ) -> Access:
        """Determine the settings; without token or login, only this machine has access.

        Args:
            address: address that the server will listen on.
            environment: may contain ``LORA_LAB_TOKEN``, ``LORA_LAB_HOSTS`` (comma-separated names) and
                ``LORA_LAB_PROXIES``.
            hosts: further accepted host names.
            login: whether an OpenID Connect provider is configured.

        Raises:
            AccessError: the token is too short, too long, or not printable ASCII; or a proxy is invalid.
        """
        token = environment.get("LORA_LAB_TOKEN") or None
        if token is not None and (len(token) not in TOKEN_LENGTHS or not token.isascii() or not token.isprintable()):
            raise AccessError(
                f"LORA_LAB_TOKEN must have {TOKEN_LENGTHS.start} to {TOKEN_LENGTHS.stop - 1} printable ASCII"
                " characters, best random ones; leave it unset to have one generated."
            )
        beyond = not is_loopback(address)
        made = token is None and beyond and not login
        names = [*hosts, *environment.get("LORA_LAB_HOSTS", "").split(","), *reachable_names(address or "")]
        return cls(
            address=address or "",
            token=secrets.token_urlsafe(TOKEN_BYTES) if made else token,
            made=made,
            login=login,
            hosts=tuple(dict.fromkeys(filter(None, (name.strip().strip("[]").lower() for name in names)))),
            proxies=trusted_proxies(environment.get("LORA_LAB_PROXIES", "")),
        )

    @property
    def is_open(self) -> bool:
        """Whether neither token nor login is required, so that only this machine may reach the server."""
        return self.token is None and not self.login

    def check_address(self, address: str | None) -> None:
        """Check the address that the server actually listens on, which another launcher may have chosen.

        Raises:
            AccessError: neither token nor login is required, and other machines can reach the address.
        """
        if self.is_open and not is_loopback(address):
            raise AccessError(
                f"LoRA Lab does not listen on {address or 'all addresses'} without a token: set LORA_LAB_TOKEN,"
                " or start it with `streamlit run app.py --server.address ADDRESS`, which generates one."
            )

    def announcement(self, scheme: str, port: int, base: str = "") -> str:
        """The text for the terminal at start: the URLs to open, including the token if it was generated."""
        query = f"/?token={quote(self.token, safe='')}" if self.token and self.made else ""
        names = ["localhost"] if is_loopback(self.address) else reachable_names(self.address)
        lines = ["LoRA Lab is at", *(f"  {scheme}://{_in_url(name)}:{port}{base}{query}" for name in names)]
        if self.made:
            lines.append("Anyone with this URL can use this server. Set LORA_LAB_TOKEN to use a permanent token.")
        elif self.token:
            lines.append("It requires the token in LORA_LAB_TOKEN.")
        if self.login:
            lines.append("Visitors sign in with the provider in .streamlit/secrets.toml.")
        if not is_loopback(self.address) and scheme == "http":
            lines.append(
                "Connections are not encrypted: outside of a trusted network, put a proxy with TLS in front of it."
            )
        return "\n".join(lines)


def trusted_proxies(listed: str) -> tuple[str, ...]:
    """Networks in a comma-separated list; IPv4 ones also as IPv6-mapped, as a dual-stack socket reports them.

    Raises:
        AccessError: an entry is neither an address nor a network.
    """
    found = []
    for part in filter(None, (part.strip() for part in listed.split(","))):
        try:
            network = ipaddress.ip_network(part)
        except ValueError as error:
            raise AccessError(
                "LORA_LAB_PROXIES must be a comma-separated list of addresses or networks, such as"
                f" 127.0.0.1,10.0.0.0/8; {part[:60]!r} is neither."
            ) from error
        found.append(str(network))
        if network.version == 4:
            found.append(f"::ffff:{network.network_address}/{96 + network.prefixlen}")
    return tuple(found)


def reachable_names(address: str) -> list[str]:
    """Host names for URLs of a server that listens on an address, the most local first."""
    if address and address not in ALL_ADDRESSES:
        return [address]
    own = _network_address()
    return ["localhost", *([own] if own else [])]


def _network_address() -> str | None:
    """Address of this machine in its network; None if it has none. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation: this only looks up the route
            return str(probe.getsockname()[0])
        except OSError:
            return None


def _in_url(name: str) -> str:
    return f"[{name}]" if ":" in name else name


KEY_ROUNDS = 200_000
"""PBKDF2 iterations from token to cookie, so that a stolen cookie does not reveal a short token."""

FORM = """<form method="post" action="{action}">
<input type="hidden" name="next" value="{next}">
<label>Token <input type="password" name="token" autocomplete="current-password" required autofocus></label>
<button>Open</button>
</form>
<p><a href="{next}">Continue without it</a> if this browser has sent it before.</p>
"""
"""The login form. Its link is for visitors from another site, whose browser omits the strict cookie the first time."""


class Key:
    """A token and the cookie derived from it."""

    def __init__(self, token: str, port: int | None = None) -> None:
        """Args: token: the token; port: distinguishes the cookies of several servers on one host."""
        self._token = token.encode()
        self.name = f"lora_lab_{port}" if port else "lora_lab"
        self.cookie = hashlib.pbkdf2_hmac("sha256", self._token, b"lora-lab cookie", KEY_ROUNDS).hex()

    def is_token(self, text: str) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self._token)

    def is_cookie(self, text: str) -> bool:
        """Whether this is the value of the cookie."""
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self.cookie.encode())

    def set_cookie(self, response: Response, secure: bool, path: str) -> Response:
        """Set the cookie, inaccessible to scripts and omitted from requests that other sites initiate."""
        response.set_cookie(self.name, self.cookie, httponly=True, samesite="strict", secure=secure, path=path)
        response.headers["cache-control"] = "no-store"
        return response


WRONG = "That is not the token."


class Guard:
    """Requires the token for pages, assets, websockets, uploads, media and downloads."""

    PROGRAM = "lora_lab.program"
    """Key in the scope of a request that had the token in its header, as programs send it; no client can set it."""

    def __init__(
        self,
        app: ASGIApp,
        key: Key,
        base: str = "",
        open_paths: frozenset[str] = frozenset(),
    ) -> None:
        """Wrap an application.

        Args:
            app: the application.
            key: the token.
            base: path under which the application is served, without a trailing slash.
            open_paths: paths that anyone may read, such as for a container's health check.
        """
        self.app = app
        self.key = key
        self.base = base
        self.entrance = f"{base}/access"
        self.open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        response = await self._answer(scope, receive)
        if response is None:
            await self.app(scope, receive, send)
        else:
            await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """The response instead of the requested one; None if the request is authorized."""
        visitor = HTTPConnection(scope)
        method = scope["method"] if scope["type"] == "http" else None
        reads = method in {"GET", "HEAD"}
        if reads and scope["path"] in self.open_paths:
            return None
        cookie = visitor.cookies.get(self.key.name)
        known = cookie is not None and self.key.is_cookie(cookie)
        if reads and "token" in visitor.query_params:
            token, target = visitor.query_params["token"], _without_token(scope)
            if known or self.key.is_token(token):
                return self._enter(scope, target)
            return self._ask(scope, WRONG, target)
        if method == "POST" and scope["path"] == self.entrance:
            fields = dict(parse_qsl((await Request(scope, receive).body()).decode("utf-8", "replace")))
            target = self._local(fields.get("next", ""))
            if known or self.key.is_token(fields.get("token", "")):
                return self._enter(scope, target)
            return self._ask(scope, WRONG, target)
        kind, _, bearer = visitor.headers.get("authorization", "").partition(" ")
        has_bearer = method is not None and kind.lower() == "bearer"
        scope[self.PROGRAM] = has_bearer and self.key.is_token(bearer.strip())
        if known or scope[self.PROGRAM]:
            return None
        if has_bearer or cookie is not None:
            return self._ask(scope, WRONG)
        if reads and _is_cross_site(scope):
            return _reload(_without_token(scope))
        return self._ask(scope, "This server requires its token.")

    def _enter(self, scope: Scope, target: str) -> Response:
        """Set the cookie and redirect to the requested page."""
        # An HTTP redirect after a link on another site would not send the strict cookie, so let the page reload.
        # Without TLS, browsers do not say where a link was, so assume another site.
        unknown = scope["method"] == "GET" and wants_page(scope) and "sec-fetch-site" not in Headers(scope=scope)
        response = _reload(target) if unknown or _is_cross_site(scope) else RedirectResponse(target, 303)
        return self.key.set_cookie(response, scope.get("scheme") == "https", self.base or "/")

    def _ask(self, scope: Scope, sentence: str, target: str | None = None) -> Response:
        """Ask for the token, with a form for browsers and a sentence for programs."""
        headers = {"www-authenticate": 'Bearer realm="LoRA Lab"'}
        if not wants_page(scope):
            return answer(scope, f"{sentence} Send it in a header: Authorization: Bearer TOKEN.", 401, headers)
        sentence += " Open the link that LoRA Lab printed when it started, or enter the token here."
        form = FORM.format(action=escape(self.entrance), next=escape(target or _without_token(scope)))
        return page(sentence, 401, form, headers=headers)

    def _local(self, target: str) -> str:
        """Return the target if it is a path of this server, else the base path, against open redirects."""
        inside = target.startswith(f"{self.base}/") and not target.startswith("//")
        return target if inside and "\\" not in target and target.isprintable() else f"{self.base}/"


def _is_cross_site(scope: Scope) -> bool:
    """Whether this request for a page comes from a link on another site, so that it has no strict cookie."""
    headers = Headers(scope=scope)
    return headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-dest") == "document"


def _without_token(scope: Scope) -> str:
    """The requested path and query without the token; never a URL of another server."""
    path = "/" + (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").lstrip("/\\")
    fields = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    rest = urlencode([(name, value) for name, value in fields if name != "token"])
    return f"{path}?{rest}" if rest else path


def _reload(target: str) -> Response:
    """A page that requests the target again, now from this site, so that the strict cookie is sent."""
    head = f'<meta http-equiv="refresh" content="0; url={escape(target)}">\n'
    return page("One moment.", 200, f'<p><a href="{escape(target)}">Continue</a></p>\n', head)


SENTENCE = "Sign in on the first page of LoRA Lab; programs need the server's token, which LORA_LAB_TOKEN sets."


class SignedIn:
    """Requires visitors to be signed in for downloads, uploads, the API and the health of the workers.

    Requests that the guard has found to have the token in their header need no login. Without a token there is no
    guard, and all need it.
    """

    def __init__(self, app: ASGIApp, closed: Sequence[str], is_signed_in: Callable[[Mapping[str, str]], bool]) -> None:
        """Wrap an application.

        Args:
            app: the application.
            closed: prefixes of paths that require the login.
            is_signed_in: decides by a visitor's cookies.
        """
        self.app = app
        self.closed = tuple(closed)
        self.is_signed_in = is_signed_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_closed = scope["type"] == "http" and scope["path"].startswith(self.closed)
        needs_login = is_closed and scope.get(Guard.PROGRAM) is not True
        if needs_login and not self.is_signed_in(HTTPConnection(scope).cookies):
            await answer(scope, SENTENCE, 401)(scope, receive, send)
        else:
            await self.app(scope, receive, send)
