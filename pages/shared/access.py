"""Whether only this machine has access to the pages, so that they may ask for paths on it."""

from __future__ import annotations

import os

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from core.errors import AccessError
from core.web.access import Access


def is_local() -> bool:
    """Whether visitors need neither token nor login, as the server requires of everybody but this machine."""
    try:
        login = "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        login = False
    try:
        return Access.decide(st.get_option("server.address"), os.environ, login=login).is_open
    except AccessError:
        return False
