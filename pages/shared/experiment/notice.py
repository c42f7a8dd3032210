"""The notice that a lost store came back."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from pages.shared.ui.literal import literal


def notice_of_recovery(lab: Lab) -> None:
    """Show what came back when the lab was opened, until somebody has read it; draw nothing if nothing was lost."""
    if lab.notice:
        with st.container(border=True):
            st.warning(literal(lab.notice), icon=":material/restore:")
            st.button("I have read this", key="noticed", on_click=lab.dismiss_notice)
