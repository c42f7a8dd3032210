"""Streamlit's own login, where one is configured: who has not signed in sees no page and gets no file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from streamlit.testing.v1 import AppTest
from streamlit.web.server.server_util import AUTH_COOKIE_NAME, get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from app import is_signed_in
from core.web.chain import chain
from core.web.guard import Access
from core.web.request_checks import Limits
from pages.shared.ui.primary import on_primary
from tests.browser.conftest import REPO
from tests.conftest import HANG
from tests.web.asking import KEY, TOKEN, ask, inside
from tests.web.conftest import launch

PROVIDER = {"client_id": "x", "client_secret": "y", "server_metadata_url": "https://login.example/openid"}
LOGIN = {"redirect_uri": "http://localhost:8501/oauth2callback", "cookie_secret": "c" * 32}


def draw(login: Mapping[str, object] | None) -> AppTest:
    app = AppTest.from_file(str(REPO / "pages" / "shell.py"), default_timeout=30)
    if login is not None:
        app.secrets["auth"] = login
    app.run()
    assert not app.exception
    return app


@pytest.mark.parametrize(
    ("login", "labels"),
    [
        ({**LOGIN, **PROVIDER}, ["Sign in"]),
        ({**LOGIN, "work": PROVIDER, "school": PROVIDER}, ["Sign in with work", "Sign in with school"]),
        ({}, ["Sign in"]),
    ],
)
@pytest.mark.usefixtures("current_lab")
def test_who_has_not_signed_in_sees_no_page(login: Mapping[str, object], labels: list[str]) -> None:
    app = draw(login)
    assert [button.label for button in app.button] == [on_primary(label) for label in labels]
    assert not app.title
    assert [header.value for header in app.header] == ["Sign in"]


@pytest.mark.usefixtures("current_lab")
def test_without_a_login_nobody_is_asked() -> None:
    assert draw(None).title


def signed(payload: object, secret: str | None = None) -> str:
    """The cookie of a login."""
    value = create_signed_value(secret or get_cookie_secret(), AUTH_COOKIE_NAME, json.dumps(payload))
    return f"{AUTH_COOKIE_NAME}={value.decode()}"


CLOSED = ("/download/r-0/adapter.zip", "/api/adapters", "/healthz", "/_stcore/upload_file/s/f")
BEARER, COOKIE = f"Bearer {TOKEN}", f"{KEY.name}={KEY.cookie}"


def behind_the_doors(token: str | None) -> Starlette:
    """What a server with a login has inside, behind all doors. Args: token: that it requires as well."""
    access = Access.decide("0.0.0.0", {"LORA_LAB_TOKEN": token} if token else {}, ["*"], login=True)
    closed = ["/download/", "/api/", "/healthz", "/_stcore/upload_file/"]
    doors = chain(access, Limits("/_stcore/upload_file/", 10), None, closed=closed, is_signed_in=is_signed_in)
    return Starlette(routes=[Mount("/", inside)], middleware=doors)


@pytest.mark.parametrize("path", CLOSED)
def test_the_token_of_a_server_with_a_login_lets_programs_in_and_no_one_else(path: str) -> None:
    app = behind_the_doors(TOKEN)
    assert ask(app, path, Authorization=BEARER)[0] == 200
    assert ask(app, path, Authorization=BEARER, Cookie=COOKIE)[0] == 200
    signed_in = signed({"is_logged_in": True})
    assert ask(app, path, Cookie=f"{COOKIE}; {signed_in}")[0] == 200
    refused: list[dict[str, str]] = [
        {},
        {"Cookie": COOKIE},
        {"Cookie": signed_in},
        {"Authorization": "Bearer guess"},
        {"Authorization": "Bearer guess", "Cookie": COOKIE},
        {"Authorization": f"Basic {TOKEN}", "Cookie": COOKIE},
        {"Authorization": "Bearer", "Cookie": COOKIE},
        {"Lora_Lab.Program": "1", "Cookie": COOKIE},
    ]
    for headers in refused:
        assert ask(app, path, **headers)[0] == 401, headers


@pytest.mark.parametrize("path", CLOSED)
def test_without_a_token_a_login_is_the_only_way_in(path: str) -> None:
    app, good = behind_the_doors(None), signed({"is_logged_in": True, "email": "a@b.example"})
    assert ask(app, "/")[0] == 200  # a page asks for the login itself
    assert ask(app, path, Cookie=good)[0] == 200
    name, _, value = good.partition("=")
    # The last character of base64 has spare bits, so another one can mean the same bytes: the first has none.
    changed = f"{name}={'J' if value[0] != 'J' else 'K'}{value[1:]}"
    by_another = signed({"is_logged_in": True}, "another secret of the same length")
    for bad in ("", f"{name}=x", changed, signed({"is_logged_in": False}), signed({}), by_another):
        assert ask(app, path, Cookie=bad)[0] == 401, bad
    for bearer in BEARER, "Bearer ", "Bearer None":
        status, sentence, _ = ask(app, path, Authorization=bearer)
        assert status == 401
        assert "programs need the server's token" in sentence


def test_a_login_that_cannot_work_does_not_start(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.toml"
    secrets.write_text("[auth")
    process, _, log = launch(tmp_path, STREAMLIT_SECRETS_FILES=str(secrets))
    assert process.wait(timeout=HANG) == 1
    assert re.search(r"LoRA Lab does not start: The secrets file cannot be read: .+[^.]\.\n", log.read_text())
    assert "Traceback" not in log.read_text()
