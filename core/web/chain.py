"""What is around the pages and the API: access control, limits on requests, and answers below the pages.

Addresses of two levels and more Streamlit answers with a page that loads nothing and stays white.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from urllib.parse import quote

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from core.errors import printable
from core.store.record import RUN_ID
from core.web.answers import SecurityHeaders, answer, page, wants_page
from core.web.guard import Access, Guard, Key, SignedIn
from core.web.request_checks import BodyLimit, Hosts, Limits, LocalOnly, Origins

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


def below_pages(at: Callable[[str], str], titles: Mapping[str, str]) -> list[Route]:
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


def chain(
    access: Access,
    limits: Limits,
    port: int | None,
    base: str = "",
    open_paths: Sequence[str] = (),
    closed: Sequence[str] = (),
    origins: Sequence[str] = (),
    is_signed_in: Callable[[Mapping[str, str]], bool] = lambda cookies: False,
) -> list[Middleware]:
    """The middleware, outermost first.

    Args:
        access: settings of the server.
        limits: sizes of request bodies.
        port: of the server, which tells its cookie apart; None if it is not known.
        base: path under which everything is served, without a trailing slash.
        open_paths: paths that anyone may read.
        closed: prefixes of paths that require a login, where there is one.
        origins: other origins whose pages may send requests.
        is_signed_in: decides by a visitor's cookies.
    """
    found = [
        Middleware(SecurityHeaders),
        Middleware(Hosts, allowed=access.hosts),
        Middleware(Origins, allowed=origins),
        Middleware(BodyLimit, limits=limits),
    ]
    if access.is_open:
        found.append(Middleware(LocalOnly, has_proxies=bool(access.proxies)))
    if access.token:
        found.append(Middleware(Guard, key=Key(access.token, port), base=base, open_paths=frozenset(open_paths)))
    if access.login:
        found.append(Middleware(SignedIn, closed=closed, is_signed_in=is_signed_in))
    return found
