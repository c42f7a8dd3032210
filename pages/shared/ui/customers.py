"""The choice of a number of customers, for whom storage is compared."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from core.numbers import count_text
from core.study.report.shown import CUSTOMERS

CHOICES = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
"""Numbers of customers to choose from."""


def customers(key: str, help: str, bind: Literal["query-params"] | None = None) -> int:
    """Draw a slider for the number of customers.

    Args:
        key: of the widget.
        help: its tooltip.
        bind: where its value is kept besides the session.
    """
    return int(st.select_slider("Customers", CHOICES, CUSTOMERS, format_func=count_text, key=key, help=help, bind=bind))
