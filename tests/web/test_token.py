"""A server that listens beyond this machine, asked with real HTTP and websocket clients."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
from websockets.exceptions import InvalidStatus

from tests.browser.conftest import stop_server
from tests.web.clients import drawn_page, put, stream
from tests.web.conftest import TOKEN_LINK, Server, home_with_a_run, start

FORM = {"Content_Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server on all addresses, told nothing else, with one finished run."""
    folder = tmp_path_factory.mktemp("token")
    run = home_with_a_run(folder / "home")
    server = start(folder, "--server.address", "0.0.0.0", LORA_LAB_HOSTS="lab.example, *.lab.example")
    yield server, run
    stop_server(server.process)


@pytest.fixture(scope="module")
def server(trained: tuple[Server, str]) -> Server:
    return trained[0]


def test_without_the_token_nothing_is_given_or_taken(trained: tuple[Server, str]) -> None:
    server, run = trained
    nobody, liar = server.visitor(), server.visitor(Cookie=f"lora_lab_{server.port}={'0' * 64}")
    media = "/media/0123.png"
    index = server.entered().ask("GET", "/")[1].decode()
    asset = re.findall(r'"\./(static/js/[^"]+\.js)"', index)[0]
    # Who shows a wrong cookie is soon told so at once.
    for visitor, refusals in ((nobody, {401}), (liar, {401, 429})):
        for path in (
            "/",
            "/runs",
            f"/{asset}",
            media,
            f"/download/{run}/network.safetensors",
            "/healthz",
            "/assets/plotly.min.js",
            "/_stcore/host-config",
            "/_stcore/metrics",
            "/access",
        ):
            answer, body = visitor.ask("GET", path)
            assert answer.status in refusals, path
            assert "token" in json.loads(body)["error"]
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        with drawn_page(server.entered()) as session:
            assert put(server, visitor, session)[0].status in refusals
        with pytest.raises(InvalidStatus, match=r"401|429"):
            stream(visitor).close()


def test_with_the_token_all_of_it_works(trained: tuple[Server, str]) -> None:
    server, run = trained
    visitor = server.entered()
    with drawn_page(visitor) as session:
        assert put(server, visitor, session)[0].status == 204
    for path in ("/", f"/download/{run}/network.safetensors", "/healthz", "/assets/plotly.min.js"):
        assert (path, visitor.status(path)) == (path, 200)
    assert visitor.ask("GET", "/media/0123.png")[1] == b"File not found"


def test_a_probe_sees_health_and_nothing_else(server: Server) -> None:
    answer, body = server.visitor().ask("GET", "/_stcore/health")
    assert (answer.status, body) == (200, b"ok")
    for path in ("/_stcore/health/", "//_stcore/health", "/_stcore/health/../../healthz", "/_stcore/healthz"):
        assert server.visitor().status(path) == 401


def test_the_cookie_is_out_of_reach_and_does_not_tell_the_token(server: Server) -> None:
    link = TOKEN_LINK.search(server.printed())
    assert link
    answer, _ = server.visitor().ask("GET", f"/runs?state=failed&token={link[1]}&x=%26")
    assert answer.headers["Location"] == "/runs?state=failed&x=%26"
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert link[1] not in cookie
    assert server.visitor(Cookie=f"lora_lab_{server.port}={link[1]}").status("/healthz") in {401, 429}


def test_the_form_lets_in_and_leads_on(server: Server) -> None:
    answer, body = server.visitor().ask("GET", '/runs?q="><script>', Accept="text/html")
    assert (answer.status, answer.headers["Content-Type"]) == (401, "text/html; charset=utf-8")
    assert b"<form" in body
    assert b"<script" not in body
    link = TOKEN_LINK.search(server.printed())
    assert link
    form = urlencode({"token": link[1], "next": "/runs?state=failed"}).encode()
    answer, _ = server.visitor().ask("POST", "/access", form, Origin=f"http://127.0.0.1:{server.port}", **FORM)
    assert (answer.status, answer.headers["Location"]) == (303, "/runs?state=failed")
    entered = server.visitor(Cookie=answer.headers["Set-Cookie"].partition(";")[0])
    assert entered.status("/healthz") == 200
    assert server.visitor(Authorization=f"Bearer {link[1]}").status("/healthz") == 200


def test_a_link_on_another_site_begins_again_here(server: Server) -> None:
    link = TOKEN_LINK.search(server.printed())
    assert link
    elsewhere = {
        "Accept": "text/html",
        "Sec_Fetch_Site": "cross-site",
        "Sec_Fetch_Dest": "document",
        "Sec_Fetch_Mode": "navigate",
    }
    answer, body = server.visitor().ask("GET", f"/runs?token={link[1]}", **elsewhere)
    assert answer.status == 200
    assert "Set-Cookie" in answer.headers
    assert b'content="0; url=/runs"' in body
    answer, body = server.visitor().ask("GET", "/compare?e=1", **elsewhere)
    assert (answer.status, answer.headers["Set-Cookie"]) == (200, None)
    assert b'content="0; url=/compare?e=1"' in body
    assert b"static" not in body


