"""Which runs the Runs page lists, in what order; every choice stands in the address."""

from __future__ import annotations

from typing import get_args

import streamlit as st

from core.lab import Lab
from core.runs.record import State
from core.runs.search import ORDERS, Query
from core.spec import Method

ARCHIVE = {"current": False, "archived": True, "all": None}
"""Which side of the archive is shown, by the word for it."""


def filters(lab: Lab) -> Query:
    """Draw the filters, and give what they let through."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "Search", type="search", key="text", bind="query-params", on_change=_first_page, width=300, max_chars=200,
            placeholder="Name, note, tag, cause, …",
            help="Every word must stand somewhere: in the run's id or name, its dataset, experiment, tags, note or "
            "cause of failure.",
        )  # fmt: skip
        sort = st.selectbox(
            "Order", list(ORDERS), key="sort", bind="query-params", on_change=_first_page, width=200
        )  # fmt: skip
        archive = st.segmented_control(
            "Archive", list(ARCHIVE), default="current", key="archive", bind="query-params", on_change=_first_page,
            required=True, help="Runs in the archive are kept, out of sight.",
        )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        states = st.pills(
            "State", get_args(State), selection_mode="multi", key="state", bind="query-params", wrap=True,
            on_change=_first_page,
        )  # fmt: skip
        methods = st.pills(
            "Method", get_args(Method), selection_mode="multi", key="method", bind="query-params", wrap=True,
            on_change=_first_page,
        )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        datasets = _several("Dataset", lab.search.datasets(), "dataset")
        tags = _several("Tag", lab.search.tags(), "tag")
    return Query(
        states=tuple(states), methods=tuple(methods), datasets=datasets, tags=tags, text=text or "",
        archived=ARCHIVE[archive], sort=sort,
    )  # fmt: skip


def _several(label: str, names: list[str], key: str) -> tuple[str, ...]:
    """A choice among names, where there is one to make; a name in the address stays there."""
    chosen = st.query_params.get_all(key)
    if len(names) < 2 and not (names and (key == "tag" or chosen)):
        return ()
    return tuple(
        st.multiselect(label, names, key=key, bind="query-params", on_change=_first_page, width=300, placeholder="Any")
    )


def _first_page() -> None:
    """What is found now begins at its beginning."""
    st.query_params.pop("page", None)
