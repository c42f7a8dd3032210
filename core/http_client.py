"""Requests to web servers; answers arrive in a thread, so that a stop acts at once and no answer lasts for ever."""

from __future__ import annotations

import math
import socket
import sys
import threading
import time
import urllib.request as web
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, suppress
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead, InvalidURL
from queue import Empty, Queue
from typing import IO, Any
from urllib.error import HTTPError, URLError

STEP = 0.1
"""Seconds between two looks at whether to stop."""

PIECE = 2**18
"""Bytes per piece at most."""

AHEAD = 4
"""Pieces that are received before anybody asks for them."""


BROKEN_OFF = "its answer was lost before the end"


class LostError(Exception):
    """A connection failed; the message is a clause, in which ``it`` is the server."""


class StatusError(LostError):
    """A server refuses."""

    def __init__(self, status: int, headers: Message) -> None:
        """Args: status: as in 404; headers: of the answer."""
        super().__init__(f"it answered {status}")
        self.status = status
        self.headers = headers


class HttpClient:
    """Asks web servers, through a proxy where the environment names one."""

    def __init__(self, timeout: float, check: Callable[[], None], secrets: Mapping[str, str] | None = None) -> None:
        """Args:
        timeout: seconds to wait for a server that cannot be connected to or sends nothing, and from a request on for
            all that precedes a body.
        check: called in short steps while a server is waited for; what it raises ends the wait.
        secrets: headers that are not sent to where a server redirects.
        """
        self._timeout = timeout
        self._check = check
        self._secrets = secrets or {}

    def content(self, url: str, limit: int) -> bytes:
        """A body that is complete within the timeout; more than ``limit`` bytes of it, if it has more.

        Raises: as :meth:`pieces`.
        """
        content = bytearray()
        with closing(self.pieces(url, takes_time=False)) as pieces:
            for piece in pieces:
                content += piece
                if len(content) > limit:
                    break
        return bytes(content)

    def pieces(
        self, url: str, start: int = 0, size: int | None = None, takes_time: bool = True
    ) -> Generator[bytes, None, None]:
        """A body as it arrives.

        Args:
            url: where it is; redirections to web servers are followed.
            start: how many of its bytes are left out.
            size: bytes of the whole body, if they are known: what exceeds them is left out.
            takes_time: whether it may take longer than the timeout while something arrives now and then.

        Raises:
            StatusError: the server refuses.
            LostError: there is no answer, or it ends too early.
        """
        self._check()
        request = web.Request(url, headers={"User-Agent": "lora-lab"})  # noqa: S310 - _Transfer asks web servers only
        if start:
            request.add_header("Range", f"bytes={start}-")
        for name, value in self._secrets.items():
            request.add_unredirected_header(name, value)
        with closing(_Transfer(request, self._timeout, self._check)) as transfer:
            transfer.next()
            if takes_time:
                transfer.end = math.inf
            at = start if transfer.status == 206 else 0  # others cannot begin in the middle
            known = at + transfer.length if size is None and transfer.length is not None else size
            end = sys.maxsize if known is None else known
            while at < end and (piece := transfer.next()):
                if wanted := piece[max(0, start - at) : end - at]:
                    yield wanted
                at += len(piece)
            if known is not None and at < known:
                raise LostError(BROKEN_OFF)


class _Transfer(web.HTTPRedirectHandler, web.HTTPHandler, web.HTTPSHandler):
    """One request, and the thread that receives what is answered."""

    def __init__(self, request: web.Request, timeout: float, check: Callable[[], None]) -> None:
        """Send the request from a thread that can be left alone: nothing interrupts the search for an address."""
        super().__init__()
        self.status = 0
        self.length: int | None = None
        """What the headers say of the body."""
        self.end = math.inf
        """When the answer must be complete."""
        self._timeout = timeout
        self._check = check
        self._received: Queue[bytes | Exception] = Queue(AHEAD)
        self._socket: socket.socket | None = None
        self._has_answered = self._is_over = False
        threading.Thread(target=self._receive, args=(request,), name="http", daemon=True).start()

    def next(self) -> bytes:
        """Wait for the next piece: the first is empty and comes with the headers, and so is the last.

        Raises:
            LostError: it does not come.
        """
        while True:
            self._check()
            if time.monotonic() >= self.end:
                late = f"its answer was not complete after {self._timeout:g} s"
                raise LostError(late if self._has_answered else "the server does not answer")
            with suppress(Empty):
                found = self._received.get(timeout=STEP)
                if isinstance(found, Exception):
                    raise _lost(found) from found
                return found

    def close(self) -> None:
        """Close the connection, which ends the thread unless it is still connecting."""
        self._is_over = True
        if self._socket:
            with suppress(OSError):  # it is closed already
                self._socket.shutdown(socket.SHUT_RDWR)
        while not self._received.empty():  # makes room for what the thread receives last
            self._received.get_nowait()

    def _receive(self, request: web.Request) -> None:
        opener = web.OpenerDirector()  # has no way to open files
        for handler in (self, web.ProxyHandler(), web.UnknownHandler(), _Errors()):
            opener.add_handler(handler)
        try:
            with opener.open(request, timeout=self._timeout) as answer:
                self.status, self.length = answer.status, answer.length
                self._received.put(b"")
                piece = b"-"
                while piece and not self._is_over:
                    piece = answer.read1(PIECE)
                    self._received.put(piece)
        except Exception as error:  # noqa: BLE001 - raised by the thread that waits
            self._received.put(error)

    def do_open(self, http_class: Any, req: web.Request, **options: Any) -> HTTPResponse:
        """Have the answers of a connection read by :meth:`_answer`."""

        def connection(host: str, **more: Any) -> HTTPConnection:
            made: HTTPConnection = http_class(host, **more)
            made.response_class = self._answer  # type: ignore[assignment] # it is only called
            return made

        return super().do_open(connection, req, **options)

    def _answer(self, sock: socket.socket, **options: Any) -> HTTPResponse:
        """Wait for the beginning of an answer, be it that of a proxy or a redirection."""
        self._socket, self._has_answered, self.end = sock, False, time.monotonic() + self._timeout
        if self._is_over:
            raise TimeoutError
        answer = HTTPResponse(sock, **options)
        try:
            answer.fp.peek(1)
        except OSError:
            answer.close()
            raise
        self._has_answered = True
        return answer

    def redirect_request(
        self, req: web.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> web.Request | None:
        """Leave out the body of a redirection, which may be endless."""
        fp.close()
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Errors(web.HTTPErrorProcessor, web.HTTPDefaultErrorHandler):
    """Raises what is no success."""


def _lost(error: Exception) -> Exception:
    """An error of a connection as one of this module; others, such as those of memory, as they are."""
    if isinstance(error, HTTPError):
        error.close()
        return StatusError(error.code, error.headers)
    found = error.reason if isinstance(error, URLError) else error
    if isinstance(found, TimeoutError):
        return LostError("the server does not answer")
    if isinstance(found, IncompleteRead):
        return LostError(BROKEN_OFF)
    if isinstance(found, HTTPException) and not isinstance(found, OSError | InvalidURL):
        return LostError("its answer is not that of a web server")
    if not isinstance(found, str | OSError | HTTPException | ValueError):
        return error
    text = ((isinstance(found, OSError) and found.strerror) or str(found)).rstrip(".")[:100] or type(found).__name__
    return LostError(text if text[:2].isupper() else text[0].lower() + text[1:])
