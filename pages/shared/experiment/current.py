"""The experiment that is open: in the address, and kept from page to page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import streamlit as st

from core.errors import UnknownRunError
from core.lab import Lab
from core.store.judged import Judged
from core.store.record import Experiment
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import experiment_text, pick, when

E = TypeVar("E", Experiment, Judged, Experiment | Judged)

QUERY = "experiment"
"""URL parameter with the experiment's id."""

OLD_QUERY = "sweep"
"""URL parameter with the same in earlier versions."""

CURRENT = "current-experiment"
"""Session state key: id of the experiment that was shown last."""


def remember(id: str) -> None:
    """Make an experiment the current one, in the address and in the session."""
    st.query_params[QUERY] = st.session_state[CURRENT] = id


def follow_address(lab: Lab) -> None:
    """Make the experiment, or the judged results, that the address names the current one, before a page is drawn."""
    asked = st.query_params.get(QUERY)
    if asked and (known(lab, asked) or lab.judged.find(asked)):
        st.session_state[CURRENT] = asked


def asked_for(lab: Lab, judged: bool = False) -> str | None:
    """Id of the experiment that the address names, whether it exists or not, or else of the session's current one.

    Args:
        lab: has experiments.
        judged: whether the current one may be results that others report.
    """
    if old := st.query_params.get(OLD_QUERY):
        del st.query_params[OLD_QUERY]
        st.query_params.setdefault(QUERY, old)
    asked = st.query_params.get(QUERY)
    if asked:
        return asked
    shown: str | None = st.session_state.get(CURRENT)
    return shown if shown and (known(lab, shown) or (judged and lab.judged.find(shown))) else None


def known(lab: Lab, id: str) -> Experiment | None:
    """The experiment with this id; None if there is none."""
    try:
        return lab.store.experiment(id)
    except UnknownRunError:
        return None


def missing_sentence(id: str) -> str:
    """Say that an experiment does not exist, as plain text."""
    return f"There is no experiment {id!r}; it may have been deleted."


def compared_picker(lab: Lab) -> Experiment | Judged | None:
    """Draw a choice of experiments, newest first, and then of results that others report; return None without any.

    If the address names one that does not exist, this says so, draws the choice, and ends the page.
    """
    experiments, asked = lab.store.experiments(), asked_for(lab, judged=True)
    found = known(lab, asked) if asked else None
    if found is not None and found.id not in {experiment.id for experiment in experiments}:
        experiments.append(found)
    names = {experiment.id: experiment_text(lab, experiment) for experiment in experiments}
    reported = lab.judged.list()
    names |= {each.id: judged_text(each) for each in reported}
    everything: list[Experiment | Judged] = [*experiments, *reported]
    return choose_experiment("Experiment", everything, names, asked, missing_sentence(asked or ""))


def judged_text(judged: Judged) -> str:
    """Describe results that others report in one line."""
    return f"{judged.name} · reported by others · {when(judged.created)}"


def choose_experiment(
    label: str, experiments: Sequence[E], names: dict[str, str], asked: str | None, missing: str
) -> E | None:
    """Draw a choice of these experiments, and remember it; return None if there are none.

    Args:
        label: of the widget.
        experiments: what to choose from, the default first.
        names: the text for each, by id.
        asked: as of :func:`asked_for`.
        missing: what to say if that one is not among the experiments; the page ends then.
    """
    if not experiments:
        if asked:
            st.info(literal(missing), icon=":material/info:")
        return None
    if asked:
        st.query_params[QUERY] = asked
    id = pick(label, {each.id: names[each.id] for each in experiments}, QUERY, missing=missing)
    remember(id)
    return next(experiment for experiment in experiments if experiment.id == id)
