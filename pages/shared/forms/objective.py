"""The fold in which the primary measure and the margin of an experiment are chosen."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.objectives.measure import Measure
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.spec import bounds
from core.wording.tasks import judged_text

TITLE = "Measure and margin"

MARGIN_STEPS = 100
"""Number of steps from a margin of 0 to the maximum margin of a measure."""


def objective_form(key: str, objective: ObjectiveSpec = CLASSIFICATION) -> ObjectiveSpec:
    """Draw the fold, closed at first; its label says what is chosen where that is not the default.

    Args:
        key: prefix of the form's widget keys.
        objective: what is learned; its measures are offered.

    Returns:
        The objective with what was chosen.
    """
    own, known = _own_key(key, objective), {measure.name: measure for measure in objective.measures}
    chosen = _chosen(own, objective)
    label = TITLE if chosen == objective.without_choices() else f"{TITLE}: {judged_text(chosen)}"
    # The key keeps the fold open while its label changes.
    with st.expander(label, icon=":material/straighten:", key=f"{own}-objective"):
        about = bounds(ObjectiveSpec, "measure")
        notes = [f"{measure.title}: {measure.about}" for measure in known.values() if measure.about]
        left, right = st.columns(2, gap="medium")
        with left:
            name = st.selectbox(
                about.title,
                list(known),
                format_func=lambda name: known[name].title,
                key=f"{own}-measure",
                help=" ".join([about.description, *notes]),
                persist_state="session",
            )
        with right:
            within = _margin(own, known[name])
    return objective.but(measure=name, within=within)


def objective_values(key: str, objective: ObjectiveSpec) -> dict[str, Any]:
    """What the widgets of :func:`objective_form` show for an objective, by their keys."""
    own, name = _own_key(key, objective), objective.primary.name
    return {f"{own}-measure": name, f"{own}-margin-{name}": objective.margin}


def _own_key(key: str, objective: ObjectiveSpec) -> str:
    """Prefix of the widget keys, by the objective: another one has other measures."""
    return key if objective.kind == CLASSIFICATION.kind else f"{key}-{objective.kind}"


def _chosen(own: str, objective: ObjectiveSpec) -> ObjectiveSpec:
    """What the widgets say before they are drawn."""
    name = st.session_state.get(f"{own}-measure") or ""
    return objective.but(measure=name, within=st.session_state.get(f"{own}-margin-{name}"))


def _margin(own: str, measure: Measure) -> float | None:
    """Draw the margin in the unit of a measure; None where it is left empty."""
    about, unit = bounds(ObjectiveSpec, "within"), measure.difference_unit
    return st.number_input(
        f"{about.title}, in {unit}" if unit else about.title,
        float(about.low or 0),
        measure.max_margin,
        measure.margin,
        measure.max_margin / MARGIN_STEPS,
        format="%g",
        key=f"{own}-margin-{measure.name}",
        help=about.description,
        persist_state="session",
    )
