"""Bringing a place on the page into view, where a press far below it changes what it shows."""

from __future__ import annotations

import time
from pathlib import Path

import streamlit as st

_element = st.components.v2.component("in_view", js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))

ASKED = "in-view"
"""Session state key: what a press has asked to see, and when."""


def ask_to_see(what: str) -> None:
    """Have :func:`in_view` scroll to its place from the next run on, for the callback of a button.

    Args:
        what: is shown there, such as the id of an experiment.
    """
    st.session_state[ASKED] = what, time.time()


def in_view(what: str, *, only_stacked: bool = False) -> None:
    """Scroll to this place if the last press that asked to see something asked for what is shown here; draws nothing.

    The place stays there in later runs, since the browser may draw the first one after the next has begun.

    Args:
        what: is shown here.
        only_stacked: whether to scroll only where columns stand below each other, as on a phone.
    """
    asked, when = st.session_state.get(ASKED, ("", 0.0))
    if asked == what:
        _element(key="in-view-place", data={"press": f"{what} {when}", "onlyStacked": only_stacked}, height=0)
