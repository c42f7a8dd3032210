"""Tabs of which only the open one is drawn; which one that is stands in the address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import streamlit as st

from pages.shared.ui.literal import errors_shown

T = TypeVar("T")

VIEW = "view"
"""Session state key, and name in the address: title of the open tab."""


def draw_tabs(parts: Mapping[str, Callable[[T], None]], shown: T) -> None:
    """Draw one tab per part, and in the open one the part; an error of the lab in its place.

    Args:
        parts: functions by the title of their tab.
        shown: what each of them draws.
    """
    tabs = st.tabs(list(parts), key=VIEW, bind="query-params")
    for tab, part in zip(tabs, parts.values(), strict=True):
        if tab.open:
            with tab, errors_shown():
                part(shown)
