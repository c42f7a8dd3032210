"""The sentence that a page waits because other files are being read."""

from __future__ import annotations

from contextvars import copy_context
from typing import Any

import streamlit as st

WAITING = "Other files are being read: this page goes on as soon as there is room for its file."


class Waiting:
    """Draws the sentence while a file waits, also within a function whose result is cached."""

    def __init__(self) -> None:
        self._place: Any = None
        # That of the page: in that of a cached function, Streamlit would draw the sentence with each cached result.
        self._context = copy_context()

    def __call__(self, is_waiting: bool) -> None:
        """Draw or remove the sentence; a click interrupts the page there. Args: is_waiting: whether a file waits."""
        if self._place is None:
            self._place = self._context.run(st.empty)
        draw = self._place.info if is_waiting else self._place.empty
        self._context.run(draw, *[WAITING] * is_waiting)
