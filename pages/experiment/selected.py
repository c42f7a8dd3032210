"""What is shown in place of a whole experiment: runs that were selected on Runs, or a point of a study."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from core.numbers import counted, listed
from core.rule.answer import Answer
from core.rule.place import Place
from core.store.record import Experiment, Run
from core.study.arms.settings import share_base_and_task
from core.study.report.answer import answer_of, is_study
from pages.shared.experiment.current import QUERY as EXPERIMENT
from pages.shared.ui.literal import literal

SELECTION = "selection"
"""Id of the experiment that selected runs are shown as."""


def follow_run(lab: Lab) -> None:
    """Have the address name the experiment of the adapter that it names, where it names none."""
    asked = lab.store.runs_of([st.query_params.get("adapter", "")])
    if asked and asked[0].experiment and EXPERIMENT not in st.query_params:
        st.query_params[EXPERIMENT] = asked[0].experiment


def selected_runs(lab: Lab) -> Experiment | None:
    """The runs that the address names, where they share base and task; None where it names none."""
    asked = list(dict.fromkeys(filter(None, st.query_params.get("runs", "").split(","))))
    runs = lab.store.runs_of(asked)
    if gone := [id for id in asked if id not in {run.id for run in runs}]:
        st.warning(literal(f"There is no run {listed(gone)}; it may have been deleted."), icon=":material/link_off:")
    if not share_base_and_task(runs):
        if len(runs) > 1:
            st.warning("These runs differ in base or task, so they are not compared.", icon=":material/link_off:")
        return None
    shown = f"Showing {counted(len(runs), 'selected run')}."
    _narrowed(shown, "Choose an experiment", ":material/stacked_line_chart:", "runs")
    return Experiment(SELECTION, "Selected runs", runs[0].created, runs[0].spec.base or "", tuple(r.id for r in runs))


def wanted_arms(runs: list[Run]) -> list[Run]:
    """The runs of the arms that the address names, with a button that shows all again; all where it names none."""
    asked = dict.fromkeys(filter(None, st.query_params.get("arms", "").split(",")))
    wanted = {run.spec.arm for run in runs} & asked.keys()
    if gone := [key for key in asked if key not in wanted]:
        missing = f"This experiment has no setting {listed(gone)}; its runs may have been deleted."
        st.warning(literal(missing), icon=":material/link_off:")
    if not wanted:
        return runs
    settings = len({run.spec.arm for run in runs})
    shown = f"Showing {len(wanted)} of {settings} settings; the verdict, its warnings and the tests are those of all."
    _narrowed(shown, "Show all", ":material/select_all:", "arms")
    return [run for run in runs if run.spec.arm in wanted]


def _narrowed(shown: str, label: str, icon: str, query: str) -> None:
    """Say what is shown, with a button that takes the parameter which narrows it out of the address."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(shown)
        if st.button(label, icon=icon, type="tertiary"):
            del st.query_params[query]
            st.rerun()


QUERY = "point"
"""URL parameter with the point of a study."""

WHOLE = "All"
"""The choice beside the points, of which no name is the same."""


def study_of(lab: Lab, experiment: Experiment) -> Answer | None:
    """The answer along the axis of a study; None for an experiment without an axis."""
    return answer_of(lab, experiment) if is_study(experiment) else None


def point_shown(found: Answer) -> Place | None:
    """Draw the choice of a point of a study; return what was found there, or None for the whole of it."""
    points = {str(at.point): at for at in found.places}
    if st.query_params.get(QUERY, "") not in points:
        st.query_params.pop(QUERY, None)
    picked = st.segmented_control(
        found.axis.title,
        [WHOLE, *points],
        default=WHOLE,
        format_func=lambda name: found.axis.tick(points[name].point) if name in points else name,
        key=QUERY,
        bind="query-params",
        required=True,
    )
    return points.get(picked)
