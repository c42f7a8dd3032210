"""Starting an experiment, unless there is one already that trains the same runs."""

from __future__ import annotations

import streamlit as st

from core.engine.launcher import Planned
from core.lab import Lab
from core.store.record import Experiment

KNOWN = "known-experiment"
"""Session state key: id of the experiment that was there already when a button to start it was pressed."""


def start(lab: Lab, planned: Planned, trim: bool) -> Experiment:
    """Queue an experiment, or return the newest one that has, or will have, a result for each of its runs.

    They would be trained from the same seeds. A press is also counted twice where somebody presses twice, because the
    page of the first press is drawn slowly.

    Args:
        lab: queues the runs.
        planned: what is asked for.
        trim: as of :meth:`core.engine.launcher.Launcher.queue`.

    Raises:
        LabError: it cannot be queued.
    """
    known = lab.find_experiment(planned.runs)
    st.session_state[KNOWN] = known and known.id
    return known or lab.queue(planned, trim=trim)


def was_known(experiment: Experiment) -> bool:
    """Whether the last press on a button to start an experiment found that this one is there already."""
    return bool(st.session_state.get(KNOWN) == experiment.id)


def say_if_known(experiment: Experiment) -> None:
    """Say that nothing was started, where that is so."""
    if was_known(experiment):
        st.info(
            "This experiment has these runs already, so none is trained again. More seeds, added on Compare, make "
            "the answer more certain.",
            icon=":material/info:",
        )
