"""Every way into a real server, tried by everybody who has no business there, and by one who has."""

from __future__ import annotations

import http.client
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from core.lab import Lab
from core.run_spec import RunSpec
from core.settings import Settings
from core.web.answers import SECURITY_HEADERS
from tests.conftest import DIGITS, finish, short
from tests.web.clients import against_forgery, drawn_page, put
from tests.web.conftest import Server, Visitor, start

HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
FORM = {"Content_Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
HEALTH = "/_stcore/health"
"""What anybody may ask."""


@dataclass(frozen=True)
class House:
    """A server on all addresses with a finished run."""

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
            ("GET", "/access"),
            ("GET", "/_stcore/host-config"),
            ("GET", "/_stcore/metrics"),
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
    with closing(Lab(Settings(folder / "home"))) as lab:
        lab.start()
        (run,) = finish(lab, lab.launcher.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short())).id)
    with start(folder, "--server.address", "0.0.0.0", LORA_LAB_HOSTS="lab.example, *.lab.example") as server:
        guest = server.entered()
        asset = re.findall(r'"\./(static/js/[^"]+\.js)"', guest.ask("GET", "/")[1].decode())[0]
        with drawn_page(guest) as session:
            yield House(server, guest, session, run.id, asset)


@pytest.fixture(scope="module")
def server(house: House) -> Server:
    return house.server


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
    assert house.guest.ask("GET", "/media/0123.png")[1] == b"File not found"


def test_a_program_with_the_token_is_answered(house: House) -> None:
    body = json.dumps({"base": house.run, "rows": [{"pixels": [0.5] * 784}] * 2}).encode()
    answer, found = house.server.visitor(Authorization=f"Bearer {house.server.token}").ask("POST", "/api/predict", body)
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
        assert answer.status == 401, (method, path)
        assert is_guarded(answer), (method, path)
        assert method == "HEAD" or "token" in json.loads(body)["error"], (method, path)
        assert len(body) < 1000, (method, path)  # the sentence, and nothing of what was asked for


@pytest.mark.parametrize(
    "host",
    [
        *("rebound.example", "localhost.evil.example", "lab.example.evil", "10.99.99.99", "localhost:80:80"),
        *("localhost@evil", "evil/localhost", ""),
    ],
)
def test_with_a_wrong_host_nothing_is_given_or_taken(house: House, host: str) -> None:
    for visitor in (house.guest, house.server.visitor()):
        for method, path in [*house.doors(), ("GET", HEALTH)]:
            answer, body = house.ask(visitor, method, path, Host=host)
            assert answer.status == 400, (method, path)
            # An empty name is refused by the HTTP parser itself, before there is a request.
            assert (is_guarded(answer) and (method == "HEAD" or b"LORA_LAB_HOSTS" in body)) or not host, (method, path)
            assert len(body) < 1000, (method, path)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://localhost:1", "http://127.0.0.1", "http://localhost.evil", "null", "file://"],
)
def test_with_a_foreign_origin_nothing_is_given_or_taken(house: House, origin: str) -> None:
    for method, path in [*house.doors(), ("POST", "/access")]:
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
    too_large = [
        house.guest.ask("POST", "/access", b"token=" + b"0" * 5000),
        house.guest.ask("POST", "/healthz", bytes(2**20)),
        house.guest.ask("PUT", "/_stcore/upload_file/s/f", None, Content_Length=str(257 * 2**20)),
    ]
    assert [answer.status for answer, _ in too_large] == [413] * len(too_large)
    asked = [
        house.guest.ask("PUT", "/_stcore/upload_file/nobody/f", b"x"),
        house.guest.ask("GET", "/download/..%2f..%2flab.sqlite3/adapter.zip"),
        house.guest.ask("GET", "/%00"),
        house.guest.ask("GET", "/static/%2e%2e/%2e%2e/app.py"),
    ]
    for answer, body in [*too_large, *asked]:
        assert answer.status >= 400 or b"<!doctype html>" in body.lower()
        assert is_guarded(answer)
        assert b"import" not in body


def test_a_probe_sees_health_and_nothing_else(server: Server) -> None:
    answer, body = server.visitor().ask("GET", HEALTH)
    assert (answer.status, body) == (200, b"ok")
    for path in ("/_stcore/health/", "//_stcore/health", "/_stcore/health/../../healthz", "/_stcore/healthz"):
        assert server.visitor().status(path) == 401


