"""Buttons that act on the selected runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from core.errors import LabError
from core.lab import Lab
from core.numbers import counted
from core.store.search import Entry
from core.study.arms.settings import share_base_and_task
from pages.runs.delete import ask_to_delete
from pages.runs.table import select
from pages.shared.experiment.state import finish_button
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal

PROBLEM = "runs-problem"
"""Session state key: error message of the last action that failed."""


def actions(lab: Lab, entries: Sequence[Entry]) -> None:
    """Draw a button for each action that these runs allow."""
    runs = [entry.run for entry in entries]
    ids = [run.id for run in runs]
    live = [run.id for run in runs if run.is_live]
    with st.container(horizontal=True, vertical_alignment="center"):
        finish_button(lab, runs, "runs")
        if live:
            _button(
                "Stop",
                "stop",
                lambda ids: lab.stop(*ids),
                live,
                len(ids),
                help="Keeps what has been learnt so far.",
            )
        st.button(
            "Run again",
            icon=":material/replay:",
            key="runs-repeat",
            on_click=_attempt,
            args=(_repeat, lab, ids),
            help="Queues new runs with the same settings.",
        )
        if not all(entry.run.archived for entry in entries):
            st.button(
                "Archive",
                icon=":material/archive:",
                key="runs-archive",
                on_click=_attempt,
                args=(lab.notes.archive, ids),
                help="Hides the runs from the list.",
            )
        if any(entry.run.archived for entry in entries):
            st.button(
                "Unarchive",
                icon=":material/unarchive:",
                key="runs-unarchive",
                on_click=_attempt,
                args=(lab.notes.archive, ids, False),
                help="Shows the runs in the list again.",
            )
        if len(ids) > 1:
            _tag(lab, ids)
        st.button("Delete", icon=":material/delete:", key="runs-delete", on_click=ask_to_delete, args=(ids,))
        _compare_link(entries)
        st.button(
            "Clear selection",
            icon=":material/deselect:",
            key="runs-clear",
            type="tertiary",
            on_click=select,
            args=([],),
        )


def problem() -> None:
    """Show the error message of the last action, if it failed."""
    if sentence := st.session_state.pop(PROBLEM, None):
        st.error(literal(sentence))


def _button(
    label: str, icon: str, act: Callable[[list[str]], object], ids: list[str], of: int, **settings: Any
) -> None:
    """Draw a button that acts on ``ids``, which are some of the ``of`` selected runs; its label says how many."""
    words = label if len(ids) == of else f"{label} ({len(ids)} of {of})"
    st.button(
        words,
        icon=f":material/{icon}:",
        key=f"runs-{label.lower()}",
        on_click=_attempt,
        args=(act, ids),
        **settings,
    )


def _repeat(lab: Lab, ids: list[str]) -> None:
    new = lab.repeat(*ids)
    st.toast(f"{counted(len(new), 'run')} queued", icon=":material/schedule:")


def _attempt(act: Callable[..., object], *arguments: object) -> None:
    """Call ``act``; the page shows the message if it fails."""
    try:
        act(*arguments)
    except LabError as error:
        st.session_state[PROBLEM] = str(error)


def _tag(lab: Lab, ids: list[str]) -> None:
    with st.popover("Tag", icon=":material/label:"):
        tag = st.selectbox(
            "Tag for all selected runs",
            lab.search.tags(),
            index=None,
            accept_new_options=True,
            key="runs-tag-all",
            placeholder="Choose or type a tag",
        )
        st.button(
            "Add tag", disabled=not tag, key="runs-tag-add", on_click=_attempt, args=(lab.notes.add_tag, ids, tag)
        )


def _compare_link(entries: Sequence[Entry]) -> None:
    """Draw a link to Compare if these runs can be compared."""
    runs = [entry.run for entry in entries]
    if len(runs) == 1 and runs[0].experiment:
        label, query = "Open in Compare", {"experiment": runs[0].experiment}
    elif len(runs) > 1 and share_base_and_task(runs):
        label, query = "Compare", {"runs": ",".join(run.id for run in runs)}
    else:
        return
    link("compare", label, query)
