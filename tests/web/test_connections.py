"""Connections that let a real server wait, and the others that it must go on answering meanwhile."""

from __future__ import annotations

import asyncio
import http.client
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
import uvicorn
import websockets
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.sync.client import ClientConnection, connect

from core.web.connection import BODY_GRACE, HEAD_SECONDS, MAX_HEAD, MIN_BODY_RATE, STALL_SECONDS
from core.web.connections import LINE_SECONDS, OUT_OF_DESCRIPTORS, Connections
from core.web.descriptors import KEPT_BACK, MAX_IN_ALL, Room
from core.web.peers import Proxies
from core.web.request_origin import Authorized
from tests.browser.conftest import free_port
from tests.conftest import wait_until
from tests.soak.stalling import OPENINGS
from tests.web.conftest import Visitor

PARSERS = ["h11", *(["httptools"] if find_spec("httptools") else [])]
"""What uvicorn may read HTTP with: the one that it comes with, and the faster one where it is installed."""

CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""Of nobody, for tests."""

LARGE = 64 * 2**20
WIDE = Room(1000, 1000)

ROUNDS = 5
"""Rounds of the server's loop after which it has read what was sent, and the application has begun to answer."""


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads what it is sent, and answers to ``/large`` with more than any buffer takes."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    try:
        read = len(await Request(scope, receive).body())
    except ClientDisconnect:
        return
    if scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for left in range(LARGE // 2**16 - 1, -1, -1):
            await send({"type": "http.response.body", "body": bytes(2**16), "more_body": left > 0})
    else:
        await PlainTextResponse(f"{read}")(scope, receive, send)


async def closed_door(scope: Scope, receive: Receive, send: Send) -> None:
    """Lets nobody in, and reads only forms."""
    if scope["path"] == "/access":
        await application(scope, receive, send)
    else:
        await PlainTextResponse("no", 401)(scope, receive, send)


async def open_access(scope: Scope, receive: Receive, send: Send) -> None:
    """Lets in to the form, and refuses the rest without reading."""
    await (Authorized(application) if scope["path"] == "/access" else closed_door)(scope, receive, send)


@dataclass
class Running:
    port: int
    server: uvicorn.Server
    connections: Connections
    now: list[float]
    loop: list[asyncio.AbstractEventLoop] = field(default_factory=list)
    clients: ExitStack = field(default_factory=ExitStack)
    """Closed before the server."""

    def connect(self) -> socket.socket:
        return self.clients.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=10))

    def open(self, content: bytes = b"") -> socket.socket:
        """A connection that the server has seen, and what was sent on it, too."""
        before = len(self.connections)
        client = self.connect()
        client.sendall(content)
        if before < self.connections.room.per_peer:
            wait_until(lambda: len(self.connections) > before)
        for _ in range(ROUNDS if content else 0):
            self.looked()
        return client

    def page(self) -> ClientConnection:
        """A websocket."""
        return self.clients.enter_context(connect(f"ws://127.0.0.1:{self.port}/", compression=None))

    def pass_time(self, seconds: float) -> None:
        """Let the server's clock go on, in steps as small as between two of its looks."""
        for _ in range(int(seconds)):
            self.now[0] += 1
            self.looked()
        self.now[0] += seconds % 1
        self.looked()

    def looked(self) -> None:
        done = threading.Event()

        def look() -> None:
            self.connections.look()
            done.set()

        self.loop[0].call_soon_threadsafe(look)
        assert done.wait(10)

    def status(self) -> int:
        return Visitor(self.port).status("/")


