"""The button that starts an experiment, unless there is one already that trains the same runs."""

from __future__ import annotations

import streamlit as st

from core.engine.launcher import Planned
from core.errors import ShortOfMemoryError
from core.lab import Lab
from core.numbers import counted
from core.store.record import Experiment
from core.study.report.answer import with_bases
from pages.shared.experiment.state import finish_words, left_of, state_text
from pages.shared.ui.literal import literal
from pages.shared.ui.primary import on_primary

KNOWN = "known-experiment"
"""Session state key: id of the experiment that was there already when a button to start it was pressed."""


def start_button(
    lab: Lab, planned: Planned, trim: bool, label: str, key: str, wide: bool = False, check_memory: bool = False
) -> Experiment | None:
    """Draw a button that queues an experiment, or shows the one that has, or will have, a result for each of its runs.

    Those would be trained from the same seeds. A press is also counted twice where somebody presses twice, because the
    page of the first press is drawn slowly. Where such an experiment was stopped, there are two buttons: one finishes
    it, the other one starts anew. Nothing is forecast before a press, so the button is there as soon as its form is.

    Args:
        lab: queues the runs.
        planned: what is asked for.
        trim: as of :meth:`core.engine.experiments.Experiments.start`.
        label: of the button.
        key: of the button.
        wide: whether it is as wide as what is around it.
        check_memory: whether nothing is queued that does not fit in memory, as on a page that says so only later.

    Returns:
        The experiment of which a button was pressed just now.

    Raises:
        LabError: it cannot be queued.
        ShortOfMemoryError: it does not fit in memory, which was to be checked.
    """

    def queue(anew: bool = False) -> Experiment:
        missing = lab.estimates.shortage(planned.specs) if check_memory else None
        if missing is not None:
            raise ShortOfMemoryError(missing)
        return lab.experiments.start(planned, trim=trim, anew=anew)

    known = lab.experiments.find(planned)
    left = None if known is None else left_of(lab, lab.store.members(known))
    width = "stretch" if wide else "content"
    if known is None or left is None:
        if not st.button(on_primary(label), type="primary", icon=":material/play_arrow:", key=key, width=width):
            return None
        st.session_state[KNOWN] = known and known.id
        with st.spinner("Queueing the runs"):
            return known or queue()
    st.caption(literal(f"{known.name} has these runs: {state_text(with_bases(lab, lab.store.members(known)))}."))
    with st.container(horizontal=not wide):
        words = on_primary(finish_words(left, lab.store.members(known)))
        finish = st.button(words, type="primary", icon=":material/play_arrow:", key=key, width=width)
        anew = st.button(f"Start anew: {runs_text(planned)}", icon=":material/replay:", key=f"{key}-anew", width=width)
    if not finish and not anew:
        return None
    st.session_state.pop(KNOWN, None)
    with st.spinner("Queueing the runs"):
        if anew:
            return queue(anew=True)
        lab.launcher.finish(known.runs)
        return known


def runs_text(planned: Planned) -> str:
    """How many runs are trained, bases among them, as in ``20 runs`` or ``33 to 67 runs``."""
    low, high = len(planned.at_least), len(planned.at_most)
    return counted(low, "run") if low == high else f"{low} to {counted(high, 'run')}"


def was_known(experiment: Experiment) -> bool:
    """Whether the last press on a button to start an experiment found that this one is there already."""
    return bool(st.session_state.get(KNOWN) == experiment.id)


def say_if_known(experiment: Experiment) -> None:
    """Say that nothing was started, where that is so."""
    if was_known(experiment):
        st.info(
            "This experiment has these runs already, so none is trained again.",
            icon=":material/info:",
        )
