"""The Streamlit script: page config, navigation, sidebar.

Streamlit runs it before every page. A page is a folder with a ``page.py`` and an entry in :mod:`pages.shared.ui.links`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from core.errors import LabError
from core.lab import current
from pages.shared.experiment.current import follow_address
from pages.shared.experiment.sidebar import sidebar
from pages.shared.ui.back import one_step_back
from pages.shared.ui.links import sections
from pages.shared.ui.literal import literal
from pages.shared.ui.primary import on_primary
from pages.shared.ui.waiting import tell_of_waiting


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


HERE = Path(__file__).parent

st.set_page_config(
    page_title="LoRA Lab",
    page_icon=HERE / "icon.svg",
    layout="wide",
    menu_items={"About": "**LoRA Lab.** Full fine-tuning or LoRA, and at which rank, alpha and learning rate?"},
)
page = st.navigation(sections(), expanded=True)
require_login()
try:
    current().check()
except LabError as error:  # no page works without the lab, so one message here replaces one per page
    st.error(literal(str(error)), icon=":material/error:")
    st.stop()
st.logo(HERE / "logo.svg", icon_image=HERE / "icon.svg", size="large")
with st.sidebar:
    sidebar()
    one_step_back()
follow_address(current())
told = st.empty()  # always there: fragments below are known by their places
if obstacle := current().usage.obstacle():
    told.error(literal(obstacle), icon=":material/error:")
tell_of_waiting(told)
page.run()
