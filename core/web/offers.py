"""Files that open pages offer: each has an address that is hard to guess, and holds while its page is open."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import Response

from core.errors import LabError
from core.web.answers import answer

PATH = "/download/page/{token}/{key:path}"
"""Route of :func:`offered`, without the base path of the application."""

MAX_OFFERS = 100
"""Maximum number of files of one session, more than any page has: those that were drawn longest ago go first."""

CLOSED = "This link belongs to a page that is closed: open the page again."

TOKEN_BYTES = 32
"""Random bytes in the address of a session's files."""


@dataclass(frozen=True)
class Offer:
    """A file that is made when somebody asks for it."""

    name: str
    """The file name."""
    media_type: str
    content: Callable[[], bytes | str]
    """Makes the file, in any thread."""


class Offers:
    """The files that the pages of one browser session offer. Any thread may call any method.

    The pages hold this object. Nobody else does, so once a session is gone, so are its files.
    """

    def __init__(self) -> None:
        self._token = secrets.token_urlsafe(TOKEN_BYTES)
        self._offers: dict[str, Offer] = {}
        self._lock = threading.Lock()
        _OPEN[self._token] = self

    def put(self, key: str, offer: Offer) -> str:
        """Offer a file in place of an earlier one with the same key; return its path, which depends on the key only."""
        with self._lock:
            self._offers.pop(key, None)
            self._offers[key] = offer
            while len(self._offers) > MAX_OFFERS:
                del self._offers[next(iter(self._offers))]
        return PATH.partition("{")[0] + f"{self._token}/{quote(key, safe='')}"

    def get(self, key: str) -> Offer | None:
        """The file that was last offered with a key; None if there is none."""
        with self._lock:
            return self._offers.get(key)


_OPEN: WeakValueDictionary[str, Offers] = WeakValueDictionary()
"""The files of each session, by the token in their addresses."""


def offered(request: Request) -> Response:
    """The file at such an address as an attachment, or a sentence why there is none."""
    offers = _OPEN.get(request.path_params["token"])
    offer = offers.get(request.path_params["key"]) if offers is not None else None
    if offer is None:
        return answer(request.scope, CLOSED, 404)
    try:
        content = offer.content()
    except LabError as error:
        return answer(request.scope, str(error), 404)
    except OSError as error:
        return answer(request.scope, f"The file {offer.name} could not be made: {error.strerror or error}.", 500)
    headers = {"content-disposition": f"attachment; filename*=utf-8''{quote(offer.name, safe='')}"}
    return Response(content, media_type=offer.media_type, headers={**headers, "cache-control": "no-store"})
