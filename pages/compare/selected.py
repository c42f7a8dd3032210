"""Runs that were selected on the Runs page, as an experiment that Compare can show."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from core.store.record import Experiment
from core.study.arms.settings import share_base_and_task


def selected_runs(lab: Lab) -> Experiment | None:
    """The runs that the address names, where they share base and task; None where it names none."""
    runs = lab.runs_of(list(dict.fromkeys(st.query_params.get("runs", "").split(","))))
    if not share_base_and_task(runs):
        return None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Showing {len(runs)} selected run{'' if len(runs) == 1 else 's'}.")
        if st.button("Choose an experiment", icon=":material/stacked_line_chart:", type="tertiary"):
            del st.query_params["runs"]
            st.rerun()
    return Experiment("selection", "Selected runs", runs[0].created, str(runs[0].spec.base), tuple(r.id for r in runs))