@contextmanager
def serving(
    app: ASGIApp = application,
    room: Room = WIDE,
    parser: str = "h11",
    tls: bool = False,
    proxies: str = "",
    silent_seconds: int = 0,
) -> Iterator[Running]:
    """An uvicorn of its own thread, its connections counted, on a clock that the test moves."""
    config = uvicorn.Config(
        app,
        port=free_port(),
        http=parser,
        ws="websockets-sansio",
        lifespan="off",
        log_level="warning",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=1000,
        ssl_certfile=CERTIFICATE if tls else None,
    )
    config.load()
    server, now = uvicorn.Server(config), [1000.0]
    named = Proxies.from_environment({"LORA_LAB_PROXIES": proxies})
    running = Running(config.port, server, Connections(lambda _: room, named, lambda: now[0]), now)

    async def run() -> None:
        running.loop.append(asyncio.get_running_loop())
        running.connections.guard(server)
        watching = asyncio.create_task(running.connections.watch(server, silent_seconds))
        await server.serve()
        watching.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    wait_until(lambda: server.started)
    try:
        with running.clients:
            yield running
    finally:
        server.should_exit = True
        thread.join()


def is_open(client: socket.socket) -> bool:
    """Whether the server has not closed it; what it has answered is read."""
    client.setblocking(False)
    try:
        while client.recv(2**16):
            pass
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        client.settimeout(10)


def closed(client: socket.socket) -> None:
    wait_until(lambda: not is_open(client), 10)


LIMITS = dict.fromkeys(OPENINGS, HEAD_SECONDS) | {"half a body": BODY_GRACE}


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("kind", OPENINGS)
def test_what_stalls_is_closed_in_time(kind: str, parser: str) -> None:
    with serving(open_access, parser=parser) as running:
        with running.open(OPENINGS[kind]) as client:
            if kind in {"kept alive", "refused, and a body to come"}:
                assert client.recv(12).startswith(b"HTTP/1.1 ")
            running.pass_time(LIMITS[kind] - 1)
            if kind == "a dripping head":
                client.sendall(b"x")
            assert is_open(client)
            running.pass_time(3)  # where it stands is seen at the next look
            closed(client)
        wait_until(lambda: len(running.connections) == 0)


