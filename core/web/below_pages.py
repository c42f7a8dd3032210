"""Addresses below a page, which Streamlit answers with a page that loads nothing and stays white."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from core.errors import printable
from core.store.record import RUN_ID
from core.web.answers import answer, page, wants_page

RUNS = "runs"
"""Name of the page that shows a run."""

SHOWN = 60
"""Characters of an address that the sentence shows."""


def routes(at: Callable[[str], str], titles: Mapping[str, str]) -> list[Route]:
    """One route per page, for all that is below it.

    Args:
        at: prepends the base path of the application to a path.
        titles: title of each page, by its name in the address.
    """
    return [Route(at(f"/{name}/{{rest:path}}"), _below(at(f"/{name}"), name, title)) for name, title in titles.items()]


def _below(path: str, name: str, title: str) -> Callable[[Request], Response]:
    """What answers for addresses below a page: a run is shown where the page Runs shows it, nothing else is there."""

    def below(request: Request) -> Response:
        rest = request.path_params["rest"].rstrip("/")
        query = f"?{request.url.query}" if request.url.query else ""
        if not rest:
            return RedirectResponse(path + query, 301, {"cache-control": "no-cache"})
        if name == RUNS and RUN_ID.fullmatch(rest):
            return RedirectResponse(f"{path}?run={rest}", 302, {"cache-control": "no-store"})
        sentence = f"There is no page at {name}/{printable(rest, SHOWN)}."
        if not wants_page(request.scope):
            return answer(request.scope, sentence, 404)
        link = f'<p><a href="{escape(quote(path))}">Open the page {escape(title)}</a></p>\n'
        return page(sentence, 404, link)

    return below
