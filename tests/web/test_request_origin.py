"""Hosts, origins, proxies and what only this machine reaches, one check after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from core.cli.serve import LOCAL_NAMES, application
from core.errors import AccessError
from core.web.answers import SECURITY_HEADERS, SecurityHeaders, server_error
from core.web.guard import Access, trusted_proxies
from core.web.predict import OPENAPI
from core.web.request_checks import Hosts, LocalOnly, Origins, host_name, is_allowed
from core.web.server import ANSWER_SECONDS, limit
from tests.browser.conftest import free_port
from tests.conftest import wait_until
from tests.web.asking import ask, inside
from tests.web.conftest import Visitor


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8501", "localhost"),
        ("lab.example.", "lab.example"),
        ("[::1]:8501", "::1"),
        ("", None),
        ("a@b", None),
        ("a/b", None),
        ("a?b", None),
        ("a:b", None),
        ("a:99999", None),
        ("[::1", None),
        ("a b", "a b"),
        (":8501", None),
        ("a#b", None),
        ("a\\b", "a\\b"),
    ],
)
def test_a_host_header_is_read_or_refused(host: str, name: str | None) -> None:
    assert host_name(host) == name
    if name not in {"localhost", "::1"}:
        assert ask(Hosts(inside, ["localhost", "::1"]), Host=host)[0] == 400


@given(st.text(max_size=40))
def test_no_host_but_its_own_is_answered(host: str) -> None:
    name = host_name(host)
    assert name is None or not is_allowed(name, ["localhost"]) or name == "localhost"


def test_a_pattern_takes_names_below_it_and_not_beside_it() -> None:
    assert is_allowed("a.lab.example", ["*.lab.example"])
    assert not is_allowed("lab.example", ["*.lab.example"])
    assert not is_allowed("evillab.example", ["*.lab.example", "lab.example"])
    assert is_allowed("anything", ["*"])


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_only_this_machine_comes_in_without_token(kind: str) -> None:
    door = LocalOnly(inside)
    assert ask(door, kind=kind, client=("127.0.0.1", 1))[0] == 200
    for client in (("10.0.0.9", 1), ("::ffff:10.0.0.9", 1), None, ("", 0)):
        assert ask(door, kind=kind, client=client)[0] == 403


def test_a_page_of_another_site_may_be_followed_by_link_and_no_more() -> None:
    door = Origins(inside, ["https://portal.example/"])
    for origin in ("http://localhost", "https://localhost", "https://portal.example"):
        assert ask(door, kind="websocket", Origin=origin)[0] == 200
        assert ask(door, method="POST", Origin=origin)[0] == 200
    for origin in ("http://localhost:81", "https://evil.example", "null", "", "http://portal.example", "localhost"):
        assert ask(door, kind="websocket", Origin=origin)[0] == 403
        assert ask(door, method="DELETE", Origin=origin)[0] == 403
        assert ask(door, Origin=origin)[0] == 403
    assert ask(door, method="POST")[0] == 200
    for site in ("same-site", "cross-site"):
        assert ask(door, method="POST", Sec_Fetch_Site=site)[0] == 403
        assert ask(door, method="POST", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")[0] == 403
        assert ask(door, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")[0] == 200
        for mode in ("no-cors", "cors", "same-origin", "websocket", ""):
            assert ask(door, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode)[0] == 403
    assert ask(door, Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="no-cors")[0] == 200
    assert ask(door, Sec_Fetch_Site="none", Sec_Fetch_Mode="navigate")[0] == 200


def test_proxies_are_those_that_are_named() -> None:
    assert trusted_proxies(" ,") == ()
    named = uvicorn.Config(inside)
    limit(named, trusted_proxies("127.0.0.1, 10.0.0.0/8,fd00::/8,"))
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "10.9.8.7", "::ffff:10.9.8.7", "fd00::5"):
        assert address in named.loaded_app.trusted_hosts
    for address in ("127.0.0.2", "11.0.0.1", "::ffff:11.0.0.1", "::1", "", None, "proxy"):
        assert address not in named.loaded_app.trusted_hosts
    for bad in ("*", "proxy", "10.0.0.1/8", "127.0.0.1;10.0.0.1", "300.1.1.1"):
        with pytest.raises(AccessError, match="LORA_LAB_PROXIES must be"):
            Access.decide("127.0.0.1", {"LORA_LAB_PROXIES": bad})


@contextmanager
def serving(proxies: str) -> Iterator[Visitor]:
    """A visitor of the server of ``python -m core serve`` that trusts these proxies."""
    access = Access.decide("127.0.0.1", {"LORA_LAB_PROXIES": proxies}, LOCAL_NAMES)
    port = free_port()
    config = uvicorn.Config(application(access, port), port=port, log_level="warning")
    limit(config, access.proxies)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield Visitor(port)
    finally:
        server.should_exit = True
        thread.join()
    assert config.timeout_graceful_shutdown == ANSWER_SECONDS


@pytest.mark.parametrize("proxies", ["", "10.0.0.0/8", "127.0.0.1"])
def test_only_a_proxy_that_is_named_may_say_that_a_request_is_from_this_machine(proxies: str) -> None:
    with serving(proxies) as visitor:
        assert visitor.status(OPENAPI) == 200
        for header in ("X_Forwarded_For", "Forwarded", "X_Real_Ip"):  # uvicorn reads the first one only
            for client in ("127.0.0.1", "10.0.0.5", "203.0.113.9", ""):
                is_here = (proxies, header, client) == ("127.0.0.1", "X_Forwarded_For", "127.0.0.1")
                assert visitor.status(OPENAPI, **{header: client}) == (200 if is_here else 403), (header, client)


def test_a_failing_route_tells_nothing_and_keeps_the_headers() -> None:
    def fail(_: Request) -> Response:
        raise RuntimeError("a secret path")

    app = Starlette(
        routes=[Route("/", fail)],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={Exception: server_error},
    )

    async def logged(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(RuntimeError, match="secret"):
            await app(scope, receive, send)

    status, body, headers = ask(logged)
    assert status == 500
    assert "secret" not in body
    assert headers.items() >= SECURITY_HEADERS.items()
