"""Sign-in with OpenID Connect, if it is configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from pages.shared.ui.primary import on_primary


def require_login() -> None:
    """Stop the script unless the visitor has signed in or ``.streamlit/secrets.toml`` configures no sign-in."""
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
    st.write("You need to sign in to use LoRA Lab on this server.")
    providers = [name for name, value in login.items() if isinstance(value, Mapping) and "client_id" in value]
    for provider in providers or [None]:
        label = f"Sign in with {provider}" if provider else "Sign in"
        st.button(
            on_primary(label),
            icon=":material/login:",
            type="primary",
            on_click=st.login,
            args=[provider] if provider else [],
        )
    st.stop()
