"""One press of Back in the browser per press on a page, however often a page writes its choices into its address."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_element = st.components.v2.component("back", js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))


def one_step_back() -> None:
    """Have addresses that change without a new press replace the one before; draws nothing."""
    _element(key="back", height=0)
