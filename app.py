"""The ASGI entry: starts and stops the lab, guards every answer, and serves what is not a page.

``streamlit run app.py`` finds ``app`` below and serves it.
"""

from __future__ import annotations

import gzip
import importlib.resources
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
import uvicorn
from anyio import to_thread
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import lab
from core.errors import LabError

ANSWER_SECONDS = 1
"""How long open answers may take to end, when the server stops."""

STOP_SECONDS = 3.0
"""How long the workers then have to end the step that they are in."""

RUN_ID = re.compile(r"r-[0-9a-f]{1,32}")

MEDIA_TYPES = {
    "adapter.zip": "application/zip",
    "network.safetensors": "application/octet-stream",
    "merged.safetensors": "application/octet-stream",
}
"""Files of a run that can be downloaded."""

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        # Streamlit imports a component's module from a blob, and Vega compiles its expressions.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
"""What a page may load: only what this server sends, so nothing shown here can be carried elsewhere."""

SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class SecurityHeaders:
    """Puts the security headers on every answer; bodies and websockets pass untouched."""

    def __init__(self, app: ASGIApp) -> None:
        """Args: app: what answers."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[dict[str, Any]]:
    """Keep the lab open while the server runs."""
    _bound_shutdown()
    await to_thread.run_sync(lab.open_lab)
    try:
        yield {}
    finally:
        await to_thread.run_sync(lab.close_lab, STOP_SECONDS)


def _bound_shutdown() -> None:
    """Let no stalled download keep the process alive.

    Uvicorn waits for open answers without end unless told otherwise, and Streamlit starts it without asking; the
    server is found as the owner of the signal handler that it set before this lifespan began.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(server, uvicorn.Server):
        server.config.timeout_graceful_shutdown = ANSWER_SECONDS


def health(_: Request) -> Response:
    """Whether the lab answers, and how many runs wait or train."""
    return JSONResponse({"ok": True, "live_runs": len(lab.current().live())})


@cache
def plotly_library() -> bytes:
    """plotly.js of the installed plotly package, compressed once a process (4.8 MB to 1.5 MB)."""
    return gzip.compress((importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes(), mtime=0)


def plotly_js(request: Request) -> Response:
    """plotly.js for the live charts, for good: its address carries the version."""
    packed = plotly_library()
    takes_gzip = "gzip" in request.headers.get("accept-encoding", "")
    headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
    if takes_gzip:
        headers["content-encoding"] = "gzip"
    content = packed if takes_gzip else gzip.decompress(packed)
    return Response(content, media_type="text/javascript", headers=headers)


def download(request: Request) -> Response:
    """One file of a run, as an attachment; else a sentence that says why there is none."""
    run_id, kind = request.path_params["run_id"], request.path_params["kind"]
    if not RUN_ID.fullmatch(run_id) or kind not in MEDIA_TYPES:
        return _no_file("There is no such file; take the link from the Adapters or Runs page.")
    try:
        path = lab.current().file(run_id, kind)
    except LabError as error:
        return _no_file(str(error))
    except OSError as error:
        return _no_file(f"The file {kind} of run {run_id} could not be written: {error.strerror}.", status=500)
    return FileResponse(path, media_type=MEDIA_TYPES[kind], filename=f"{run_id}-{kind}")


def _no_file(sentence: str, status: int = 404) -> Response:
    return JSONResponse({"error": sentence}, status_code=status)


def _at(path: str) -> str:
    """The path under ``server.baseUrlPath``, which Streamlit puts only before its own routes."""
    prefix = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{prefix}{path}" if prefix else path


MIDDLEWARE = [
    Middleware(SecurityHeaders),
    # Streamlit checks the host of its websocket only; another site must not read the routes below either.
    Middleware(TrustedHostMiddleware, allowed_hosts=st.get_option("server.allowedHosts") or ["*"]),
]

ROUTES = [
    Route(_at("/healthz"), health),
    Route(_at("/assets/plotly.min.js"), plotly_js),
    Route(_at("/download/{run_id}/{kind}"), download),
]

app = st.App(
    Path(__file__).parent / "pages" / "shell.py",
    lifespan=lifespan,
    middleware=MIDDLEWARE,
    routes=ROUTES,
)
