"""Sending an experiment to TensorBoard or MLflow, and where the trackers stand that get every run."""

from __future__ import annotations

from functools import partial

import streamlit as st

from core.background import BackgroundState
from core.errors import TrackerError
from core.lab import Lab
from core.numbers import counted
from core.store.record import Experiment
from core.study.report.html import report_file
from core.tracking.tracker import Tracker
from core.tracking.tracking import TRACKERS, tracker_of
from pages.shared.ui.access import is_local
from pages.shared.ui.literal import literal
from pages.shared.ui.primary import on_primary

TICK = 0.5
"""Seconds between two updates of the progress."""

MAX_ADDRESS = 1000
"""Maximum number of characters of an address."""


def send_to_tracker(lab: Lab, experiment: Experiment) -> None:
    """Draw the choice of a tracker, a button that sends an experiment to it, and what became of that.

    Addresses can be typed only where nobody but this machine has access, since they may be paths on it. Others choose
    among the trackers of ``LORA_LAB_TRACK``.
    """
    key = f"track-{experiment.id}"
    st.caption(
        "Settings, curves and results of every run that has ended; to MLflow adapters and the report as well. Runs "
        "that are there already are not sent again."
    )
    _written(lab)
    tracker = _chosen(lab, key)
    if tracker is not None and st.button(on_primary("Send"), type="primary", key=f"{key}-send"):
        lab.tracking.begin(experiment, tracker, partial(report_file, lab))
    _progress(lab, experiment)


def _chosen(lab: Lab, key: str) -> Tracker | None:
    """Draw the choice of a tracker. Returns: the chosen one; None for none that can be used."""
    known = {written.tracker.shown: written.tracker for written in lab.tracking.written}
    kinds = {kind: tracker.title for kind, tracker in TRACKERS.items()} if is_local() else {}
    if not known and not kinds:
        st.caption(
            f"Addresses can be typed only where nobody else has access. Set LORA_LAB_TRACK, or run "
            f"`python -m core track {key.removeprefix('track-')} --to …` on the machine of the dashboard."
        )
        return None
    names = {shown: literal(shown) for shown in known} | kinds
    choice = st.radio("Tracker", list(names), format_func=names.__getitem__, key=f"{key}-to")
    if choice in known:
        return known[choice]
    address = st.text_input(
        "Address",
        key=f"{key}-address-{choice}",
        max_chars=MAX_ADDRESS,
        placeholder=TRACKERS[choice].example,
        help="A folder on this machine, for `tensorboard --logdir`."
        if choice == "tensorboard"
        else "A SQLite file on this machine, or a server, as in http://localhost:5000.",
    )
    if not address:
        return None
    try:
        return tracker_of(f"{choice}:{address}")
    except TrackerError as error:
        st.error(literal(str(error)))
        return None


def _written(lab: Lab) -> None:
    """Draw a line for each tracker that gets every run."""
    for written in lab.tracking.written:
        line = f"**{literal(written.tracker.shown)}** gets every run when it ends."
        if written.error:
            st.warning(f"{line} {literal(written.error)}")
        else:
            st.caption(line)


def _progress(lab: Lab, experiment: Experiment) -> None:
    """Draw what is sent of this experiment, with a button to stop, and what became of it."""
    running = any(state.running for state in _sendings(lab, experiment))

    @st.fragment(run_every=TICK if running else None)
    def draw() -> None:
        states = _sendings(lab, experiment)
        if running and not any(state.running for state in states):
            st.rerun()
        for state in states:
            name = literal(state.name.removeprefix(f"{experiment.id} to "))
            if state.running:
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.progress(min(state.progress, 1.0), f"{name}: {state.progress:.0%}")
                    if st.button("Stop", icon=":material/stop:", key=f"track-stop-{state.name}"):
                        lab.tracking.sendings.stop(state.name)
            elif state.error:
                st.error(literal(state.error), icon=":material/error:")
            elif isinstance(state.result, int) and state.progress == 1:
                sent = counted(state.result, "run")
                st.success(f"{name}: {sent} sent; it has the others already.", icon=":material/check:")
            else:
                st.info(f"{name}: stopped; what was sent stays.", icon=":material/stop_circle:")

    draw()


def _sendings(lab: Lab, experiment: Experiment) -> list[BackgroundState]:
    """What is sent of this experiment, and what was."""
    return [state for state in lab.tracking.sendings.states() if state.name.startswith(f"{experiment.id} to ")]
