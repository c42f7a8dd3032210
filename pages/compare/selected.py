"""Runs that were selected on the Runs page, as an experiment that Compare can show."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from core.store.record import Experiment
from core.study.arms.settings import share_base_and_task
from core.wording.numbers import listed
from pages.shared.literal import literal


def selected_runs(lab: Lab) -> Experiment | None:
    """The runs that the address names, where they share base and task; None where it names none."""
    asked = list(dict.fromkeys(filter(None, st.query_params.get("runs", "").split(","))))
    runs = lab.runs_of(asked)
    if gone := [id for id in asked if id not in {run.id for run in runs}]:
        st.warning(literal(f"There is no run {listed(gone)}; it may have been deleted."), icon=":material/link_off:")
    if not share_base_and_task(runs):
        return None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Showing {len(runs)} selected run{'' if len(runs) == 1 else 's'}.")
        if st.button("Choose an experiment", icon=":material/stacked_line_chart:", type="tertiary"):
            del st.query_params["runs"]
            st.rerun()
    return Experiment("selection", "Selected runs", runs[0].created, str(runs[0].spec.base), tuple(r.id for r in runs))
