"""Who has access to this server: its own machine only, so that the pages may ask for paths on it, or others as well."""

from __future__ import annotations

import os

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from core.errors import AccessError
from core.web.guard import Access


def is_local() -> bool:
    """Whether visitors need neither token nor login, as the server requires of everybody but this machine."""
    access = _access()
    return access is not None and access.is_open


def token_sentence() -> str:
    """Say which token programs send to this server, as Markdown."""
    access = _access()
    if access is None:
        return "The token is that of the server."
    if access.is_open:
        return "This server requires no token, and answers programs on its own machine only."
    if access.token is None:
        return (
            "Programs cannot sign in, and this server has no token: it answers them once it is started with "
            "`LORA_LAB_TOKEN`."
        )
    if access.made:
        return "The token is the one in the link that the server printed at its start."
    return "The token is the one that the server has in `LORA_LAB_TOKEN`."


def _access() -> Access | None:
    """The settings of this server; None if they cannot be read. A token that is generated is another one each time."""
    try:
        login = "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        login = False
    try:
        return Access.decide(st.get_option("server.address"), os.environ, login=login)
    except AccessError:
        return None
