"""The button that stops what is trained: all of it, or single runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from core.lab import Lab
from core.numbers import counted
from core.store.record import Run
from pages.shared.experiment.state import is_stopping
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import state_badge

STAYS = (
    "What has been learned stays, and so does where each run was: *Finish* trains them to their ends later, with the "
    "numbers that they would have had."
)
"""Said before several runs are stopped."""

MAX_ROWS = 50
"""Maximum number of runs that are listed with a button of their own."""


def stop_button(lab: Lab, runs: Sequence[Run], labels: Mapping[str, str], key: str) -> bool:
    """Draw a popover with a word on what stays, and buttons that stop the live ones of these runs or one of them; once
    all are to stop, say so in its place.

    Its content is drawn only while it is open, as there may be hundreds of runs; returns whether it is.

    Args:
        lab: has the runs.
        runs: those that are looked at.
        labels: of their settings, by the key of the arm.
        key: prefix of the widget keys.
    """
    if is_stopping(runs):
        st.button("Stopping …", icon=":material/stop:", key=f"{key}-stopping", disabled=True)
        return False
    popover = st.popover("Stop all", icon=":material/stop:", key=f"{key}-stop", on_change="rerun")
    if not popover.open:
        return False
    live = [run for run in runs if run.is_live]
    with popover:
        st.markdown(STAYS)
        st.button(
            f"Stop {counted(len(live), 'run')}",
            icon=":material/stop:",
            key=f"{key}-stop-all",
            on_click=_stop_all,
            args=(lab, [run.id for run in runs], f"{key}-stop"),
        )
        for run in live[:MAX_ROWS] if len(live) > 1 else ():
            _run(lab, run, labels[run.spec.arm], key)
        if len(live) > MAX_ROWS:
            st.caption(f"And {len(live) - MAX_ROWS} more; Experiments lists them all.")
    return True


def _stop_all(lab: Lab, ids: Sequence[str], popover: str) -> None:
    """Stop those of these runs that are queued or running, in one call, and close the popover."""
    st.session_state[popover] = False
    lab.stop(*(run.id for run in lab.store.runs_of(ids) if run.is_live))


def _run(lab: Lab, run: Run, label: str, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"{key}-{run.id}"):
        state_badge(run)
        st.markdown(literal(f"{label}, seed {run.spec.seed}"), width="stretch")
        st.button(
            "Stop",
            icon=":material/stop:",
            key=f"{key}-stop-{run.id}",
            on_click=lab.stop,
            args=(run.id,),
            help="Keeps what has been learned so far.",
            disabled=run.stop_asked,
        )
