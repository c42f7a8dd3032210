"""The middleware around the pages and the API: access control, and limits on requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from starlette.middleware import Middleware

from core.web.access import Access
from core.web.answers import SecurityHeaders
from core.web.bodies import BodyLimit, Limits
from core.web.guard import Guard, Key, SignedIn
from core.web.request_origin import Hosts, LocalOnly, Origins


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
