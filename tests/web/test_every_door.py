"""Every way into a real server, tried by everybody who has no business there, and by one who has."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from core.web.answers import SECURITY_HEADERS
from tests.browser.conftest import stop_server
from tests.web.clients import against_forgery, drawn_page, put
from tests.web.conftest import TOKEN_LINK, Server, Visitor, home_with_a_run, start

HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@dataclass(frozen=True)
class House:
    server: Server
    guest: Visitor
    """One who has shown the token."""
    session: str
    """Of a page that the guest has open."""
    run: str
    asset: str
    """Path of a script of the pages."""

    def doors(self) -> list[tuple[str, str]]:
        """Method and path of everything that the server has to give or take."""
        return [
            ("GET", "/"),
            ("HEAD", "/"),
            ("GET", "/runs"),
            ("GET", "/data"),
            ("GET", "/runs/r-0a1b2c3d"),
            ("GET", "/learn/nothing"),
            ("GET", f"/{self.asset}"),
            ("GET", "/healthz"),
            ("GET", "/assets/plotly.min.js"),
            ("GET", "/_stcore/host-config"),
            ("GET", "/media/0123.png"),
            ("GET", f"/download/{self.run}/network.safetensors"),
            ("GET", f"/download/{self.run}/none.zip"),
            ("GET", "/download/page/guessed/table"),
            ("GET", "/api/adapters"),
            ("GET", "/api/openapi.json"),
            ("POST", "/api/predict"),
            ("GET", "/nothing/here"),
            ("POST", "/nothing/here"),
            ("PUT", f"/_stcore/upload_file/{self.session}/f"),
            ("DELETE", f"/_stcore/upload_file/{self.session}/f"),
            ("OPTIONS", f"/_stcore/upload_file/{self.session}/f"),
            ("GET", "/_stcore/stream"),
        ]

    def ask(self, visitor: Visitor, method: str, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        if path == "/_stcore/stream":
            return visitor.ask("GET", path, **HANDSHAKE | headers)
        if method == "PUT":
            return put(self.server, visitor, self.session, **headers)
        own = against_forgery(self.server, visitor) if method == "DELETE" else {}
        return visitor.ask(method, path, **own | headers)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("doors")
    run = home_with_a_run(folder / "home")
    server = start(folder, "--server.address", "0.0.0.0")
    try:
        guest = server.entered()
        asset = re.findall(r'"\./(static/js/[^"]+\.js)"', guest.ask("GET", "/")[1].decode())[0]
        with drawn_page(guest) as session:
            yield House(server, guest, session, run, asset)
    finally:
        stop_server(server.process)


def is_guarded(answer: http.client.HTTPResponse) -> bool:
    return {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS


def test_the_guest_gets_all_of_it_with_the_security_headers(house: House) -> None:
    expected = {
        "/api/predict": {400},  # without a body
        "/nothing/here": {200, 405},
        "/runs/r-0a1b2c3d": {302},
        "/learn/nothing": {404},
        f"/download/{house.run}/none.zip": {404},
        "/download/page/guessed/table": {404},
        "/media/0123.png": {404},
        "/_stcore/stream": {101},
    }
    for method, path in house.doors():
        answer, _ = house.ask(house.guest, method, path)
        assert answer.status in expected.get(path, {200, 204}), (method, path)
        assert is_guarded(answer) or answer.status == 101, (method, path)


def test_a_program_with_the_token_is_answered(house: House) -> None:
    link = TOKEN_LINK.search(house.server.printed())
    assert link
    body = json.dumps({"base": house.run, "rows": [{"pixels": [0.5] * 784}] * 2}).encode()
    answer, found = house.server.visitor(Authorization=f"Bearer {link[1]}").ask("POST", "/api/predict", body)
    assert answer.status == 200
    assert len(json.loads(found)["predictions"]) == 2
    assert house.server.visitor().status("/api/predict", "POST", body) == 401


@pytest.mark.parametrize("who", ["nobody", "one with a made-up cookie", "one with the cookie of another server"])
def test_without_the_token_there_is_no_page_no_websocket_no_upload_no_download(house: House, who: str) -> None:
    cookie = {
        "nobody": {},
        "one with a made-up cookie": {"Cookie": f"lora_lab_{house.server.port}={'0' * 64}"},
        "one with the cookie of another server": {"Cookie": f"lora_lab_1={'0' * 64}; lora_lab={'0' * 64}"},
    }[who]
    for method, path in house.doors():
        answer, body = house.ask(house.server.visitor(**cookie), method, path)
        # Ten wrong cookies a minute are judged; then it is said at once.
        assert answer.status in ({401, 429} if "made-up" in who else {401}), (method, path)
        assert is_guarded(answer), (method, path)
        assert b"SQLite" not in body
        assert len(body) < 1000, (method, path)  # the sentence, and nothing of what was asked for


@pytest.mark.parametrize("host", ["rebound.example", "localhost.evil.example", "10.99.99.99", "localhost:80:80", ""])
def test_with_a_wrong_host_nothing_is_given_or_taken(house: House, host: str) -> None:
    for visitor in (house.guest, house.server.visitor()):
        for method, path in house.doors():
            answer, body = house.ask(visitor, method, path, Host=host)
            assert answer.status == 400, (method, path)
            # An empty name is refused by the HTTP parser itself, before there is a request.
            assert is_guarded(answer) or not host, (method, path)
            assert len(body) < 1000, (method, path)


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:1", "null", "file://"])
def test_with_a_foreign_origin_nothing_is_given_or_taken(house: House, origin: str) -> None:
    for method, path in house.doors():
        answer, body = house.ask(house.guest, method, path, Origin=origin)
        assert answer.status == 403, (method, path)
        assert is_guarded(answer), (method, path)
        assert answer.headers["Access-Control-Allow-Origin"] is None
        assert len(body) < 1000, (method, path)


def test_what_a_page_of_another_site_embeds_is_refused_and_a_link_is_not(house: House) -> None:
    own = {"Sec_Fetch_Site": "cross-site"}
    for method, path in house.doors():
        answer, _ = house.ask(house.guest, method, path, Sec_Fetch_Mode="no-cors", **own)
        assert answer.status == 403, (method, path)
    for path in ("/", "/runs", f"/download/{house.run}/network.safetensors"):
        assert house.guest.status(path, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document", **own) == 200


def test_every_cookie_stays_on_this_site(house: House) -> None:
    for path in ("/", "/_stcore/health", "/healthz"):
        for cookie in house.guest.ask("GET", path)[0].headers.get_all("Set-Cookie") or []:
            assert re.search("samesite=(strict|lax)", cookie, re.IGNORECASE), cookie


def test_answers_of_the_doors_carry_the_headers_too(house: House) -> None:
    asked = [
        house.guest.ask("POST", "/access", b"0" * 5000),
        house.guest.ask("PUT", "/_stcore/upload_file/s/f", None, Content_Length=str(10**10)),
        house.guest.ask("PUT", "/_stcore/upload_file/nobody/f", b"x"),
        house.guest.ask("GET", "/download/..%2f..%2flab.sqlite3/adapter.zip"),
        house.guest.ask("GET", "/%00"),
        house.guest.ask("GET", "/static/%2e%2e/%2e%2e/app.py"),
    ]
    for answer, body in asked:
        assert answer.status >= 400 or b"<!doctype html>" in body.lower()
        assert is_guarded(answer)
        assert b"import" not in body
