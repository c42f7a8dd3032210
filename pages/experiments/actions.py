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
from core.study.report.answer import last_read
from pages.experiments.delete import ask_to_delete
from pages.experiments.table import select
from pages.shared.experiment.actions import action_button, action_dialog
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
        if len(experiments := {run.experiment for run in runs}) == 1 and None not in experiments:
            experiment = lab.store.experiment(str(runs[0].experiment))
            found = last_read(lab, experiment)
            action_button(lab, experiment, found, "longer")
            action_dialog(lab, experiment, found)
        if live:
            words = "Stop" if len(live) == len(ids) else f"Stop ({len(live)} of {len(ids)})"
            _button(words, "stop", _attempt, lab.stop, *live, key="stop", help="Keeps what has been learned so far.")
        help = "Queues new runs with the same settings."
        _button("Run again", "replay", _attempt, _repeat, lab, ids, key="repeat", help=help)
        if not all(entry.run.archived for entry in entries):
            help = "Hides the runs from the list."
            _button("Archive", "archive", _attempt, lab.notes.archive, ids, key="archive", help=help)
        if any(entry.run.archived for entry in entries):
            help = "Shows the runs in the list again."
            _button("Unarchive", "unarchive", _attempt, lab.notes.archive, ids, False, key="unarchive", help=help)
        if len(ids) > 1:
            _tag(lab, ids)
        _button("Delete", "delete", ask_to_delete, ids, key="delete")
        _compare_link(entries)
        _button("Clear selection", "deselect", select, [], key="clear", type="tertiary")


def problem() -> None:
    """Show the error message of the last action, if it failed."""
    if sentence := st.session_state.pop(PROBLEM, None):
        st.error(literal(sentence))


def _button(label: str, icon: str, act: Callable[..., object], *args: object, key: str, **more: Any) -> None:
    """Draw a button that calls ``act(*args)``."""
    st.button(label, icon=f":material/{icon}:", key=f"runs-{key}", on_click=act, args=args, **more)


def _repeat(lab: Lab, ids: list[str]) -> None:
    new = lab.launcher.repeat(*ids)
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
    """Draw a link to the experiment of a run, or to several runs where these can be compared."""
    runs = [entry.run for entry in entries]
    if len(runs) == 1 and runs[0].experiment:
        label, query = "Open its experiment", {"experiment": runs[0].experiment}
    elif len(runs) > 1 and share_base_and_task(runs):
        label, query = "Compare", {"runs": ",".join(run.id for run in runs)}
    else:
        return
    link("experiment", label, query)
