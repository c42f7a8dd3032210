"""HTTP routes besides the pages: health check, chart library, files of runs, and files that open pages offer.

What a page offers has an address that is hard to guess, and that holds while the page is open.
"""

from __future__ import annotations

import gzip
import importlib.resources
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from core import lab
from core.artifacts.artifacts import MERGED
from core.artifacts.exports import FORMATS
from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.errors import LabError
from core.store.record import RUN_ID
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
    """The file at such an address as an attachment, or a sentence why there is none.

    With ``?as=`` a browser opens it: a chart then saves itself as an image of that kind.
    """
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
    disposition = "inline" if "as" in request.query_params else "attachment"
    headers = {"content-disposition": f"{disposition}; filename*=utf-8''{quote(offer.name, safe='')}"}
    return Response(content, media_type=offer.media_type, headers={**headers, "cache-control": "no-store"})


KEPT = {ADAPTER: "application/zip", NETWORK: "application/octet-stream", MERGED: "application/octet-stream"}
"""Files of a run that are there without having been asked for, or are made at once, with their media types."""

MADE = {form.file: form for form in FORMATS.values() if form.file not in KEPT}
"""Kinds of files for other tools, by name, which somebody has made before."""


def routes(at: Callable[[str], str]) -> list[Route]:
    """The routes of this module. Args: at: prepends the base path of the application to a path."""
    return [
        Route(at("/healthz"), health),
        Route(at("/assets/plotly.min.js"), plotly_js),
        Route(at("/download/{run_id}/{kind}"), download),
        Route(at(PATH), offered),
    ]


def health(_: Request) -> Response:
    """Whether the lab works and its store can be read and written, and how many runs are waiting or training."""
    try:
        lab.current().check()
        obstacle = lab.current().usage.obstacle()
    except LabError as error:
        obstacle = str(error)
    if obstacle:
        return JSONResponse({"ok": False, "error": obstacle}, status_code=503)
    return JSONResponse({"ok": True, "live_runs": len(lab.current().live())})


@cache
def plotly_library() -> bytes:
    """plotly.js of the installed plotly package, compressed once per process (4.8 MB to 1.5 MB)."""
    return gzip.compress((importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes(), mtime=0)


def plotly_js(request: Request) -> Response:
    """plotly.js for the live charts; cached permanently, since its URL has the version."""
    packed = plotly_library()
    accepts_gzip = "gzip" in request.headers.get("accept-encoding", "")
    headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
    if accepts_gzip:
        headers["content-encoding"] = "gzip"
    content = packed if accepts_gzip else gzip.decompress(packed)
    return Response(content, media_type="text/javascript", headers=headers)


def download(request: Request) -> Response:
    """One file of a run as an attachment, or an error with the reason why there is none."""
    run_id, kind = request.path_params["run_id"], request.path_params["kind"]
    if not RUN_ID.fullmatch(run_id) or (kind not in KEPT and kind not in MADE):
        return answer(request.scope, "There is no such file; use the link of the run or its experiment.", 404)
    opened = lab.current()
    try:
        if kind in KEPT:
            path, media_type = opened.artifacts.path(run_id, kind), KEPT[kind]
        else:
            path, media_type = opened.exports.path(opened.store.run(run_id), MADE[kind]), MADE[kind].media_type
    except LabError as error:
        return answer(request.scope, str(error), 404)
    except OSError as error:
        sentence = f"The file {kind} of run {run_id} could not be written: {error.strerror}."
        return answer(request.scope, sentence, 500)
    return FileResponse(path, media_type=media_type, filename=f"{run_id}-{kind}")
