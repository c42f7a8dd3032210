"""Limits on request bodies, enforced by the declared length and while the body is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.web.answers import answer, refuse

MAX_FORM_BYTES = 4096
"""Limit for everything but uploads: enough for a token and the URL to redirect to."""

FRAME_BYTES = 64 * 1024
"""Bytes that multipart encoding may add to an uploaded file."""

MAX_HELD = 512 * 2**20
"""Total bytes of all uploads in memory, including those in progress."""

FULL_OF_FILES = "The files uploaded to open pages use all the memory that is available for them: close some pages."

FULL_OF_REQUESTS = (
    "Other requests and uploaded files use all the memory that is available for them: send this request again later."
)

FILES_SECONDS, REQUESTS_SECONDS = 60, 5
"""Seconds after which it makes sense to try again: somebody has to close a page, or a body has to be read."""


class TooLargeError(Exception):
    """A body exceeded its limit."""


class BodyLimit:
    """Limits the body of every request, and the total memory of all uploads."""

    def __init__(
        self,
        app: ASGIApp,
        upload_path: str,
        upload_bytes: int,
        held: Callable[[], int] = lambda: 0,
        larger: Mapping[str, int] | None = None,
    ) -> None:
        """Wrap an application.

        Args:
            app: the application.
            upload_path: prefix of paths that accept uploads.
            upload_bytes: maximum size of an uploaded file.
            held: returns the total bytes of uploads in memory; a file stays there until its page is closed.
            larger: paths that accept more bytes than a form, and how many; they count as uploads while they are read.
        """
        self.app = app
        self.upload_path = upload_path
        self.upload_bytes = upload_bytes
        self.held = held
        self.larger = dict(larger or {})
        self.reserved = 0
        """Bytes reserved for uploads in progress."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        writes = scope["method"] in {"PUT", "POST"}
        is_upload = writes and (scope["path"].startswith(self.upload_path) or scope["path"] in self.larger)
        limit = self.larger.get(scope["path"], self.upload_bytes + FRAME_BYTES) if is_upload else MAX_FORM_BYTES
        declared = Headers(scope=scope).get("content-length", "0")
        # Such long numbers are not lengths, and int() raises for some thousands of digits.
        if not declared.isdecimal() or len(declared) > 20 or int(declared) > limit:
            await self._refuse_large(scope, receive, send, limit)
            return
        # A chunked body declares no length, so assume the maximum.
        size = limit if "transfer-encoding" in Headers(scope=scope) else int(declared)
        reserved = size if is_upload else 0
        if reserved and self.held() + self.reserved + reserved > MAX_HELD:
            is_file = scope["path"] not in self.larger
            full, seconds = (FULL_OF_FILES, FILES_SECONDS) if is_file else (FULL_OF_REQUESTS, REQUESTS_SECONDS)
            await refuse(scope, receive, send, answer(scope, full, 503, {"retry-after": f"{seconds}"}))
            return
        self.reserved += reserved
        try:
            await self._pass_on(scope, receive, send, limit)
        finally:
            self.reserved -= reserved

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        """Pass a request to the application, and abort it if its body exceeds the limit."""
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
            pass  # in the middle of its body: nobody is left to answer, and the log should not report it

    async def _refuse_large(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        sentence = f"A request to this path may have at most {limit:,} bytes."
        await refuse(scope, receive, send, answer(scope, sentence, 413))