@pytest.mark.parametrize("parser", PARSERS)
def test_a_long_head_is_not_kept(parser: str) -> None:
    with serving(parser=parser) as running, running.open(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ") as client:
        try:
            for _ in range(2 * MAX_HEAD // 1024 + 512):
                client.sendall(b"x" * 1024)
        except OSError:
            pass
        closed(client)


@pytest.mark.parametrize("parser", PARSERS)
def test_a_slow_upload_is_taken_as_long_as_it_goes_on(parser: str) -> None:
    with serving(Authorized(application), parser=parser) as running:
        size = 40 * 2 * int(MIN_BODY_RATE)
        with running.open(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size) as client:
            for _ in range(40):
                client.sendall(b"x" * (2 * int(MIN_BODY_RATE)))
                running.pass_time(1)
            assert client.recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("parser", PARSERS)
def test_who_comes_gets_in_past_those_who_wait(parser: str) -> None:
    with serving(Authorized(application), Room(8, 4), parser) as running:
        kinds = list(OPENINGS.values())[:3]
        waiting = [running.open(kinds[turn % 3]) for turn in range(30)]
        for _ in range(10):
            assert running.status() == 200
        wait_until(lambda: sum(map(is_open, waiting)) <= 4)
        assert is_open(waiting[-1])  # the oldest go first
        assert not is_open(waiting[0])


@pytest.mark.parametrize("parser", PARSERS)
def test_who_was_let_in_is_not_closed_for_others(parser: str) -> None:
    with serving(Authorized(application), Room(6, 4), parser) as running:
        page = running.page()
        upload = running.open(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
        for turn in range(40):
            running.open(OPENINGS["half a head"])
            if turn % 10 == 0:
                assert running.status() == 200
        upload.sendall(b"x" * 50)
        assert upload.recv(15) == b"HTTP/1.1 200 OK"
        assert page.ping().wait(10)


def test_a_body_of_who_was_not_let_in_makes_room() -> None:
    with serving(closed_door, Room(6, 4)) as running:
        waiting = [running.open(OPENINGS["half a body"]) for _ in range(4)]
        assert running.status() == 401
        closed(waiting[0])


def test_who_has_sent_nothing_takes_no_place_where_the_system_can_hold_it() -> None:
    held = getattr(socket, "TCP_DEFER_ACCEPT", None)
    with serving(Authorized(application), Room(8, 8), silent_seconds=60) as running:
        listening = running.server.servers[0].sockets[0]
        wait_until(lambda: held is None or listening.getsockopt(socket.IPPROTO_TCP, held) > 0)
        for _ in range(6):
            running.connect()
        assert running.status() == 200
        wait_until(lambda: len(running.connections) == (6 if held is None else 0))


def test_where_nobody_waits_the_newcomer_is_closed() -> None:
    with serving(Authorized(application), Room(8, 2)) as running:
        pages = [running.page() for _ in range(2)]
        with running.open() as late:
            closed(late)
        assert all(page.ping().wait(10) for page in pages)
        pages[0].close()
        wait_until(lambda: len(running.connections) == 1)
        assert running.status() == 200


def test_a_named_proxy_brings_many() -> None:
    with serving(Authorized(application), Room(8, 2), proxies="127.0.0.0/8") as running:
        for turn in range(5):
            running.page()
            assert len(running.connections) == turn + 1


@pytest.mark.parametrize("parser", PARSERS)
def test_a_reader_is_closed_where_it_takes_nothing_and_not_where_it_is_slow(parser: str) -> None:
    ask = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
    with serving(Authorized(application), parser=parser) as running:
        idle, slow = running.open(ask), running.open(ask)
        for client in (idle, slow):
            assert client.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
        for _ in range(4):
            read = 0
            while read < 4 * 2**20:
                read += len(slow.recv(2**16))
            running.pass_time(STALL_SECONDS / 3)
        wait_until(lambda: len(running.connections) == 1)
        while read < LARGE - 16 * 2**20:
            read += len(slow.recv(2**20))


def test_the_log_tells_of_it_in_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    with serving(Authorized(application), Room(8, 4)) as running:
        for _ in range(50):
            for content in (b"nonsense\r\n\r\n", OPENINGS["half a head"]):
                running.connect().sendall(content)
            error = {"message": OUT_OF_DESCRIPTORS, "exception": OSError(24, "Too many open files")}
            running.loop[0].call_soon_threadsafe(running.loop[0].call_exception_handler, error)
            running.looked()
        running.looked()
        assert len(caplog.records) == 1
        running.pass_time(LINE_SECONDS + 1)
        lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(lines) == 2
        assert "malformed requests" in lines[1]
        assert "50 times" in lines[1] or "49 times" in lines[1]


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


async def pinged(address: str) -> None:
    """From one thread: the threading client reads and writes a TLS session at once, which OpenSSL forbids."""
    async with asyncio.timeout(10), websockets.connect(address, ssl=trusting(), compression=None) as page:
        await (await page.ping())


def test_with_tls_handshakes_that_stall_are_closed_too() -> None:
    with serving(Authorized(application), Room(8, 4), tls=True) as running:
        waiting = [running.open(b"" if turn % 2 else b"\x16\x03\x01") for turn in range(20)]
        client = http.client.HTTPSConnection("127.0.0.1", running.port, timeout=10, context=trusting())
        client.request("PUT", "/", b"x" * 300_000)
        assert client.getresponse().read() == b"300000"
        client.request("GET", "/large")
        assert len(client.getresponse().read()) == LARGE
        client.close()
        with ThreadPoolExecutor(1) as other:  # in that of the tests, Playwright may have left a loop running
            other.submit(asyncio.run, pinged(f"wss://127.0.0.1:{running.port}/")).result()
        wait_until(lambda: sum(map(is_open, waiting)) <= 4)
        running.pass_time(HEAD_SECONDS + 1)
        wait_until(lambda: len(running.connections) == 0)


@pytest.mark.parametrize(("descriptors", "in_use"), [(256, 12), (256, 100), (1024, 12), (8192, 40), (8192, 500)])
def test_connections_leave_descriptors_for_training(descriptors: int, in_use: int) -> None:
    room = Room.of(descriptors, in_use)
    assert 16 <= room.per_peer <= room.in_all <= MAX_IN_ALL
    assert in_use + room.in_all + 4 * room.burst + KEPT_BACK <= descriptors
    assert Room.of(8192, 40).per_peer >= 20 * 7  # tabs of one address, with a websocket and six connections each
