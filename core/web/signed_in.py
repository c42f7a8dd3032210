"""Require a login with an OpenID Connect provider for routes that are not pages.

The pages require the login themselves, over the websocket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from core.web.answers import answer, refuse


class SignedIn:
    """Requires visitors to be signed in to download and upload files."""

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
        needs_login = scope["type"] == "http" and scope["path"].startswith(self.closed)
        if needs_login and not self.is_signed_in(HTTPConnection(scope).cookies):
            await refuse(scope, receive, send, answer(scope, "Sign in on the first page of LoRA Lab.", 401))
        else:
            await self.app(scope, receive, send)
