"""Behind a login: what a visitor gets only after signing in with an OpenID Connect provider.

The pages ask for the login themselves, over the websocket; the routes below are not pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from core.web.answers import answer, refuse


class SignedIn:
    """Lets only visitors who have signed in read and send files."""

    def __init__(self, app: ASGIApp, closed: Sequence[str], is_signed_in: Callable[[Mapping[str, str]], bool]) -> None:
        """Stand before an application.

        Args:
            app: what answers those who have signed in.
            closed: beginnings of paths that need the login.
            is_signed_in: judges a visitor by the cookies.
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