def test_the_cookie_is_out_of_reach_and_does_not_tell_the_token(server: Server) -> None:
    answer, _ = server.visitor().ask("GET", f"/runs?state=failed&token={server.token}&x=%26")
    assert answer.headers["Location"] == "/runs?state=failed&x=%26"
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert server.token not in cookie
    assert server.visitor(Cookie=f"lora_lab_{server.port}={server.token}").status("/healthz") == 401


def test_the_form_lets_in_and_leads_on(server: Server) -> None:
    answer, body = server.visitor().ask("GET", '/runs?q="><script>', Accept="text/html")
    assert (answer.status, answer.headers["Content-Type"]) == (401, "text/html; charset=utf-8")
    assert b"<form" in body
    assert b"<script" not in body
    form = urlencode({"token": server.token, "next": "/runs?state=failed"}).encode()
    answer, _ = server.visitor().ask("POST", "/access", form, Origin=f"http://127.0.0.1:{server.port}", **FORM)
    assert (answer.status, answer.headers["Location"]) == (303, "/runs?state=failed")
    entered = server.visitor(Cookie=answer.headers["Set-Cookie"].partition(";")[0])
    assert entered.status("/healthz") == 200
    assert server.visitor(Authorization=f"Bearer {server.token}").status("/healthz") == 200


def test_a_link_on_another_site_begins_again_here(server: Server) -> None:
    elsewhere = {
        "Accept": "text/html",
        "Sec_Fetch_Site": "cross-site",
        "Sec_Fetch_Dest": "document",
        "Sec_Fetch_Mode": "navigate",
    }
    answer, body = server.visitor().ask("GET", f"/runs?token={server.token}", **elsewhere)
    assert answer.status == 200
    assert "Set-Cookie" in answer.headers
    assert b'content="0; url=/runs"' in body
    answer, body = server.visitor().ask("GET", "/compare?e=1", **elsewhere)
    assert (answer.status, answer.headers["Set-Cookie"]) == (200, None)
    assert b'content="0; url=/compare?e=1"' in body
    assert b"static" not in body


def test_names_can_be_added(server: Server) -> None:
    visitor = server.entered()
    for host in ("lab.example", "LAB.example:8501", "a.lab.example", f"127.0.0.1:{server.port}"):
        assert visitor.status("/healthz", Host=host) == 200
    # Streamlit looks at the name once more, before it opens its websocket.
    origin = {"Host": "lab.example", "Origin": "https://lab.example"}
    assert visitor.status("/_stcore/stream", **HANDSHAKE, **origin) == 101


def test_refused_websockets_leave_nothing_in_the_log(house: House) -> None:
    """Anybody can ask for one, as often as they like."""
    before = house.server.printed()
    stranger = house.server.visitor()
    assert stranger.status("/_stcore/stream", **HANDSHAKE) == 401
    assert stranger.status("/_stcore/stream", **HANDSHAKE, Host="rebound.example") == 400
    assert house.guest.status("/_stcore/stream", **HANDSHAKE, Origin="https://evil.example") == 403
    assert house.server.printed() == before


def test_a_named_proxy_says_for_whom_it_asks(tmp_path: Path) -> None:
    token = secrets.token_urlsafe()
    own = {"LORA_LAB_TOKEN": token, "LORA_LAB_PROXIES": "127.0.0.1"}
    with start(tmp_path, "--server.address", "127.0.0.1", **own) as server:
        for number in range(12):
            visitor = server.visitor(X_Forwarded_For=f"10.0.0.9, 203.0.113.{number}")
            assert visitor.status("/?token=guess") == 401
        secure = server.visitor(X_Forwarded_For="203.0.113.1", X_Forwarded_Proto="https")
        assert "Secure" in secure.ask("GET", f"/?token={token}")[0].headers["Set-Cookie"]


def test_a_set_token_is_asked_for_on_this_machine_too_and_not_printed(tmp_path: Path) -> None:
    token = "a token & of my own"
    with start(tmp_path, LORA_LAB_TOKEN=token) as server:
        assert token not in server.printed()
        assert server.visitor().status("/") == 401
        assert server.visitor().status("/?" + urlencode({"token": token})) == 303
