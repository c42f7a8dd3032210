"""The server as started by ``streamlit run app.py``: responses, the token and shutdown.

Who is answered, and with which headers, is in ``tests/web/test_every_door.py``.
"""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import REPO, run_server, stop_server
from tests.conftest import HANG
from tests.web.conftest import Visitor

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    server, url = run_server(REPO / "app.py", tmp_path_factory.mktemp("server"), fresh=True)
    yield Visitor(int(url.rpartition(":")[2]))
    stop_server(server)


def test_health_counts_live_runs(visitor: Visitor) -> None:
    answer, body = visitor.ask("GET", "/healthz")
    assert answer.status == 200
    assert json.loads(body) == {"ok": True, "live_runs": 0}


def test_only_this_machine_comes_in_without_a_token(visitor: Visitor) -> None:
    answer, body = visitor.ask("GET", "/healthz", X_Forwarded_For="203.0.113.9")  # as set by a proxy on this machine
    assert answer.status == 403
    assert "LORA_LAB_TOKEN" in json.loads(body)["error"]


def test_a_download_that_is_not_there_is_a_sentence_and_a_path_cannot_leave_the_runs(visitor: Visitor) -> None:
    for path in (
        "r-00000000/adapter.zip",
        "r-00000000/lab.sqlite3",
        "R-00000000/adapter.zip",
        "r-0.0/adapter.zip",
        "lab.sqlite3/adapter.zip",
    ):
        answer, body = visitor.ask("GET", f"/download/{path}")
        assert answer.status == 404, path
        assert re.fullmatch(r".+\.", json.loads(body)["error"]), path
    for path in (
        "r-0%00/adapter.zip",
        "..%2f..%2flab.sqlite3/adapter.zip",
        "r-0/..%2f..%2flab.sqlite3",
        "../../app.py",
    ):
        answer, body = visitor.ask("GET", f"/download/{path}")
        assert answer.status in {400, 404}, path
        assert b"SQLite" not in body
        assert b"import" not in body


def test_plotly_comes_packed_only_to_who_takes_it(visitor: Visitor) -> None:
    packed, body = visitor.ask("GET", "/assets/plotly.min.js", Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "immutable" in packed.headers["Cache-Control"]
    plain, whole = visitor.ask("GET", "/assets/plotly.min.js")
    assert plain.headers["Content-Encoding"] is None
    assert len(body) < len(whole) / 2


def test_a_stalled_download_does_not_keep_the_process_alive(tmp_path: Path) -> None:
    server, url = run_server(REPO / "app.py", tmp_path)
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", urlsplit(url).port))
        for _ in range(4):  # more than the kernel buffers for a client that does not read
            stalled.sendall(b"GET /assets/plotly.min.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert stalled.recv(12) == b"HTTP/1.1 200"
        server.send_signal(signal.SIGTERM)
        try:
            assert server.wait(timeout=HANG) == -signal.SIGTERM
        finally:
            server.kill()
            server.wait()


def test_the_token_link_opens_the_pages(page: Page, tmp_path: Path, console_errors: list[str]) -> None:
    server, url = run_server(REPO / "app.py", tmp_path, {"STREAMLIT_SERVER_ADDRESS": "0.0.0.0"})
    try:
        refused = page.goto(f"{url}/pretrain")
        assert refused is not None
        assert refused.status == 401
        expect(page.get_by_label("Token")).to_be_focused()
        console_errors.clear()  # the browser reports the 401

        link = re.search(r"http://localhost:\d+/\?token=\S+", (tmp_path / "server.log").read_text())
        assert link
        # Opened from another site, as from an email: neither the request nor its redirect sends a strict cookie.
        page.goto(f"data:text/html,<a href={quote(link[0].replace('/?', '/pretrain?'))}>lab</a>")
        page.get_by_role("link").click()
        expect(page.get_by_role("heading", name="Library", exact=True)).to_be_visible()
        assert "token" not in page.url
        (cookie,) = [cookie for cookie in page.context.cookies() if cookie["name"].startswith("lora_lab")]
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"

        page.get_by_text("Preview images").click()
        picture = page.get_by_test_id("stImage").get_by_role("img").first
        expect(picture).to_be_visible()
        address = str(picture.get_attribute("src"))
        assert address.startswith("data:image/png;base64,"), "a file of its own may be gone before it is asked for"
        assert console_errors == []
    finally:
        stop_server(server)
