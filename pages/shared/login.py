"""The login, where one is configured: nothing is drawn for who has not signed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError


def require_login() -> None:
    """Go on only for visitors who may see the pages: all of them, where ``.streamlit/secrets.toml`` has no login."""
    try:
        login: Mapping[str, Any] | None = st.secrets.get("auth")
    except StreamlitSecretNotFoundError:
        return
    if login is None:
        return
    if st.user.get("is_logged_in") is True:
        st.sidebar.button("Sign out", icon=":material/logout:", type="tertiary", on_click=st.logout)
        return
    st.header("Sign in")
    st.write("LoRA Lab on this server is for people who have signed in.")
    providers = [name for name, value in login.items() if isinstance(value, Mapping) and "client_id" in value]
    for provider in providers or [None]:
        label = f"Sign in with {provider}" if provider else "Sign in"
        st.button(
            label, icon=":material/login:", type="primary", on_click=st.login, args=[provider] if provider else []
        )
    st.stop()
