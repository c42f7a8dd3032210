"""Answers of web servers, waited for in short steps, so that a stop acts at once and no answer lasts for ever."""

from __future__ import annotations

import http.client
import io
import math
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any

STEP = 0.1
"""Seconds between two looks at whether to stop."""


class SlowAnswerError(OSError):
    """A server sends, but so slowly that its answer is not waited for."""


class Answer(http.client.HTTPResponse):
    """An answer that is received in steps; what raises in ``check`` ends any of its reads."""

    def __init__(self, timeout: float, check: Callable[[], None], sock: socket.socket, **options: Any) -> None:
        """Args:
        timeout: seconds to wait for a server that sends nothing, and for the whole answer; see :meth:`take_time`.
        check: called before each step.
        sock: of the connection.
        options: those of ``HTTPResponse``.
        """
        super().__init__(sock, **options)
        self._steps = _Steps(self.fp.detach(), sock, timeout, check)
        self.fp = io.BufferedReader(self._steps)

    def take_time(self) -> None:
        """Wait without end for the rest, if only some of it arrives now and then."""
        self._steps.end = math.inf


class _Steps(io.RawIOBase):
    """What a connection receives."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, timeout: float, check: Callable[[], None]) -> None:
        """Args: raw: keeps the connection open until it is closed; the others are those of :class:`Answer`."""
        self._raw = raw
        self._sock = sock
        self._timeout = timeout
        self._check = check
        self.end = time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for the next bytes.

        Raises:
            TimeoutError: the server has sent nothing for too long.
            SlowAnswerError: it has sent something, but not all.
        """
        silent = time.monotonic() + self._timeout
        before = self._sock.gettimeout()
        self._sock.settimeout(STEP)
        try:
            while True:
                self._check()
                now = time.monotonic()
                if now >= silent:
                    raise TimeoutError("the server sends nothing")
                if now >= self.end:
                    raise SlowAnswerError(f"its answer was not complete after {self._timeout:g} s")
                try:
                    return self._sock.recv_into(buffer)
                except TimeoutError:
                    continue
        finally:
            self._sock.settimeout(before)  # a proxy's answer is followed by the encryption of the same connection

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Http(urllib.request.HTTPHandler):
    def __init__(self, answer: Callable[..., Answer]) -> None:
        super().__init__()
        self._answer = answer

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_connection, http.client.HTTPConnection, self._answer), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, answer: Callable[..., Answer]) -> None:
        super().__init__()
        self._answer = answer

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_connection, http.client.HTTPSConnection, self._answer), req)


def _connection(
    kind: type[http.client.HTTPConnection], answer: Callable[..., Answer], host: str, **options: Any
) -> http.client.HTTPConnection:
    made = kind(host, **options)
    made.response_class = answer  # type: ignore[assignment] # it is only called
    return made


def opened(request: urllib.request.Request, timeout: float, check: Callable[[], None]) -> Answer:
    """Like ``urlopen``, for web servers only.

    Args:
        request: to a web server; redirections are followed.
        timeout: seconds to wait for a server that cannot be connected to or sends nothing, and for its whole answer.
        check: called every :data:`STEP` seconds, also in another thread; what it raises ends the wait.

    Raises:
        HTTPError: the server refuses.
        OSError, HTTPException: there is no answer.
    """
    opener = urllib.request.OpenerDirector()
    answer = partial(Answer, timeout, check)
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Http(answer),
        _Https(answer),
    ):
        opener.add_handler(handler)
    found: Future[Answer] = Future()

    def ask() -> None:
        try:
            found.set_result(opener.open(request, timeout=timeout))
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            found.set_exception(error)

    # In a thread that can be left alone: nothing interrupts the search for a host's address, or connecting to it.
    threading.Thread(target=ask, name="hub", daemon=True).start()
    try:
        while not wait([found], STEP).done:
            check()
    except BaseException:
        found.add_done_callback(_close)
        raise
    return found.result()


def _close(found: Future[Answer]) -> None:
    """Close a connection whose answer nobody waits for any longer."""
    error = found.exception()
    if error is None:
        found.result().close()
    elif isinstance(error, urllib.error.HTTPError):
        error.close()
