"""Tables that can be sorted and searched, clear of what stands above them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.answer.levels import ALL_MEANINGS

EXPLAINED = ("Finding", "Level")
"""Headings of columns that say *shown* or *leaning*, which their tooltip explains."""


def dataframe(data: Any, **options: Any) -> Any:
    """Draw ``st.dataframe`` below the room that its toolbar takes: 42 pixels, more than the space between two elements.

    Where people touch the screen, the toolbar is always there, and would lie on a heading or a text above the table.

    Args:
        data: the table.
        options: of ``st.dataframe``, whose result is returned.
    """
    st.space("small")
    names = getattr(data, "columns", data)  # also of a styled table
    config = {name: st.column_config.TextColumn(help=ALL_MEANINGS) for name in EXPLAINED if name in names}
    if config:
        options["column_config"] = config | (options.get("column_config") or {})
    return st.dataframe(data, **options)
