"""The server of ``python -m core serve`` knows through whom a request came."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from core.cli.serve import LOCAL_NAMES, application
from core.web.access import Access
from core.web.predict import OPENAPI
from core.web.server import ANSWER_SECONDS, LimitedServer
from tests.browser.conftest import free_port
from tests.conftest import wait_until
from tests.web.conftest import Visitor


@contextmanager
def serving(proxies: str) -> Iterator[Visitor]:
    """A visitor of a server that trusts these proxies."""
    access = Access.decide("127.0.0.1", {"LORA_LAB_PROXIES": proxies}, LOCAL_NAMES)
    port = free_port()
    config = uvicorn.Config(application(access, port), port=port, log_level="warning", proxy_headers=False)
    server = LimitedServer(config, access.proxies)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield Visitor(port)
    finally:
        server.should_exit = True
        thread.join()
    assert config.timeout_graceful_shutdown == ANSWER_SECONDS


def test_a_request_through_a_named_proxy_is_from_where_the_proxy_says() -> None:
    with serving("127.0.0.1") as visitor:
        assert visitor.status(OPENAPI) == 200
        assert visitor.status(OPENAPI, X_Forwarded_For="127.0.0.1") == 200
        assert visitor.status(OPENAPI, X_Forwarded_For="10.0.0.5") == 403
        # Without this header nothing says that the visitor of the proxy is on this machine.
        assert visitor.status(OPENAPI, X_Real_Ip="203.0.113.9") == 403
        assert visitor.status(OPENAPI, Forwarded="for=203.0.113.9") == 403
        assert visitor.status(OPENAPI, X_Forwarded_For="") == 403


def test_a_request_through_a_proxy_that_is_not_named_is_refused_where_others_are() -> None:
    with serving("10.0.0.0/8") as visitor:
        assert visitor.status(OPENAPI) == 200
        for client in ("203.0.113.9", "127.0.0.1", ""):
            assert visitor.status(OPENAPI, X_Forwarded_For=client) == 403
