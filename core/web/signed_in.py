"""Require a login with an OpenID Connect provider for routes that are not pages.

The pages require the login themselves, over the websocket. Programs cannot sign in: where there is a token as well,
they send it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from core.web.answers import answer, refuse
from core.web.guard import Guard

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
            await refuse(scope, receive, send, answer(scope, SENTENCE, 401))
        else:
            await self.app(scope, receive, send)
