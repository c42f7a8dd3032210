"""Tabs of which only the open one is drawn; which one that is stands in the address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import streamlit as st

from pages.shared.ui.literal import errors_shown

T = TypeVar("T")

VIEW = "view"
"""Session state key, and name in the address: title of the open tab."""

DRAWN = "view-drawn"
"""Session state key: title of the tab that was drawn last."""


def open_tab(title: str) -> None:
    """Open a tab, from a callback. The browser follows where it is another one than was drawn last: a press on what is
    left of an earlier drawing changes no tab.
    """
    if st.session_state.get(DRAWN) != title:
        st.session_state[VIEW] = title


def draw_tabs(parts: Mapping[str, Callable[[T], None]], shown: T) -> None:
    """Draw one tab per part, and in the open one the part; an error of the lab in its place.

    Args:
        parts: functions by the title of their tab.
        shown: what each of them draws.
    """
    tabs = st.tabs(list(parts), key=VIEW, bind="query-params")
    for tab, (title, part) in zip(tabs, parts.items(), strict=True):
        if tab.open:
            st.session_state[DRAWN] = title
            with tab, errors_shown():
                part(shown)
