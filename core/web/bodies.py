"""How much a request may carry: refused by its declared length at once, and while it is read where it declares none."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.web.answers import answer, refuse

FORM_BYTES = 4096
"""Enough for a token and the address to go on to; no route of ours takes more."""

FRAME_BYTES = 64 * 1024
"""What a multipart upload may add to its file."""

MAX_HELD = 512 * 2**20
"""Bytes of all uploads in memory, those on their way in included."""


class TooLargeError(Exception):
    """A body went on beyond its limit."""


class BodyLimit:
    """Bounds the body of every request, and what all uploads together take of the memory."""

    def __init__(
        self,
        app: ASGIApp,
        upload_path: str,
        upload_bytes: int,
        held: Callable[[], int] = lambda: 0,
    ) -> None:
        """Stand before an application.

        Args:
            app: what answers.
            upload_path: below it uploads are taken.
            upload_bytes: of the largest uploaded file.
            held: bytes of the uploads that are in memory; a file stays there until its page is closed.
        """
        self.app = app
        self.upload_path = upload_path
        self.upload_bytes = upload_bytes
        self.held = held
        self.reserved = 0
        """Bytes that uploads on their way in may still come to."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_upload = scope["path"].startswith(self.upload_path) and scope["method"] in {"PUT", "POST"}
        limit = self.upload_bytes + FRAME_BYTES if is_upload else FORM_BYTES
        declared = Headers(scope=scope).get("content-length", "0")
        # More digits than this are no length, and int() refuses some thousands of them.
        if not declared.isdecimal() or len(declared) > 20 or int(declared) > limit:
            await self._refuse_large(scope, receive, send, limit)
            return
        # A body in chunks declares nothing, so it may become the largest.
        takes = limit if "transfer-encoding" in Headers(scope=scope) else int(declared)
        reserves = takes if is_upload else 0
        if reserves and self.held() + self.reserved + reserves > MAX_HELD:
            full = "The files in the pages that are open here take all the memory there is for them: close some pages."
            await refuse(scope, receive, send, answer(scope, full, 503, {"retry-after": "60"}))
            return
        self.reserved += reserves
        try:
            await self._pass_on(scope, receive, send, limit)
        finally:
            self.reserved -= reserves

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        """Have a request answered, and end it where its body goes on beyond the limit."""
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
            await self._refuse_large(scope, receive, send, limit)
        except ClientDisconnect:
            pass  # in the middle of its body: there is nobody to answer, and nothing that the log should tell

    async def _refuse_large(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        sentence = f"A request to this address may carry at most {limit:,} bytes."
        await refuse(scope, receive, send, answer(scope, sentence, 413))
