"""Which runs the Runs page lists, in what order; every choice stands in the address."""

from __future__ import annotations

from typing import get_args

import streamlit as st

from core.lab import Lab
from core.spec import Method
from core.store.record import State
from core.store.search import ORDERS, Query

ARCHIVE = {"current": False, "archived": True, "all": None}
"""Which side of the archive is shown, by the word for it."""

MORE = ("method", "dataset", "tag")
"""Filters behind the button, by their name in the address."""


def filters(lab: Lab) -> Query:
    """Draw the filters, and give what they let through."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "Search",
            type="search",
            key="text",
            bind="query-params",
            on_change=_first_page,
            width=300,
            placeholder="Name, note, tag, cause, …",
            help="Every word must stand somewhere: in the run's id or name, its dataset, experiment, tags, note or "
            "cause of failure.",
        )
        sort = st.selectbox("Order", list(ORDERS), key="sort", bind="query-params", on_change=_first_page, width=200)
        chosen = sum(len(st.query_params.get_all(key)) for key in MORE)
        more = st.popover(
            f"More filters ({chosen})" if chosen else "More filters", icon=":material/filter_list:", key="runs-more"
        )
    with more:
        methods = st.pills(
            "Method",
            get_args(Method),
            selection_mode="multi",
            key="method",
            bind="query-params",
            wrap=True,
            on_change=_first_page,
        )
        datasets = _several("Dataset", lab.search.datasets(), "dataset")
        tags = _several("Tag", lab.search.tags(), "tag")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        states = st.pills(
            "State",
            get_args(State),
            selection_mode="multi",
            key="state",
            bind="query-params",
            wrap=True,
            on_change=_first_page,
        )
        archive = st.segmented_control(
            "Archive",
            list(ARCHIVE),
            default="current",
            key="archive",
            bind="query-params",
            on_change=_first_page,
            required=True,
        )
    return Query(
        states=tuple(states),
        methods=tuple(methods),
        datasets=datasets,
        tags=tags,
        text=text or "",
        archived=ARCHIVE[archive],
        sort=sort,
    )


def _several(label: str, names: list[str], key: str) -> tuple[str, ...]:
    """A choice among names."""
    return tuple(st.multiselect(label, names, key=key, bind="query-params", on_change=_first_page, placeholder="Any"))


def _first_page() -> None:
    """What is found now begins at its beginning."""
    st.query_params.pop("page", None)
