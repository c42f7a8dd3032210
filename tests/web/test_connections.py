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
from pathlib import Path

import pytest
import uvicorn
import websockets
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from core.web import request_checks, server
from core.web.request_checks import BodyLimit, Limits
from core.web.server import TimedProtocol, limit
from tests.browser.conftest import free_port
from tests.conftest import HANG, wait_until
from tests.soak.stalling import OPENINGS, Stalling
from tests.web.asking import inside
from tests.web.clients import drawn_page, stream
from tests.web.conftest import Visitor, start

CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""Of nobody, for tests."""

LARGE = 64 * 2**20
PAGES, STALLED = 200, 300


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads forms at ``/access`` and refuses others unread; ``/large`` is more than any buffer takes."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    elif scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for left in range(LARGE // 2**16 - 1, -1, -1):
            await send({"type": "http.response.body", "body": bytes(2**16), "more_body": left > 0})
    elif scope["path"] == "/access":
        await PlainTextResponse(f"{len(await Request(scope, receive).body())}")(scope, receive, send)
    else:
        await PlainTextResponse("no", 401)(scope, receive, send)


@dataclass
class Running:
    port: int
    server: uvicorn.Server
    loop: list[asyncio.AbstractEventLoop] = field(default_factory=list)
    clients: ExitStack = field(default_factory=ExitStack)
    """Closed before the server."""

    @property
    def connections(self) -> int:
        """Number of connections that the server has."""
        return len(self.server.server_state.connections)

    def open(self, content: bytes = b"") -> socket.socket:
        """A connection that the server has seen; what was sent on it, it may still have to read."""
        client = self.clients.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=HANG))
        own = client.getsockname()
        wait_until(lambda: any(each.client == own for each in list(self.server.server_state.connections)))
        client.sendall(content)
        return client

    def protocol(self, client: socket.socket) -> TimedProtocol:
        """What the server has for a connection."""
        own = client.getsockname()
        (found,) = [each for each in list(self.server.server_state.connections) if each.client == own]
        assert isinstance(found, TimedProtocol)
        return found

    def look(self) -> None:
        """Let the server look for stalled connections, as it does at intervals."""
        done = threading.Event()

        def look() -> None:
            for each in list(self.server.server_state.connections):
                if isinstance(each, TimedProtocol):
                    each._close_stalled()
            done.set()

        self.loop[0].call_soon_threadsafe(look)
        assert done.wait(HANG)

    def status(self) -> int:
        return Visitor(self.port).status("/")


@contextmanager
def serving(app: ASGIApp = application, tls: bool = False) -> Iterator[Running]:
    """A server in a thread of its own that looks for stalled connections when it is told to."""
    config = uvicorn.Config(
        app,
        port=free_port(),
        ws="websockets-sansio",
        lifespan="off",
        log_level="warning",
        timeout_keep_alive=1000,
        ssl_certfile=CERTIFICATE if tls else None,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "WAIT_SECONDS", 1000.0)
        limit(config, [])
        running = Running(config.port, uvicorn.Server(config))

        async def run() -> None:
            running.loop.append(asyncio.get_running_loop())
            await running.server.serve()

        thread = threading.Thread(target=lambda: asyncio.run(run()))
        thread.start()
        wait_until(lambda: running.server.started)
        try:
            with running.clients:
                yield running
        finally:
            running.server.should_exit = True
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
        client.settimeout(HANG)


def closed(client: socket.socket) -> None:
    wait_until(lambda: not is_open(client))


def test_visitors_get_in_past_idle_pages_and_stalled_requests(tmp_path: Path) -> None:
    """Even with the 256 descriptors that macOS gives a process unless it asks for more."""
    with start(tmp_path, "--server.address", "0.0.0.0", soft_descriptors=256) as served, ExitStack() as pages:
        token = served.token
        visitor = served.entered()
        idle = [pages.enter_context(stream(visitor)) for _ in range(PAGES)]
        with Stalling(served.port, STALLED) as stalling:
            wait_until(lambda: stalling.most_open >= STALLED)
            for _ in range(3):
                newcomer = served.visitor(Authorization=f"Bearer {token}")
                assert newcomer.status("/") == 200
                assert newcomer.status("/healthz") == 200
                with drawn_page(served.entered()):
                    pass
        assert all(page.ping().wait(HANG) for page in idle)
        assert "Traceback" not in served.printed()


@pytest.mark.parametrize("kind", [kind for kind in OPENINGS if kind != "half a body"])
def test_a_request_that_does_not_come_is_given_up(kind: str) -> None:
    with serving() as running:
        client = running.open(OPENINGS[kind].replace(b"/_stcore/health", b"/"))
        if kind in {"kept alive", "refused, and a body to come"}:
            assert client.recv(12) == b"HTTP/1.1 401"
            running.look()
        assert is_open(client)
        if kind == "a dripping head":
            client.sendall(b"x")
        running.look()
        closed(client)
        wait_until(lambda: running.connections == 0)


def test_half_a_body_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_checks, "WAIT_SECONDS", 0.1)
    with serving(BodyLimit(application, Limits("/up/", 0))) as running:
        client = running.open(OPENINGS["half a body"])
        assert client.recv(12) == b"HTTP/1.1 408"
        closed(client)


def test_a_connection_with_a_new_request_between_two_looks_stays() -> None:
    with serving() as running:
        client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=HANG)
        client.connect()
        own = client.sock
        for _ in range(5):
            client.request("GET", "/")
            assert client.getresponse().read() == b"no"
            running.look()
        assert client.sock is own
        client.close()


def test_a_long_head_is_not_kept() -> None:
    with serving() as running, running.open(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ") as client:
        try:
            for _ in range(1024):
                client.sendall(b"x" * 1024)
        except OSError:
            pass
        closed(client)


def test_a_reader_is_closed_where_it_takes_nothing_and_not_where_it_is_slow() -> None:
    ask = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
    with serving() as running:
        idle, slow = running.open(ask), running.open(ask)
        for client in (idle, slow):
            assert client.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
        of_slow = running.protocol(slow)
        read = 0

        def read_some() -> None:
            nonlocal read
            content = slow.recv(2**16)
            assert content, "the slow reader was closed"
            read += len(content)

        while running.connections == 2:
            resumed = of_slow._resumed
            while of_slow._resumed == resumed:  # how much that takes is up to the system's buffers
                read_some()
            running.look()
        while read < LARGE:
            read_some()


def test_a_websocket_may_be_idle() -> None:
    with serving() as running:
        socket_url = f"ws://127.0.0.1:{running.port}/"
        with websockets.sync.client.connect(socket_url, compression=None) as page:
            for _ in range(3):
                running.look()
            assert page.ping().wait(HANG)


def test_at_the_limit_requests_are_told_so_and_more_connections_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 8)
    monkeypatch.setattr(server, "MAX_REFUSED", 2)
    with serving() as running:
        for _ in range(6):
            running.open(OPENINGS["half a head"])
        assert running.status() == 401
        waiting = [running.open(OPENINGS["half a head"]) for _ in range(2)]
        assert running.status() == 503
        wait_until(lambda: running.connections == 8)
        waiting += [running.open(OPENINGS["half a head"]) for _ in range(2)]
        with socket.create_connection(("127.0.0.1", running.port), timeout=HANG) as late:
            closed(late)
        running.look()
        for client in waiting:
            closed(client)
        assert running.status() == 401


def test_what_anybody_can_send_leaves_nothing_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with serving(inside) as running:
        for content in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"):
            with running.open(content) as client:
                assert client.recv(12).startswith(b"HTTP/1.1 ")
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


async def pinged(address: str) -> None:
    """From one thread: the threading client reads and writes a TLS session at once, which OpenSSL forbids."""
    async with asyncio.timeout(HANG), websockets.connect(address, ssl=trusting(), compression=None) as page:
        await (await page.ping())


def test_with_tls_everything_comes_and_what_stalls_is_closed_too() -> None:
    with serving(tls=True) as running:
        client = http.client.HTTPSConnection("127.0.0.1", running.port, timeout=HANG, context=trusting())
        client.request("PUT", "/access", b"x" * 300_000)
        assert client.getresponse().read() == b"300000"
        client.request("GET", "/large")
        running.look()
        assert len(client.getresponse().read()) == LARGE
        client.close()
        with ThreadPoolExecutor(1) as other:  # in that of the tests, Playwright may have left a loop running
            other.submit(asyncio.run, pinged(f"wss://127.0.0.1:{running.port}/")).result()
        wait_until(lambda: running.connections == 0)
        raw = running.clients.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=HANG))
        stalled = running.clients.enter_context(trusting().wrap_socket(raw, server_hostname="127.0.0.1"))
        stalled.sendall(OPENINGS["half a head"])
        wait_until(lambda: running.connections == 1)
        running.look()  # at the end of the handshake, something was still to be sent
        running.look()
        wait_until(lambda: running.connections == 0)
