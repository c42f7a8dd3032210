"""The ASGI application: starts and stops the lab, and adds the middleware of ``core/web`` to Streamlit's pages.

``streamlit run app.py`` serves ``app`` below.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import streamlit as st
import uvicorn
from anyio import to_thread
from starlette.middleware import Middleware
from streamlit import config
from streamlit.auth_util import get_cookie_with_chunks
from streamlit.errors import StreamlitSecretNotFoundError
from streamlit.runtime import Runtime
from streamlit.runtime.stats import CACHE_MEMORY_FAMILY, CacheStat
from streamlit.web.server.server_util import AUTH_COOKIE_NAME, get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value

from core import lab
from core.errors import AccessError, LabError
from core.settings import Settings
from core.study.report.answer import offered_adapter
from core.web import downloads, predict
from core.web.answers import server_error
from core.web.chain import below_pages, chain
from core.web.guard import Access
from core.web.request_checks import Limits
from core.web.server import limit
from pages.shared.ui.links import ENTRIES, PLACES, placed

STOP_SECONDS = 3.0
"""Timeout for the workers to finish their current step when the server stops."""

BASE = "/".join(["", *filter(None, str(st.get_option("server.baseUrlPath") or "").split("/"))])
"""Prefix of Streamlit's routes, such as ``/lab``; empty by default."""


def at(path: str) -> str:
    """Prepend :data:`BASE` to a path."""
    return f"{BASE}{path}"


def has_login() -> bool:
    """Whether Streamlit's login with an OpenID Connect provider is configured.

    Raises:
        AccessError: the configuration cannot be read, or Authlib is not installed.
    """
    if not any(Path(file).exists() for file in st.get_option("secrets.files")):
        return False
    try:
        configured = "auth" in st.secrets
    except StreamlitSecretNotFoundError as error:
        reason = str(error).rstrip(".")
        raise AccessError(f"The secrets file cannot be read: {reason}.") from error
    if configured and find_spec("authlib") is None:
        raise AccessError("The login in .streamlit/secrets.toml needs Authlib: pip install 'streamlit[auth]'.")
    return configured


def is_signed_in(cookies: Mapping[str, str]) -> bool:
    """Whether these cookies, signed by Streamlit, are those of a signed-in visitor."""

    def signed(name: str) -> bytes | None:
        return decode_signed_value(get_cookie_secret(), name, cookies.get(name, ""))

    payload = get_cookie_with_chunks(signed, AUTH_COOKIE_NAME)
    return payload is not None and json.loads(payload).get("is_logged_in") is True


def held_uploads() -> int:
    """Total bytes of the uploads that Streamlit holds for open pages."""
    if not Runtime.exists():
        return 0
    stats = Runtime.instance().uploaded_file_mgr.get_stats([CACHE_MEMORY_FAMILY])
    return sum(stat.byte_length for family in stats.values() for stat in family if isinstance(stat, CacheStat))


def decide_access() -> Access:
    """Determine the access settings; exits with a message if the configuration is invalid."""
    try:
        Settings.from_environment()  # only to report invalid settings
        hosts = st.get_option("server.allowedHosts") or ["*"]
        access = Access.decide(st.get_option("server.address"), os.environ, hosts, has_login())
    except LabError as error:
        sys.exit(f"LoRA Lab does not start: {error}")
    # Streamlit checks the host of its websocket against its own list as well.
    config.set_option("server.allowedHosts", list(access.hosts))
    return access


def doors(access: Access) -> list[Middleware]:
    """The middleware, outermost first."""
    limits = Limits(
        at("/_stcore/upload_file/"),
        st.get_option("server.maxUploadSize") * 2**20,
        held_uploads,
        larger=predict.limits(at),
    )
    return chain(
        access,
        limits,
        st.get_option("server.port"),
        BASE,
        open_paths=[at("/_stcore/health")],
        closed=[at("/download/"), at("/api/"), at("/healthz"), at("/_stcore/upload_file/")],
        origins=st.get_option("server.corsAllowedOrigins"),
        is_signed_in=is_signed_in,
    )


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[dict[str, Any]]:
    """Keep the lab open while the server runs."""
    # The uvicorn server is the owner of the signal handler that it has installed by now.
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    port = st.get_option("server.port")
    try:
        if isinstance(server, uvicorn.Server):
            ACCESS.check_address(server.config.host)
            port = server.config.port
            limit(server.config, ACCESS.proxies)
        await to_thread.run_sync(lab.open_lab)
        # The first form that shows rotated images would wait a second for it.
        Thread(target=import_module, args=["torchvision.transforms.functional"], daemon=True).start()
    except (LabError, OSError) as error:
        print(f"LoRA Lab does not start: {error}", file=sys.stderr, flush=True)
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it would log the same with a traceback
        raise
    try:
        scheme = "https" if st.get_option("server.sslCertFile") else "http"
        print(ACCESS.announcement(scheme, port, BASE), flush=True)
        yield {}
    finally:
        await to_thread.run_sync(lab.close_lab, STOP_SECONDS)


ACCESS = decide_access()

app = st.App(
    Path(__file__).parent / "pages" / "shell.py",
    lifespan=lifespan,
    middleware=doors(ACCESS),
    routes=[
        *downloads.routes(at),
        *predict.routes(at, offered_adapter),
        *below_pages(at, {name: ENTRIES[placed(name, {})[0]].title for name in (*ENTRIES, *PLACES) if name != "home"}),
    ],
    exception_handlers={Exception: server_error},
)
