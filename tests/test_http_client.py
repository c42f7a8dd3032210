"""Answers of web servers: whole or an error with a reason, ended when asked to, and received no faster than taken.

The servers are bare connections on this machine. How long answers are waited for is tested where they are used, too:
`data/test_downloads.py` and `networks/library/test_hub.py`.
"""

from __future__ import annotations

import socket
import threading
import time

import pytest

from core.http_client import AHEAD, PIECE, HttpClient, LostError, StatusError
from tests.conftest import HANG, wait_until
from tests.slow_servers import CHUNKED, HEADERS, WAYS, SlowServer, slow_server

SILENT = ("it never answers", "the body falls silent")


class StoppedError(Exception):
    pass


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def client(timeout: float = HANG) -> HttpClient:
    return HttpClient(timeout, lambda: None)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "http"]


@pytest.mark.parametrize("way", WAYS)
def test_a_stop_ends_the_thread_and_the_connection(way: str) -> None:
    with slow_server(way) as server:

        def check() -> None:
            if server.waiting.is_set():
                raise StoppedError

        with pytest.raises(StoppedError):
            list(HttpClient(HANG, check).pieces(server.url))
        wait_until(lambda: not threads())
        assert server.hung_up.wait(HANG)


def test_a_client_that_is_stopped_asks_nobody() -> None:
    def check() -> None:
        raise StoppedError

    with slow_server("it never answers") as server:
        with pytest.raises(StoppedError):
            next(HttpClient(1.0, check).pieces(server.url))
        assert not threads()


@pytest.mark.parametrize("way", [way for way in WAYS if way not in SILENT])
def test_a_small_answer_that_lasts_is_lost_after_the_timeout(way: str) -> None:
    with slow_server(way) as server:
        with pytest.raises(LostError, match=r"^its answer was not complete after 1 s$"):
            client(1.0).content(server.url, 10**6)
        assert server.hung_up.wait(HANG)


@pytest.mark.parametrize("way", SILENT)
def test_a_server_that_falls_silent_does_not_answer(way: str) -> None:
    with slow_server(way) as server, pytest.raises(LostError, match=r"^the server does not answer$"):
        list(client(1.0).pieces(server.url))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "remote end closed connection without response"),
        (b"\x1b[31mSSH-2.0 " + b"x" * 5000 + b"\r\n", "its answer is not that of a web server"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000, "its answer is not that of a web server"),
        (HEADERS + b"a few bytes", "its answer was lost before the end"),
        (CHUNKED + b"10\r\na few", "its answer was lost before the end"),
        (b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/\r\n\r\n", "unknown url type: ftp"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", "it answered 302"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "it answered 302"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 1000000\r\n\r\n", "it answered 503"),
    ],
)
def test_what_is_no_answer_is_a_short_reason(answer: bytes, reason: str) -> None:
    with slow_server(lambda server, connection: connection.sendall(answer)) as server:
        with pytest.raises(LostError) as caught:
            list(client().pieces(server.url))
        assert str(caught.value) == reason
        assert isinstance(caught.value, StatusError) == reason.startswith("it answered")
    with pytest.raises(LostError, match=r"^unknown url type: file$"):
        list(client().pieces("file:///etc/passwd"))


def test_more_than_the_limit_of_a_small_answer_is_not_read_nor_what_a_redirection_says() -> None:
    sent: list[int] = []

    def endless(server: SlowServer, connection: socket.socket) -> None:
        is_first = not sent
        sent.append(0)
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n" if is_first else b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.over.is_set():
            connection.sendall(bytes(2**16))
            sent[-1] += 2**16

    with slow_server(endless) as server:
        assert 10**6 < len(client().content(server.url, 10**6)) <= 10**6 + PIECE
        assert server.hung_up.wait(HANG)
        wait_until(lambda: not threads())
    assert len(sent) == 2
    assert max(sent) < 2**26


def test_a_server_that_is_faster_than_whoever_takes_the_pieces_waits() -> None:
    sent = [0]

    def endless(server: SlowServer, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(bytes(2**16))
            sent[0] += 2**16

    with slow_server(endless) as server:
        pieces = client().pieces(server.url)
        taken = len(next(pieces))
        before, since = -1, time.monotonic()
        while before != sent[0] or time.monotonic() < since + 0.5:  # until it has sent nothing for half a second
            if before != sent[0]:
                before, since = sent[0], time.monotonic()
            time.sleep(0.02)
        assert sent[0] - taken < (AHEAD + 2) * PIECE + 2**23  # the rest is what the sockets hold
        for _, piece in zip(range(50), pieces, strict=False):
            taken += len(piece)
        assert taken > before
        pieces.close()
        wait_until(lambda: not threads())
