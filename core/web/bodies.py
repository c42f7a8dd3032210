"""How much a request may carry: refused by its declared length at once, and while it is read where it declares none."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.web.answers import answer, refuse

FORM_BYTES = 4096
"""Enough for a token and the address to go on to; no route of ours takes more."""

FRAME_BYTES = 64 * 1024
"""What a multipart upload may add to its file."""


MOST_HELD = 512 * 2**20
"""Bytes of all uploads in memory."""


class TooLargeError(Exception):
    """A body went on beyond its limit."""


class BodyLimit:
    """Bounds the body of every request, and what all uploads together take of the memory."""

    def __init__(
        self, app: ASGIApp, upload_path: str, upload_bytes: int, held: Callable[[], int] = lambda: 0,
    ) -> None:  # fmt: skip
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
        self.arriving = 0
        """Bytes of uploads that are on their way in."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_upload = scope["path"].startswith(self.upload_path) and scope["method"] != "DELETE"
        limit = self.upload_bytes + FRAME_BYTES if is_upload else FORM_BYTES
        declared = Headers(scope=scope).get("content-length", "0")
        sentence = f"A request to this address may carry at most {limit:,} bytes."
        if not declared.isdecimal() or int(declared) > limit:
            await refuse(scope, receive, send, answer(scope, sentence, 413))
            return
        if is_upload and self.held() + self.arriving + int(declared) > MOST_HELD:
            full = "The files in the pages that are open here take all the memory there is for them: close some pages."
            await refuse(scope, receive, send, answer(scope, full, 503, {"retry-after": "60"}))
            return
        read, started = 0, False

        async def bounded_receive() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                size = len(message.get("body", b""))
                read += size
                self.arriving += size if is_upload else 0
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
        finally:
            self.arriving -= read if is_upload else 0
