"""Bringing a place on the page into view, where a press far below it changes what it shows."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_element = st.components.v2.component("in_view", js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))

ASKED = "in-view"
"""Session state key: what a press has asked to see."""


def ask_to_see(what: str) -> None:
    """Have :func:`in_view` scroll to its place at the next run, for the callback of a button.

    Args:
        what: is shown there, such as the id of an experiment.
    """
    st.session_state[ASKED] = what


def in_view(what: str) -> None:
    """Scroll to this place if a press has asked to see what is shown here; draws nothing."""
    if st.session_state.get(ASKED) == what:
        del st.session_state[ASKED]
        _element(key="in-view", data=what, height=0)
