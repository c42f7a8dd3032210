"""The doors one by one, asked as a server asks them."""

from __future__ import annotations

import asyncio
import secrets
import string
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import AccessError
from core.web import bodies, token_strength
from core.web.access import Access
from core.web.answers import server_error
from core.web.attempts import Attempts
from core.web.bodies import FORM_BYTES, FRAME_BYTES, BodyLimit
from core.web.doors import Hosts, LocalOnly, Origins, host_name, is_allowed, is_loopback
from core.web.guard import Guard, Key
from core.web.headers import SECURITY_HEADERS, SecurityHeaders
from core.web.peers import Proxies
from tests.web.loop import complete

TOKEN = "a-token-of-my-own"
KEY = Key(TOKEN)
LOCAL = ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "::ffff:127.0.0.1"]
ELSEWHERE = [
    "",
    None,
    "0.0.0.0",
    "::",
    "10.0.0.5",
    "192.168.1.4",
    "lab.example",
    "localhost.example",
    "::ffff:10.0.0.5",
]


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    """What the doors protect; it reads all that it is sent."""
    text = "inside"
    if scope["type"] == "http":
        text += f" {len(await Request(scope, receive).body())}"
    await PlainTextResponse(text)(scope, receive, send)


def ask(
    app: ASGIApp,
    path: str = "/",
    method: str = "GET",
    kind: str = "http",
    chunks: Iterable[bytes] = (b"",),
    **scope: Any,
) -> tuple[int, str, dict[str, str]]:
    """The status, body and headers of one answer; keywords in capitals are headers."""
    headers = {name.lower().replace("_", "-"): value for name, value in scope.items() if name[0].isupper()}
    path, _, query = path.partition("?")
    fields: Scope = {
        "type": kind,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()],
        "client": scope.get("client", ("127.0.0.1", 50000)),
        "scheme": scope.get("scheme", "http"),
        "extensions": {"websocket.http.response": {}} if scope.get("denial", True) else {},
    }
    bodies = list(chunks)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": bodies.pop(0), "more_body": bool(bodies)}

    async def send(message: Message) -> None:
        sent.append(message)

    complete(app(fields, receive, send))  # type: ignore[arg-type]
    if sent[0]["type"] == "websocket.close":
        return sent[0]["code"], "", {}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], body.decode(), {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@pytest.mark.parametrize("address", LOCAL)
def test_on_this_machine_nobody_is_asked(address: str) -> None:
    access = Access.decide(address, {}, ["localhost"])
    assert access.is_open
    access.check_address(address)
    assert "token" not in access.announcement("http", 8501)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_beyond_this_machine_there_is_a_token_or_a_login(address: str | None) -> None:
    made = [Access.decide(address, {}, ["localhost"]) for _ in range(2)]
    assert made[0].token != made[1].token
    assert all(len(access.token or "") >= 43 and not access.is_open for access in made)
    assert f"/lab/?token={made[0].token}" in made[0].announcement("http", 8501, "/lab")
    own = Access.decide(address, {"LORA_LAB_TOKEN": TOKEN})
    assert own.token == TOKEN
    assert TOKEN not in own.announcement("http", 8501)
    assert Access.decide(address, {}, login=True).token is None
    with pytest.raises(AccessError, match="LORA_LAB_TOKEN"):
        Access.decide("127.0.0.1", {}).check_address(address)


@pytest.mark.parametrize("token", ["x", "fifteen-letters", "x" * 257, "a token\nof two lines", "ein Schlüssel von mir"])
def test_a_token_that_cannot_serve_is_refused(token: str) -> None:
    with pytest.raises(AccessError, match="16 to 256"):
        Access.decide("127.0.0.1", {"LORA_LAB_TOKEN": token})


def test_an_empty_token_is_none() -> None:
    assert Access.decide("0.0.0.0", {"LORA_LAB_TOKEN": ""}).made


def test_the_hosts_are_those_told_and_where_it_listens() -> None:
    environment = {"LORA_LAB_HOSTS": " Lab.example ,,[fd00::1]"}
    assert Access.decide("10.0.0.5", environment, ["localhost"]).hosts == (
        "localhost",
        "lab.example",
        "fd00::1",
        "10.0.0.5",
    )


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
        assert ask(door, kind="websocket", Origin=origin, denial=False)[0] == 1008
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


@pytest.mark.parametrize(
    ("path", "limit"), [("/access", FORM_BYTES), ("/up/s/f", 1000 + FRAME_BYTES), ("/up", FORM_BYTES)]
)
def test_a_body_is_bounded_with_and_without_a_length(path: str, limit: int) -> None:
    door = BodyLimit(inside, "/up/", 1000)
    assert ask(door, path, "PUT", chunks=[b"0" * limit])[:2] == (200, f"inside {limit}")
    assert ask(door, path, "PUT", chunks=[b"0" * limit, b"0"])[0] == 413
    assert ask(door, path, "PUT", Content_Length=str(limit + 1))[0] == 413
    assert ask(door, path, "PUT", Content_Length="-1")[0] == 413


def test_all_uploads_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_HELD", 1500)
    held = 0
    door = BodyLimit(inside, "/up/", 1000, lambda: held)
    assert ask(door, "/up/s/f", "PUT", Content_Length="900")[0] == 200
    held = 700
    status, body, headers = ask(door, "/up/s/f", "PUT", Content_Length="900")
    assert (status, "close some pages" in body, headers["retry-after"]) == (503, True, "60")
    assert ask(door, "/up/s/f", "DELETE")[0] == 200
    assert ask(door, "/")[0] == 200
    assert ask(door, "/up/s/f", "PUT", Content_Length="800", chunks=[b"0" * 800])[0] == 200
    assert door.reserved == 0


def test_what_is_declared_counts_as_held_before_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty uploads of 48 MiB that begin at once: as many are taken as fit."""
    size = 48 * 2**20
    monkeypatch.setattr(bodies, "MAX_HELD", 512 * 2**20)
    seen: list[int] = []

    async def nested(scope: Scope, receive: Receive, send: Send) -> None:
        if len(seen) < 30:  # nothing of this body has come when the next begins
            seen.append(0)
            number = len(seen)
            seen[number - 1] = ask(door, "/up/s/g", "PUT", Content_Length=str(size))[0]
        await PlainTextResponse("inside")(scope, receive, send)

    door = BodyLimit(nested, "/up/", size)
    assert ask(door, "/up/s/f", "PUT", Content_Length=str(size))[0] == 200
    assert (len(seen), seen.count(503)) == (10, 1)
    assert door.reserved == 0


def test_a_body_in_chunks_reserves_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_HELD", 1000 + FRAME_BYTES + 100)
    seen: list[int] = []

    async def nested(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(
            ask(BodyLimit(inside, "/up/", 1000, lambda: door.reserved), "/up/s/g", "PUT", Content_Length="101")[0]
        )
        await PlainTextResponse("inside")(scope, receive, send)

    door = BodyLimit(nested, "/up/", 1000)
    assert ask(door, "/up/s/f", "PUT", Transfer_Encoding="chunked")[0] == 200
    assert seen == [503]


@pytest.mark.parametrize("error", [ClientDisconnect, RuntimeError, asyncio.CancelledError])
def test_what_was_reserved_is_free_again_however_the_upload_ends(error: type[BaseException]) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        assert door.reserved == 900
        raise error

    door = BodyLimit(failing, "/up/", 1000)
    with suppress(error, IndexError):  # nothing was sent, where the client is gone
        ask(door, "/up/s/f", "PUT", Content_Length="900")
    assert door.reserved == 0


def test_wrong_tries_are_counted_by_peer_and_forgotten() -> None:
    now = [0.0]
    attempts = Attempts(per_peer=2, max_peers=3, seconds=60, clock=lambda: now[0])
    assert attempts.wrong("10.0.0.1") == 0
    now[0] = 10
    assert attempts.wrong("::ffff:10.0.0.1") == 0  # the same, as a socket for both kinds shows it
    assert attempts.wrong("10.0.0.1") == 50
    assert attempts.wrong("10.0.0.2") == 0
    now[0] = 61
    assert attempts.wrong("10.0.0.1") == 0
    for number in range(100):
        attempts.wrong(f"10.0.1.{number}")
    assert len(attempts) == 3


def test_a_household_of_ipv6_is_one_peer() -> None:
    attempts = Attempts(per_peer=2)
    assert [attempts.wrong(f"2001:db8:1:2::{number}") > 0 for number in range(1, 4)] == [False, False, True]
    assert attempts.wrong("2001:db8:1:3::1") == 0


def test_wrong_ones_of_many_never_keep_a_right_one_out() -> None:
    guard = Guard(inside, KEY)
    for number in range(300):
        assert ask(guard, "/?token=guess", client=(f"10.0.{number // 250}.{number % 250}", 1))[0] == 401
    for client in (("10.9.9.9", 1), ("10.0.0.0", 1)):
        assert ask(guard, f"/?token={TOKEN}", client=client)[0] == 303


CREDENTIALS: dict[str, dict[str, str]] = {
    "a cookie": {"path": "/", "Cookie": f"{KEY.name}={'0' * 64}"},
    "a cookie of a websocket": {"path": "/_stcore/stream", "kind": "websocket", "Cookie": f"{KEY.name}=x"},
    "a cookie of a link elsewhere": {
        "path": "/",
        "Cookie": f"{KEY.name}=x",
        "Sec_Fetch_Site": "cross-site",
        "Sec_Fetch_Dest": "document",
    },
    "a header": {"path": "/healthz", "Authorization": "Bearer guess"},
    "a link": {"path": "/?token=guess"},
}


@pytest.mark.parametrize("kind", [*CREDENTIALS, "a form"])
def test_every_wrong_credential_counts_and_a_right_one_is_let_in_at_once(kind: str) -> None:
    guard = Guard(inside, KEY, attempts=Attempts(per_peer=5))
    wrong: dict[str, Any] = dict(CREDENTIALS.get(kind, {"path": "/access", "method": "POST"}))
    if kind == "a form":
        wrong["chunks"] = [b"token=guess"]
    assert [ask(guard, **wrong)[0] for _ in range(7)] == [401] * 5 + [429] * 2
    status, body, headers = ask(guard, **wrong | {"Accept": "text/html"})
    assert (status, int(headers["retry-after"]) <= 60) == (429, True)
    assert "<form" in body or wrong.get("kind") == "websocket"
    right: list[dict[str, Any]] = [
        {"path": "/", "Cookie": f"{KEY.name}={KEY.cookie}"},
        {"path": "/", "Authorization": f"Bearer {TOKEN}"},
        {"path": "/", "Authorization": f"Bearer {TOKEN}", "Cookie": f"{KEY.name}=old"},
        {"path": f"/?token={TOKEN}"},
        {"path": f"/?token={TOKEN}", "Cookie": f"{KEY.name}=old"},
        {"path": "/access", "method": "POST", "chunks": [f"token={TOKEN}".encode()]},
    ]
    assert [ask(guard, **one)[0] for one in right] == [200, 200, 200, 303, 303, 303]
    assert ask(guard, "/")[0] == 401  # who shows nothing tries nothing


def test_two_wrong_ones_in_one_request_are_two() -> None:
    guard = Guard(inside, KEY, attempts=Attempts(per_peer=5))
    both = {"Cookie": f"{KEY.name}=x", "Authorization": "Bearer guess"}
    assert [ask(guard, **both)[0] for _ in range(3)] == [401, 401, 429]


WEAK = [
    "aaaaaaaaaaaaaaaa",
    "passwordpassword",
    "1234567890123456",
    "qwertyuiopasdfgh",
    "abcdefghijklmnop",
    "hunter2hunter2hunter2",
    "letmein" * 20,
    "2026-11-25-2026-11-25",
    "loralabloralablora",
    "ab" * 128,
]


@pytest.mark.parametrize("token", WEAK)
def test_a_weak_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(AccessError, match="easy to guess") as caught:
        Access.decide("127.0.0.1", {"LORA_LAB_TOKEN": token})
    assert token not in str(caught.value)
    assert "secrets.token_urlsafe()" in str(caught.value)


def test_a_random_token_is_taken() -> None:
    for length in (16, 24, 43, 256):
        token = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))
        assert Access.decide("127.0.0.1", {"LORA_LAB_TOKEN": token}).token == token


def test_only_so_much_of_a_token_is_judged_as_can_be_judged_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []

    def note(text: str) -> dict[str, float]:
        judged.append(text)
        return {"guesses": 1e20}

    monkeypatch.setattr(token_strength, "zxcvbn", note)
    assert not token_strength.is_weak("@4({[<6931!|7$500%2" * 13)
    assert [len(text) for text in judged] == [token_strength.JUDGED]


def test_proxies_are_those_that_are_named() -> None:
    assert not Proxies.from_environment({})
    assert not Proxies.from_environment({"LORA_LAB_PROXIES": ""}).trusts("127.0.0.1")
    named = Proxies.from_environment({"LORA_LAB_PROXIES": "127.0.0.1, 10.0.0.0/8,fd00::/8,"})
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "10.9.8.7", "fd00::5"):
        assert named.trusts(address)
    for address in ("127.0.0.2", "11.0.0.1", "::1", "", None, "proxy"):
        assert not named.trusts(address)
    for bad in ("*", "proxy", "10.0.0.1/8", "127.0.0.1;10.0.0.1", "300.1.1.1"):
        with pytest.raises(AccessError, match="LORA_LAB_PROXIES must be"):
            Proxies.from_environment({"LORA_LAB_PROXIES": bad})


def test_what_a_proxy_that_was_not_named_brings_is_not_of_this_machine() -> None:
    for header in ("X_Forwarded_For", "Forwarded", "X_Real_Ip"):
        assert ask(LocalOnly(inside), **{header: "127.0.0.1"})[0] == 403
    named = Proxies.from_environment({"LORA_LAB_PROXIES": "127.0.0.1"})
    assert ask(LocalOnly(inside, named), X_Forwarded_For="127.0.0.1")[0] == 200
    assert ask(LocalOnly(inside, named), X_Forwarded_For="10.0.0.9", client=("10.0.0.9", 0))[0] == 403


def test_the_cookie_follows_the_token_and_is_not_it() -> None:
    assert KEY.is_cookie(Key(TOKEN).cookie)
    assert not KEY.is_cookie(Key(TOKEN + "x").cookie)
    assert not KEY.is_cookie(TOKEN)
    assert not KEY.is_token(KEY.cookie)
    assert not KEY.is_token("")
    assert not KEY.is_token("ü\udcff")
    assert Key(TOKEN, 1).name != Key(TOKEN, 2).name


def test_the_cookie_stays_on_tls_where_it_came_by_tls() -> None:
    for scheme, secure in (("https", True), ("http", False)):
        cookie = ask(Guard(inside, KEY), f"/?token={TOKEN}", scheme=scheme)[2]["set-cookie"]
        assert ("Secure" in cookie) == secure


@given(
    st.one_of(st.text(max_size=30), st.sampled_from(["//evil", "/\\evil", "https://evil", "/lab/\r\nx: y", "/lab//x"]))
)
def test_the_form_leads_nowhere_else(target: str) -> None:
    for base in ("", "/lab"):
        own = Guard(inside, KEY, base)._local(target)
        assert own.startswith(f"{base}/")
        assert "\\" not in own
        assert urlsplit(own).netloc == ""


@pytest.mark.parametrize("path", ["//evil.example/x", "///evil.example", "/\\evil.example", "/%2f/evil.example"])
def test_the_link_leads_nowhere_else(path: str) -> None:
    status, _, headers = ask(Guard(inside, KEY), f"{path}?token={TOKEN}")
    assert status == 303
    assert not headers["location"].startswith(("//", "/\\"))
    assert urlsplit(headers["location"]).netloc == ""


def test_a_failing_route_tells_nothing_and_keeps_the_headers() -> None:
    def fail(_: Request) -> Response:
        raise RuntimeError("a secret path")

    app = Starlette(
        routes=[Route("/", fail)],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={Exception: server_error},
    )
    sent: list[Message] = []

    async def drive() -> None:
        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "app": app}
        with pytest.raises(RuntimeError, match="secret"):  # for the log
            await app(scope, receive, send)

    complete(drive())
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert sent[0]["status"] == 500
    assert b"secret" not in sent[1]["body"]
    assert headers.items() >= SECURITY_HEADERS.items()


@pytest.mark.parametrize("address", [*LOCAL, *ELSEWHERE])
def test_loopback_is_what_only_this_machine_reaches(address: str | None) -> None:
    assert is_loopback(address) == (address in LOCAL)
