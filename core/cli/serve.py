"""``python -m core serve``: answer with the adapters of a home folder over HTTP, without the pages."""

from __future__ import annotations

import argparse
import os

import uvicorn
from starlette.applications import Starlette

from core import lab
from core.cli.options import RUNS_KEPT, add_home
from core.settings import Settings
from core.signals import Signalled
from core.study.report.answer import offered_adapter
from core.web import downloads, predict
from core.web.answers import server_error
from core.web.chain import chain
from core.web.guard import Access
from core.web.request_checks import Limits
from core.web.server import limit

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
"""Names that programs on this machine may call the server by."""

NO_UPLOADS = "/no-uploads/"
"""Prefix of paths that accept uploads: there are none."""


def serve_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.description = (
        "Answer POST /api/predict with the adapters of a home folder; GET /api/openapi.json describes it. "
        "Beyond this machine it requires a token, as the dashboard does: LORA_LAB_TOKEN, or one that is generated and "
        "printed. The dashboard serves the same API."
    )
    parser.set_defaults(command=serve, kept=RUNS_KEPT)
    add_home(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8600, help="port to listen on (default: %(default)s)")


def serve(options: argparse.Namespace) -> int:
    """Serve until a signal ends it, which is how a server is meant to end. Returns: the exit status."""
    settings = Settings.from_environment(options.home)
    access = Access.decide(options.host, os.environ, LOCAL_NAMES)
    lab.open_lab(settings)
    try:
        print(access.announcement("http", options.port), flush=True)
        app = application(access, options.port)
        config = uvicorn.Config(app, host=options.host, port=options.port, log_level="warning")
        limit(config, access.proxies)
        server = uvicorn.Server(config)
        server.run()
    except Signalled as signalled:  # which uvicorn passes on after the last answer
        return signalled.status
    finally:
        lab.close_lab()
    return 0 if server.started else 1


def application(access: Access, port: int) -> Starlette:
    """The API as an ASGI application; the lab of this process is open already."""
    limits = Limits(NO_UPLOADS, 0, larger=predict.limits(str))
    return Starlette(
        # At the root, so paths stay as they are.
        routes=[*predict.routes(str, offered_adapter), *downloads.routes(str)],
        middleware=chain(access, limits, port, open_paths=["/healthz"]),
        exception_handlers={Exception: server_error},
    )
