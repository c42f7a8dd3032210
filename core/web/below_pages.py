"""Addresses of two levels and more, which Streamlit answers with a page that loads nothing and stays white."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from core.errors import printable
from core.store.record import RUN_ID
from core.web.answers import answer, page, wants_page

RUNS = "runs"
"""Name of the page that shows a run."""

SHOWN = 60
"""Characters of an address that the sentence shows."""

STREAMLIT = ("_stcore", "app", "auth", "component", "media", "static")
"""Folders of Streamlit's own."""


class _Elsewhere(Route):
    """What a browser opens below anything but the folders of Streamlit."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match is Match.NONE or found["path_params"]["name"] in STREAMLIT or not wants_page(scope):
            return Match.NONE, {}
        return match, found


def routes(at: Callable[[str], str], titles: Mapping[str, str]) -> list[Route]:
    """One route per page, for all that is below it, and one for all that is below no page.

    Args:
        at: prepends the base path of the application to a path.
        titles: title of each page, by its name in the address.
    """
    below = [Route(at(f"/{name}/{{rest:path}}"), _below(at(f"/{name}"), name, title)) for name, title in titles.items()]
    return [*below, _Elsewhere(at("/{name}/{rest:path}"), _below_none(at("/")))]


def _below_none(home: str) -> Callable[[Request], Response]:
    """What answers for addresses below what is no page."""

    def below(request: Request) -> Response:
        return _missing(request.scope, "{name}/{rest}".format(**request.path_params), home, "Home")

    return below


def _missing(scope: Scope, asked: str, path: str, title: str) -> Response:
    """The sentence that there is no such page; for a browser with a link to one that is there."""
    sentence = f"There is no page at {printable(asked, SHOWN)}."
    if not wants_page(scope):
        return answer(scope, sentence, 404)
    link = f'<p><a href="{escape(quote(path))}">Open the page {escape(title)}</a></p>\n'
    return page(sentence, 404, link)


def _below(path: str, name: str, title: str) -> Callable[[Request], Response]:
    """What answers for addresses below a page: a run is shown where the page Runs shows it, nothing else is there."""

    def below(request: Request) -> Response:
        rest = request.path_params["rest"].rstrip("/")
        query = f"?{request.url.query}" if request.url.query else ""
        if not rest:
            return RedirectResponse(path + query, 301, {"cache-control": "no-cache"})
        if name == RUNS and RUN_ID.fullmatch(rest):
            return RedirectResponse(f"{path}?run={rest}", 302, {"cache-control": "no-store"})
        return _missing(request.scope, f"{name}/{rest}", path, title)

    return below
