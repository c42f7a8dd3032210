"""HTTP routes besides the pages: health check, chart library, and the files of runs."""

from __future__ import annotations

import gzip
import importlib.resources
from collections.abc import Callable
from functools import cache

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from core import lab
from core.errors import LabError
from core.store.record import RUN_ID

MEDIA_TYPES = {
    "adapter.zip": "application/zip",
    "network.safetensors": "application/octet-stream",
    "merged.safetensors": "application/octet-stream",
}
"""Files of a run that can be downloaded."""


def routes(at: Callable[[str], str]) -> list[Route]:
    """The routes of this module. Args: at: prepends the base path of the application to a path."""
    return [
        Route(at("/healthz"), health),
        Route(at("/assets/plotly.min.js"), plotly_js),
        Route(at("/download/{run_id}/{kind}"), download),
    ]


def health(_: Request) -> Response:
    """Whether the lab and its store work, and how many runs are waiting or training."""
    try:
        lab.current().check()
    except LabError as error:
        return JSONResponse({"ok": False, "error": str(error)}, status_code=503)
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
    if not RUN_ID.fullmatch(run_id) or kind not in MEDIA_TYPES:
        return _no_file("There is no such file; use the link on the Adapters or Runs page.")
    try:
        path = lab.current().artifacts.path(run_id, kind)
    except LabError as error:
        return _no_file(str(error))
    except OSError as error:
        return _no_file(f"The file {kind} of run {run_id} could not be written: {error.strerror}.", status=500)
    return FileResponse(path, media_type=MEDIA_TYPES[kind], filename=f"{run_id}-{kind}")


def _no_file(sentence: str, status: int = 404) -> Response:
    return JSONResponse({"error": sentence}, status_code=status)
