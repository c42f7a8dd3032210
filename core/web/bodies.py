"""How much a request may carry: refused by its declared length at once, and while it is read where it declares none."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.web.answers import answer, refuse

FORM_BYTES = 4096
"""Enough for a token and the address to go on to; no route of ours takes more."""

FRAME_BYTES = 64 * 1024
"""What a multipart upload may add to its file."""


class TooLargeError(Exception):
    """A body went on beyond its limit."""


class BodyLimit:
    """Bounds the body of every request."""

    def __init__(self, app: ASGIApp, upload_path: str, upload_bytes: int) -> None:
        """Args: app: what answers; upload_path: below it uploads are taken; upload_bytes: largest uploaded file."""
        self.app = app
        self.upload_path = upload_path
        self.upload_bytes = upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.upload_bytes + FRAME_BYTES if scope["path"].startswith(self.upload_path) else FORM_BYTES
        declared = Headers(scope=scope).get("content-length", "0")
        sentence = f"A request to this address may carry at most {limit:,} bytes."
        if not declared.isdecimal() or int(declared) > limit:
            await refuse(scope, receive, send, answer(scope, sentence, 413))
            return
        read, started = 0, False

        async def bounded_receive() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > limit:
                    raise TooLargeError
            return message

        async def noting_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, bounded_receive, noting_send)
        except TooLargeError:
            if started:
                raise
            await refuse(scope, receive, send, answer(scope, sentence, 413))
