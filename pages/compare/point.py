"""The point of a study that Compare shows: its runs are compared as those of any experiment."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from core.store.record import Experiment
from core.study.arms.study import AtPoint
from core.study.report.answer import is_study, study_of
from pages.shared.ui.links import link

QUERY = "point"
"""URL parameter with the point of a study."""


def point_shown(lab: Lab, experiment: Experiment) -> AtPoint | None:
    """Draw the choice of a point; return what was found there, or None for an experiment without an axis."""
    if not is_study(experiment):
        return None
    found = study_of(lab, experiment)
    points = {str(at.point): at for at in found.points}
    asked = st.query_params.get(QUERY, "")
    if asked not in points:
        st.query_params.pop(QUERY, None)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        picked = st.segmented_control(
            found.axis.title,
            list(points),
            default=next(iter(points)),
            format_func=lambda name: found.axis.tick(points[name].point),
            key=QUERY,
            bind="query-params",
            required=True,
        )
        link("study", "The whole study", {"experiment": experiment.id})
    return points[picked]
