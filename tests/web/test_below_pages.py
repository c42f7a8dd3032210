"""No address of two levels is a white page: Runs shows a run, and of others it is said that they are not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import streamlit
from starlette.applications import Starlette
from starlette.routing import Route
from streamlit import App

from core.web.chain import below_pages
from tests.browser.conftest import REPO
from tests.web.asking import ask

APP = Starlette(routes=below_pages(lambda path: f"/lab{path}", {"runs": "Runs", "tryit": "Try it"}))
BROWSER = {"Accept": "text/html,*/*"}


def test_a_run_is_shown_by_the_page_runs_which_says_it_where_there_is_none() -> None:
    for path in ("/lab/runs/r-0a1b2c3d", "/lab/runs/r-0a1b2c3d/"):
        status, _, headers = ask(APP, path, **BROWSER)
        assert (status, headers["location"]) == (302, "/lab/runs?run=r-0a1b2c3d")


@pytest.mark.parametrize("path", ["runs/r-0a1b2c3d/curve", "runs/r-XYZ", "tryit/r-0a1b2c3d", "runs/<b>x</b>"])
def test_what_is_not_there_has_a_sentence_and_a_link_to_the_page(path: str) -> None:
    status, body, _ = ask(APP, f"/lab/{path}", **BROWSER)
    name = path.partition("/")[0]
    assert status == 404
    assert f"There is no page at {name}/" in body
    assert "<b>" not in body
    assert f'<a href="/lab/{name}">Open the page {"Runs" if name == "runs" else "Try it"}</a>' in body
    assert ask(APP, f"/lab/{path}", "POST")[0] == 405


def test_what_is_below_no_page_has_a_sentence_and_a_link_to_home() -> None:
    for path in ("none/of/these", "none/", "Runs/r-0a1b2c3d"):
        status, body, _ = ask(APP, f"/lab/{path}", **BROWSER)
        assert status == 404, path
        assert f"There is no page at {path}." in body
        assert '<a href="/lab/">Open the page Home</a>' in body


def test_streamlit_answers_for_its_own_folders() -> None:
    app = App(REPO / "pages" / "shell.py", routes=below_pages(str, {}))
    own = {route.path for route in app._build_starlette_app().routes if isinstance(route, Route)}
    folders = {path.split("/")[1] for path in own if path.count("/") > 1} - {"{name}"}
    assert folders >= {"_stcore", "media"}
    files = Path(streamlit.__file__).parent / "static"
    for folder in (*folders, *(path.name for path in files.iterdir() if path.is_dir())):
        assert ask(Starlette(routes=below_pages(str, {})), f"/{folder}/x", **BROWSER)[1] == "Not Found", folder


def test_what_streamlit_looks_for_below_a_page_is_not_there_and_a_slash_at_the_end_is_no_other_page() -> None:
    status, body, _ = ask(APP, "/lab/runs/_stcore/health")
    assert (status, json.loads(body)) == (404, {"error": "There is no page at runs/_stcore/health."})
    status, _, headers = ask(APP, "/lab/runs/?run=r-1", **BROWSER)
    assert (status, headers["location"]) == (301, "/lab/runs?run=r-1")
