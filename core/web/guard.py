"""The token at the door: shown once in a link, a form or a header, and then kept by the browser as a cookie."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping
from html import escape
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from core.web.answers import answer, page, refuse, wants_page
from core.web.attempts import Attempts

KEY_ROUNDS = 200_000
"""Work to make the cookie of a token, so that a stolen cookie does not give a short token away."""

FORM = """<form method="post" action="{action}">
<input type="hidden" name="next" value="{next}">
<label>Token <input type="password" name="token" autocomplete="current-password" required autofocus></label>
<button>Open</button>
</form>
<p><a href="{next}">Go on without it</a> if this browser has shown it before.</p>
"""
"""The link serves who comes by a link of another site: the strict cookie stays at home the first time."""


class Key:
    """A token, and the cookie that stands for it."""

    def __init__(self, token: str, port: int | None = None) -> None:
        """Args: token: what visitors have to show; port: tells the cookies of two servers on one host apart."""
        self._token = token.encode()
        self.name = f"lora_lab_{port}" if port else "lora_lab"
        self.cookie = hashlib.pbkdf2_hmac("sha256", self._token, b"lora-lab cookie", KEY_ROUNDS).hex()

    def is_token(self, text: str) -> bool:
        """Whether somebody has shown the token."""
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self._token)

    def is_cookie(self, text: str) -> bool:
        """Whether a browser has shown its cookie."""
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self.cookie.encode())

    def hand_over(self, response: Response, secure: bool, path: str) -> Response:
        """Give the browser the cookie: out of reach of scripts, and of requests that other sites begin."""
        response.set_cookie(self.name, self.cookie, httponly=True, samesite="strict", secure=secure, path=path)
        response.headers["cache-control"] = "no-store"
        return response


class Guard:
    """Lets in who has the token; pages, assets, websocket, uploads, media and downloads alike."""

    def __init__(
        self,
        app: ASGIApp,
        key: Key,
        base: str = "",
        open_paths: frozenset[str] = frozenset(),
        attempts: Attempts | None = None,
    ) -> None:
        """Stand before an application.

        Args:
            app: what answers those who are let in.
            key: the token.
            base: path under which the application is served, without a slash at its end.
            open_paths: what anybody may read, as a probe of a container does.
            attempts: counts wrong tries.
        """
        self.app = app
        self.key = key
        self.base = base
        self.entrance = f"{base}/access"
        self.open_paths = open_paths
        self.attempts = Attempts() if attempts is None else attempts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        response = await self._answer(scope, receive)
        if response is None:
            await self.app(scope, receive, send)
        else:
            await refuse(scope, receive, send, response)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """What to say instead of what was asked for; None for who may have it."""
        visitor = HTTPConnection(scope)
        method = scope["method"] if scope["type"] == "http" else None
        reads = method in {"GET", "HEAD"}
        if reads and scope["path"] in self.open_paths:
            return None
        cookie = visitor.cookies.get(self.key.name)
        known = cookie is not None and self.key.is_cookie(cookie)
        wrong = int(cookie is not None and not known)
        """Credentials of this request that are not right; a right one beside them is let in all the same."""
        if reads and "token" in visitor.query_params:
            token, target = visitor.query_params["token"], _without_token(scope)
            if known or self.key.is_token(token):
                return self._enter(scope, target)
            return self._refuse(scope, wrong + 1, target)
        if method == "POST" and scope["path"] == self.entrance:
            fields = dict(parse_qsl((await Request(scope, receive).body()).decode("utf-8", "replace")))
            target = self._own(fields.get("next", ""))
            if known or self.key.is_token(fields.get("token", "")):
                return self._enter(scope, target)
            return self._refuse(scope, wrong + 1, target)
        if known:
            return None
        kind, _, bearer = visitor.headers.get("authorization", "").partition(" ")
        if method and kind.lower() == "bearer":
            return None if self.key.is_token(bearer.strip()) else self._refuse(scope, wrong + 1)
        if wrong:
            return self._refuse(scope, wrong)
        if reads and _from_elsewhere(scope):
            return _again(_without_token(scope))
        return self._ask(scope, "This server asks for its token.", 401)

    def _enter(self, scope: Scope, target: str) -> Response:
        """Open the door for good to who has shown the token, and lead on to where the visitor wanted to go."""
        # A link that another site shows brings no strict cookie to where it redirects: that page begins again itself.
        # Without TLS browsers do not say where a link stands, so it may always be another site's.
        unknown = scope["method"] == "GET" and wants_page(scope) and "sec-fetch-site" not in Headers(scope=scope)
        response = _again(target) if unknown or _from_elsewhere(scope) else RedirectResponse(target, 303)
        return self.key.hand_over(response, scope.get("scheme") == "https", self.base or "/")

    def _refuse(self, scope: Scope, wrong: int, target: str | None = None) -> Response:
        """The answer to wrong credentials, which are counted; the form stands below it, for the right token."""
        wait = math.ceil(self.attempts.wrong((scope.get("client") or ("",))[0], wrong))
        if not wait:
            return self._ask(scope, "That is not the token.", 401, target)
        sentence = f"Too many wrong tokens; the right one is let in at any time, another try counts in {wait} seconds."
        return self._ask(scope, sentence, 429, target, {"retry-after": str(wait)})

    def _ask(
        self,
        scope: Scope,
        sentence: str,
        status: int,
        target: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Ask for the token: a person by a form, a program by a sentence."""
        headers = {"www-authenticate": 'Bearer realm="LoRA Lab"', **(headers or {})}
        if not wants_page(scope):
            return answer(scope, f"{sentence} Send it in a header: Authorization: Bearer TOKEN.", status, headers)
        sentence += " Open the link that LoRA Lab printed when it started, or enter the token here."
        form = FORM.format(action=escape(self.entrance), next=escape(target or _without_token(scope)))
        return page(sentence, status, form, headers=headers)

    def _own(self, target: str) -> str:
        """A path of this server: a form must not send its visitor elsewhere."""
        inside = target.startswith(f"{self.base}/") and not target.startswith("//")
        return target if inside and "\\" not in target and target.isprintable() else f"{self.base}/"


def _from_elsewhere(scope: Scope) -> bool:
    """Whether a link on another site has begun this request for a page, so that it brings no strict cookie."""
    headers = Headers(scope=scope)
    return headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-dest") == "document"


def _without_token(scope: Scope) -> str:
    """The address that was asked for, as it was written, without the token; never one that names another server."""
    path = "/" + (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").lstrip("/\\")
    fields = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    rest = urlencode([(name, value) for name, value in fields if name != "token"])
    return f"{path}?{rest}" if rest else path


def _again(target: str) -> Response:
    """A page that asks for an address once more, now from this site, so that the strict cookie comes along."""
    head = f'<meta http-equiv="refresh" content="0; url={escape(target)}">\n'
    return page("One moment.", 200, f'<p><a href="{escape(target)}">Go on</a></p>\n', head)
