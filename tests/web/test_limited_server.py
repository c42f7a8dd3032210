"""The server of ``python -m core serve`` knows through whom a request came."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
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


@pytest.mark.parametrize("proxies", ["", "10.0.0.0/8", "127.0.0.1"])
def test_only_a_proxy_that_is_named_may_say_that_a_request_is_from_this_machine(proxies: str) -> None:
    with serving(proxies) as visitor:
        assert visitor.status(OPENAPI) == 200
        for header in ("X_Forwarded_For", "Forwarded", "X_Real_Ip"):  # uvicorn reads the first one only
            for client in ("127.0.0.1", "10.0.0.5", "203.0.113.9", ""):
                is_here = (proxies, header, client) == ("127.0.0.1", "X_Forwarded_For", "127.0.0.1")
                assert visitor.status(OPENAPI, **{header: client}) == (200 if is_here else 403), (header, client)
