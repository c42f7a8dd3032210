"""The guard: wrong credentials are refused, right ones come in, and nobody is led elsewhere."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.web.guard import Guard, Key
from tests.web.asking import KEY, TOKEN, ask, inside

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
def test_every_wrong_credential_is_refused_alike_and_a_right_one_is_let_in_after_any_number(kind: str) -> None:
    guard = Guard(inside, KEY)
    wrong: dict[str, Any] = dict(CREDENTIALS.get(kind, {"path": "/access", "method": "POST"}))
    if kind == "a form":
        wrong["chunks"] = [b"token=guess"]
    assert {ask(guard, **wrong)[:2] for _ in range(30)} == {ask(guard, **wrong)[:2]}
    status, body, _ = ask(guard, **wrong | {"Accept": "text/html"})
    assert (status, "That is not the token." in body) == (401, True)
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
    assert "requires its token" in ask(guard, "/")[1]  # who shows nothing tries nothing


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
