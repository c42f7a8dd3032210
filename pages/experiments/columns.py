"""The columns of the list of runs: which are shown is chosen by the person and kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import streamlit as st

from core.objectives.registry import measures_by_name
from core.store.search import Entry

QUERY = "columns"
"""URL parameter with the titles of the chosen columns, one value each; none as long as nobody has chosen."""

KEPT = "runs-columns-kept"
"""Session state key: the columns that were chosen last, for visits without a choice in the address."""

KEY = "runs-columns"
"""Key of the widget."""

MEASURES = {measure.axis: measure for measure in measures_by_name().values()}
"""Measures of results by their column."""

TITLES = {
    **{column: measure.title for column, measure in MEASURES.items()},
    "Source accuracy (%)": "Source accuracy",
    "Trainable parameters": "Trainable",
    "Training time (s)": "Time",
}
"""Headings of the columns that have another one than their name in the file."""

FIRST = ("State", "Setting", "Rank", "Alpha", "Learning rate", "Steps", "Seed")
"""Columns that are shown before the measures until somebody chooses."""

LAST = ("Training time (s)", "Created", "Dataset")
"""Columns that are shown behind the measures until somebody chooses."""

COLUMNS = (
    *FIRST,
    *MEASURES,
    *LAST,
    "Network",
    "Method",
    "Epochs",
    "Source accuracy (%)",
    "Trainable parameters",
    "Tags",
    "Note",
    "Experiment",
    "Run",
    "Cause",
)
"""All columns that can be chosen."""


def choose_columns(entries: Iterable[Entry]) -> list[str]:
    """Draw the choice of columns; return the chosen ones.

    Args:
        entries: the runs that are listed: at first, the measures that they are judged by are shown.
    """
    names = {TITLES.get(column, column): column for column in COLUMNS}
    judged = dict.fromkeys(entry.run.spec.objective.primary.axis for entry in entries) or list(MEASURES)[:1]
    asked = st.query_params.get_all(QUERY) or st.session_state.get(KEPT, ())
    chosen = [title for title in asked if title in names]
    st.session_state[KEPT] = chosen
    shown = chosen or [TITLES.get(column, column) for column in (*FIRST, *judged, *LAST)]
    st.session_state[KEY] = shown
    with st.popover("Columns", icon=":material/view_column:", key="runs-columns-open"):
        st.pills(
            "Columns of the list",
            list(names),
            selection_mode="multi",
            key=KEY,
            on_change=_keep,
            wrap=True,
            help="Without any, the list has its usual columns.",
        )
    return [column for title, column in names.items() if title in shown]


def column_config() -> dict[str, Any]:
    """How each column is headed and how its values are written, as of ``st.dataframe``."""
    number = st.column_config.NumberColumn
    formats = {column: measure.column_format for column, measure in MEASURES.items()} | {
        "Source accuracy (%)": "%.2f %%",
        "Trainable parameters": "localized",
        "Steps": "localized",
        "Training time (s)": "%.2f s",
        "Alpha": "%.6g",
        "Learning rate": "%.6g",
    }
    return {
        **{column: number(TITLES.get(column), format=format) for column, format in formats.items()},
        "Note": st.column_config.TextColumn(width="medium"),
        "Created": st.column_config.DatetimeColumn(format="DD MMM HH:mm"),
    }


def _keep() -> None:
    """Write the choice into the address, and keep it for this session."""
    st.session_state[KEPT] = st.query_params[QUERY] = st.session_state[KEY]