@pytest.mark.parametrize("host", ["rebound.example", "lab.example.evil", "localhost@evil", "evil/localhost", ""])
def test_a_wrong_host_is_refused_even_with_the_token(server: Server, host: str) -> None:
    visitor = server.entered()
    for path in ("/", "/healthz", "/_stcore/health"):
        answer, body = visitor.ask("GET", path, Host=host)
        assert answer.status == 400
        assert answer.headers["X-Content-Type-Options"] == "nosniff" or not host
        assert b"LORA_LAB_HOSTS" in body or not host


def test_names_can_be_added(server: Server) -> None:
    visitor = server.entered()
    for host in ("lab.example", "LAB.example:8501", "a.lab.example", f"127.0.0.1:{server.port}"):
        assert visitor.status("/healthz", Host=host) == 200
    # Streamlit looks at the name once more, before it opens its websocket.
    raw = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    origin = {"Host": "lab.example", "Origin": "https://lab.example"}
    assert visitor.status("/_stcore/stream", **raw, **origin) == 101


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://localhost:1", "http://127.0.0.1", "null", "http://localhost.evil"]
)
def test_a_foreign_origin_is_refused_even_with_the_token(server: Server, origin: str) -> None:
    visitor = server.entered()
    with pytest.raises(InvalidStatus, match="403"):
        stream(visitor, origin).close()
    for method, path in (
        ("POST", "/access"),
        ("PUT", "/_stcore/upload_file/s/f"),
        ("DELETE", "/_stcore/upload_file/s/f"),
    ):
        assert visitor.status(path, method, b"token=x", Origin=origin) == 403


def test_bodies_are_bounded(server: Server) -> None:
    visitor = server.entered()
    megabyte = b"0" * 2**20
    assert visitor.status("/access", "POST", b"token=" + b"0" * 5000) == 413
    assert visitor.status("/healthz", "POST", megabyte) == 413
    assert visitor.status("/_stcore/upload_file/s/f", "PUT", None, Content_Length=str(257 * 2**20)) == 413


def test_wrong_tries_are_numbered_also_side_by_side_and_right_ones_get_in(server: Server) -> None:
    link = TOKEN_LINK.search(server.printed())
    assert link
    form = urlencode({"token": "guess", "next": "//evil.example/"}).encode()
    liar = server.visitor(Cookie=f"lora_lab_{server.port}={'0' * 64}")
    tries: list[Callable[[], int]] = [
        lambda: server.visitor().status("/access", "POST", form, **FORM),
        lambda: server.visitor().status("/?token=guess"),
        lambda: server.visitor(Authorization="Bearer guess").status("/healthz"),
        lambda: liar.status("/healthz"),
        # Whoever asks from this machine is no proxy unless it was named.
        lambda: server.visitor(X_Forwarded_For=f"10.0.0.{secrets.randbelow(250)}").status("/?token=guess"),
    ]
    with ThreadPoolExecutor(15) as pool:
        answers = [answer.result() for answer in [pool.submit(ask) for ask in tries * 20]]
    assert set(answers) <= {401, 429}
    assert answers.count(401) <= 10
    answer, body = server.visitor().ask("GET", "/?token=guess", Accept="text/html")
    assert answer.status == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert b"Too many" in body
    assert b"<form" in body
    assert server.entered().status("/healthz") == 200
    assert server.visitor(Authorization=f"Bearer {link[1]}").status("/healthz") == 200


def test_a_named_proxy_says_for_whom_it_asks(tmp_path_factory: pytest.TempPathFactory) -> None:
    token = secrets.token_urlsafe()
    server = start(
        tmp_path_factory.mktemp("proxy"),
        "--server.address",
        "127.0.0.1",
        LORA_LAB_TOKEN=token,
        LORA_LAB_PROXIES="127.0.0.1",
    )
    try:
        for number in range(12):
            visitor = server.visitor(X_Forwarded_For=f"10.0.0.9, 203.0.113.{number}")
            assert visitor.status("/?token=guess") == 401
        secure = server.visitor(X_Forwarded_For="203.0.113.1", X_Forwarded_Proto="https")
        assert "Secure" in secure.ask("GET", f"/?token={token}")[0].headers["Set-Cookie"]
    finally:
        stop_server(server.process)


def test_a_set_token_is_asked_for_on_this_machine_too_and_not_printed(tmp_path_factory: pytest.TempPathFactory) -> None:
    token = "a token & of my own"
    server = start(tmp_path_factory.mktemp("set"), LORA_LAB_TOKEN=token)
    try:
        assert token not in server.printed()
        assert server.visitor().status("/") == 401
        assert server.visitor().status("/?" + urlencode({"token": token})) == 303
    finally:
        stop_server(server.process)
