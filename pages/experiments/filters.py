"""Filters and order of the list of runs; every choice is kept in the URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import streamlit as st

from core.lab import Lab
from core.methods.registry import METHODS
from core.store.record import State
from core.store.search import ORDERS, Query
from pages.shared.experiment.current import QUERY as EXPERIMENT
from pages.shared.experiment.current import known, missing_sentence
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import distinct, when

ARCHIVE = {"current": False, "archived": True, "all": None}
"""Values of :attr:`Query.archived` by their label."""

MORE = ("method", "dataset", "network", "tag")
"""Filters behind the button, by their URL parameter."""


def filters(lab: Lab) -> Query:
    """Draw the filters and return the query that they define."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "Search",
            type="search",
            key="text",
            bind="query-params",
            on_change=_first_page,
            width=300,
            placeholder="Name, note, tag, cause, …",
            help="Finds runs that contain every word in their id, name, dataset, network, experiment, tags, note or "
            "cause of failure.",
        )
        experiment = _experiment(lab)
        sort = st.selectbox("Order", list(ORDERS), key="sort", bind="query-params", on_change=_first_page, width=200)
        chosen = sum(len(st.query_params.get_all(key)) for key in MORE)
        more = st.popover(
            f"More filters ({chosen})" if chosen else "More filters", icon=":material/filter_list:", key="runs-more"
        )
    with more:
        titles = {method.name(): method.title for method in METHODS}
        methods = _several("Method", list(titles), "method", titles)
        datasets = _several("Dataset", lab.search.datasets(), "dataset")
        called = {card.name: card.title for card in reversed(lab.networks.list())}
        networks = _several("Network", lab.search.networks(), "network", called)
        tags = _several("Tag", lab.search.tags(), "tag")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        states = _pills("State", get_args(State), "state")
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
        states=states,
        methods=methods,
        datasets=datasets,
        networks=networks,
        tags=tags,
        text=text or "",
        archived=ARCHIVE[archive],
        sort=sort,
        experiments=(experiment,) if experiment else (),
    )


def _experiment(lab: Lab) -> str | None:
    """Draw the choice of an experiment; return its id, or None for all runs.

    If the address names one that does not exist, this says so, and all runs are listed.
    """
    asked = st.query_params.get(EXPERIMENT)
    found = known(lab, asked) if asked else None
    if asked and found is None:
        st.warning(literal(missing_sentence(asked)), icon=":material/link_off:")
    names = {row.id: f"{row.name} · {when(row.created)}" for row in lab.store.experiment_rows()}
    if found is not None:
        names.setdefault(found.id, f"{found.name} · {when(found.created)}")
    names = distinct(names)
    st.session_state["runs-experiment"] = found.id if found else None
    st.selectbox(
        "Experiment",
        list(names),
        index=None,
        format_func=names.__getitem__,
        key="runs-experiment",
        placeholder="All runs",
        on_change=_take_experiment,
        width=300,
    )
    return found.id if found else None


def _take_experiment() -> None:
    """Write the chosen experiment into the address, or take it out."""
    if chosen := st.session_state["runs-experiment"]:
        st.query_params[EXPERIMENT] = chosen
    else:
        st.query_params.pop(EXPERIMENT, None)
    _first_page()


def _pills(label: str, options: tuple[Any, ...], key: str) -> tuple[Any, ...]:
    """Draw ``options`` as pills, of which any number may be chosen."""
    chosen = st.pills(
        label, options, selection_mode="multi", key=key, bind="query-params", wrap=True, on_change=_first_page
    )
    return tuple(chosen)


def _several(label: str, names: list[str], key: str, titles: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Draw names as pills, of which any number may be chosen; ``titles`` are what is written on them, if not the names.

    The address has the names as they are, and not their labels in Markdown, which is what Streamlit would bind to it.
    """
    if not names:
        return ()
    chosen = [name for name in names if name in st.query_params.get_all(key)]
    st.session_state[f"runs-{key}"] = chosen
    st.pills(
        label,
        names,
        selection_mode="multi",
        wrap=True,
        key=f"runs-{key}",
        format_func=lambda name: literal((titles or {}).get(name, name)),
        on_change=_take_over,
        args=(key,),
    )
    return tuple(chosen)


def _take_over(key: str) -> None:
    """Write the pills that are chosen into the address."""
    st.query_params[key] = st.session_state[f"runs-{key}"]
    _first_page()


def _first_page() -> None:
    """Go back to the first page of the list."""
    st.query_params.pop("page", None)
