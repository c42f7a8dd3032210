"""HTTP routes besides the pages: health check, chart library, and the files of runs and of open pages."""

from __future__ import annotations

import gzip
import importlib.resources
from collections.abc import Callable
from functools import cache

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from core import lab
from core.artifacts.artifacts import MERGED
from core.artifacts.exports import FORMATS
from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.errors import LabError
from core.store.record import RUN_ID
from core.web import offers
from core.web.answers import answer

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
        Route(at(offers.PATH), offers.offered),
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
        return answer(request.scope, "There is no such file; use the link on the Adapters or Runs page.", 404)
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
