"""The server of ``python -m core serve`` knows through whom a request came."""

from __future__ import annotations

import threading

import uvicorn

from core.cli.serve import LOCAL_NAMES, application
from core.web.access import Access
from core.web.predict import OPENAPI
from core.web.server import ANSWER_SECONDS, LimitedServer
from tests.browser.conftest import free_port
from tests.conftest import wait_until
from tests.web.conftest import Visitor


def test_a_request_through_a_named_proxy_is_from_where_the_proxy_says() -> None:
    access = Access.decide("127.0.0.1", {"LORA_LAB_PROXIES": "127.0.0.1"}, LOCAL_NAMES)
    port = free_port()
    config = uvicorn.Config(application(access, port), port=port, log_level="warning", proxy_headers=False)
    server = LimitedServer(config, access.proxies)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        visitor = Visitor(port)
        assert visitor.status(OPENAPI) == 200
        assert visitor.status(OPENAPI, X_Forwarded_For="127.0.0.1") == 200
        assert visitor.status(OPENAPI, X_Forwarded_For="10.0.0.5") == 403
    finally:
        server.should_exit = True
        thread.join()
    assert config.timeout_graceful_shutdown == ANSWER_SECONDS
