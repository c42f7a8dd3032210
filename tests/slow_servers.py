"""Servers that keep whoever asks them waiting: they drip, fall silent, or never take a connection."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from core.errors import LabError
from tests.conftest import HANG, wait_until

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class SlowServer:
    """Answers every request in the same way, over a bare connection."""

    def __init__(self, answer: Callable[[SlowServer, socket.socket], None]) -> None:
        """Args: answer: called in a thread per connection, once its request is there."""
        self.answer = answer
        self.waiting = threading.Event()
        """Set once a request is there."""
        self.hung_up = threading.Event()
        """Set once a connection was closed by the other side."""
        self.over = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def drip(self, connection: socket.socket, content: bytes, seconds: float = 0.02) -> None:
        """Send a byte now and then."""
        for byte in content:
            connection.sendall(bytes([byte]))
            if self.over.wait(seconds):
                return

    def close(self) -> None:
        self.over.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            try:
                while not connection.recv(2**16).endswith(b"\r\n\r\n"):
                    pass
                self.waiting.set()
                self.answer(self, connection)
            except ConnectionError:
                self.hung_up.set()


def _silent(server: SlowServer, connection: socket.socket) -> None:
    if not connection.recv(1):
        server.hung_up.set()


def _silent_body(server: SlowServer, connection: socket.socket) -> None:
    connection.sendall(HEADERS + b"a few bytes")
    _silent(server, connection)


WAYS: dict[str, Callable[[SlowServer, socket.socket], None]] = {
    "it never answers": _silent,
    "headers drip": lambda server, connection: server.drip(connection, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10**4),
    "it says for ever that one may go on": lambda server, connection: server.drip(
        connection, b"HTTP/1.1 100 Continue\r\n\r\n" * 10**4
    ),
    "the body drips": lambda server, connection: server.drip(connection, HEADERS + bytes(10**4)),
    "the size of a chunk drips": lambda server, connection: server.drip(connection, CHUNKED + b"0" * 10**4),
    "the body falls silent": _silent_body,
}
"""Ways in which an answer lasts."""


@contextmanager
def slow_server(way: str | Callable[[SlowServer, socket.socket], None]) -> Iterator[SlowServer]:
    """A server that answers in one of :data:`WAYS`, or as a function does."""
    server = SlowServer(WAYS[way] if isinstance(way, str) else way)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def deaf_server() -> Iterator[str]:
    """The address of a server that never takes a connection."""
    with ExitStack() as sockets:
        deaf = sockets.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(5):  # connections beyond the few that may wait for a server are not even refused
            one = sockets.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        yield f"http://127.0.0.1:{deaf.getsockname()[1]}/"


def is_asking() -> bool:
    """Whether something in this process waits for a server."""
    return any(thread.name == "http" for thread in threading.enumerate())


def stopped(download: Callable[[threading.Event], object], waits: Callable[[], bool]) -> tuple[float, LabError]:
    """Seconds until a download ends from when it is stopped, and its error.

    Args:
        download: until an event is set.
        waits: whether it has begun to wait for a server, which is when it is stopped.
    """
    stop, errors = threading.Event(), list[LabError]()

    def run() -> None:
        with pytest.raises(LabError) as caught:
            download(stop)
        errors.append(caught.value)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_until(waits)
    stop.set()
    start = time.monotonic()
    thread.join(HANG)
    took = time.monotonic() - start
    (error,) = errors
    return took, error
