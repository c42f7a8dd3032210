"""The experiment that is open: in the address, and kept from page to page."""

from __future__ import annotations

import streamlit as st

from core.errors import UnknownRunError
from core.lab import Lab
from core.store.judged import Judged
from core.store.record import Experiment

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


def opened(lab: Lab) -> Experiment | Judged | None:
    """The experiment that is open, or results that others report: what :func:`asked_for` says, else the newest.

    It is remembered. None where there is none, or what the address names is gone.
    """
    asked = asked_for(lab, judged=True)
    if asked is None:
        found = next(iter([*lab.store.experiments(), *lab.judged.list()]), None)
    else:
        found = known(lab, asked) or lab.judged.find(asked)
    if found is not None:
        remember(found.id)
    return found
