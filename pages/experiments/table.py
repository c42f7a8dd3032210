"""The list of runs; which of them are selected is kept in the URL."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from core.numbers import NOTHING, count_text, counted
from core.store.search import Query
from core.study.arms.tables import entries_table
from core.wording.csv_file import csv_of
from pages.experiments.columns import choose_columns, column_config
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.download import download
from pages.shared.ui.widget_key import widget_key

ROWS = 50
"""Runs per page."""

BATCH = 1000
"""Runs read at once for the CSV file."""


def selected() -> list[str]:
    """Return the ids of the selected runs, as given in the URL."""
    return list(dict.fromkeys(filter(None, st.query_params.get("run", "").split(","))))


def select(ids: list[str]) -> None:
    """Select these runs and no others."""
    if ids:
        st.query_params["run"] = ",".join(ids)
    else:
        st.query_params.pop("run", None)


def runs_table(lab: Lab, query: Query) -> None:
    """Draw one page of the runs that match the query."""
    found = lab.search.count(query)
    pages = max(1, -(-found // ROWS))
    place = st.container()
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        page = lab.search.find(query, page_picker("page", widget_key("runs-page", query, pages), pages), ROWS)
        first = (page.number - 1) * ROWS
        many = f"{count_text(first + 1)} to {count_text(first + len(page.entries))} of {count_text(page.found)} runs"
        st.caption(many if pages > 1 else counted(page.found, "run"))
        download(
            "Download CSV",
            lambda: _file(lab, query),
            "runs.csv",
            "text/csv",
            "runs-csv",
            kind="tertiary",
            disabled=not found,
            help="All runs that match the filters, with all columns.",
        )
        columns = choose_columns(page.entries)
    ids = tuple(entry.run.id for entry in page.entries)
    chosen = selected()
    # Rows are selected by position, so a different list gets a different key: a late click cannot select a wrong run.
    key = widget_key("runs", ids)
    rows = [row for row, id in enumerate(ids) if id in chosen]
    if key not in st.session_state or sorted(st.session_state[key]["selection"]["rows"]) != rows:
        st.session_state[key] = {"selection": {"rows": rows}}
    with place:
        dataframe(
            entries_table(page.entries, lab.networks.titles()),
            hide_index=True,
            on_select=lambda: _take(ids, st.session_state[key]["selection"]["rows"]),
            selection_mode="multi-row",
            key=key,
            alt="Runs that match the filters",
            placeholder=NOTHING,
            column_order=columns,
            column_config=column_config(),
        )


def _file(lab: Lab, query: Query) -> str:
    """Return all runs that match the query as CSV."""
    first = lab.search.find(query, 1, BATCH)
    pages = -(-first.found // BATCH)
    others = [lab.search.find(query, page, BATCH) for page in range(2, pages + 1)]
    entries = (entry for page in (first, *others) for entry in page.entries)
    return csv_of(entries_table(entries, lab.networks.titles()))


def _take(ids: tuple[str, ...], rows: list[int]) -> None:
    """Select the ticked rows; a new table reports no rows, which must not clear a selection from another page."""
    if rows or any(id in ids for id in selected()):
        select([ids[row] for row in sorted(rows)])


def page_picker(name: str, key: str, pages: int) -> int:
    """Draw the pagination, if there is more than one page, and return the number.

    Args:
        name: of the URL parameter that keeps the number.
        key: of the widget; another one for another list, which starts at page 1.
        pages: how many there are.
    """
    try:
        wanted = min(max(int(st.query_params.get(name, "1")), 1), pages)
    except ValueError:
        wanted = 1
    if pages == 1:
        return 1
    return st.pagination(pages, default=wanted, key=key, width=360, on_change=_turn, args=(name, key))


def _turn(name: str, key: str) -> None:
    st.query_params[name] = str(st.session_state[key])
