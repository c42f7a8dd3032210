"""Limits on request bodies: on their size, as declared and while they are read, and on the time that they take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.web.answers import answer

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
