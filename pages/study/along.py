"""What Study shows of a study along an axis: its answer, the figure, and every point in numbers."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.answer.levels import MEANINGS
from core.lab import Lab
from core.numbers import counted, seeds_text
from core.results.choice import dropped_sentences
from core.rule.answer import Answer
from core.store.record import Experiment, Run, is_under_way
from core.study.arms.study_words import study_basis, study_headline, study_level, study_reason, study_table
from core.study.figures.intervals import study_figure
from core.study.report.answer import answer_of, place_of
from core.wording.csv_file import csv_of
from core.wording.tasks import judged_text, task_text
from pages.shared.experiment.actions import experiment_actions
from pages.shared.experiment.state import deleted_line
from pages.shared.experiment.verdict_view import COLOURS, checks_view
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.download import download
from pages.shared.ui.figure_panel import show
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import start_text
from pages.study.live import live_part
from pages.study.sweep import took, troubles

EVERY = 3.0
"""Seconds between two updates while a study trains: its figure rests on all of its runs."""


def study_part(lab: Lab, experiment: Experiment, members: list[Run]) -> None:
    """Draw a study: while it trains what the validation part says so far, then its answer, figure and table.

    Raises:
        LabError: the look at its test part cannot be recorded.
    """
    found = answer_of(lab, experiment, members)
    first = members[0].spec
    task = lab.experiments.configuration(experiment).task
    st.caption(
        f"**{literal(found.axis.question)}** {literal(found.axis.line)} Base: {literal(start_text(lab, first))}. "
        f"Task: {literal(task_text(task, first.objective))}. Judged by {judged_text(first.objective)}, "
        f"{seeds_text(sorted({run.spec.seed for run in members}))}."
    )
    if is_under_way(members):
        live_part(lab, experiment, lambda runs: _so_far(lab, experiment, runs), EVERY)
        return
    took(lab, members)
    plain = place_of(lab, experiment, members)
    troubles(lab, members, plain)
    deleted_line(lab, experiment, members, "study")
    _answer(found)
    _figure(experiment, found)
    checks_view(found, "study-checks")
    with st.container(horizontal=True, vertical_alignment="center"):
        experiment_actions(lab, experiment, plain)
    if not found.unread:
        _points(lab, experiment, found)


def _so_far(lab: Lab, experiment: Experiment, members: Sequence[Run]) -> None:
    """The figure of the validation part, of the points of which something has finished."""
    found = answer_of(lab, experiment, members)
    if any(at.full is not None or at.arms for at in found.places):
        _figure(experiment, found)
    else:
        st.caption("The figure appears with the first finished runs.")


def _answer(found: Answer) -> None:
    """Draw the sentence with its level, and what it rests on."""
    st.subheader("The answer")
    level = study_level(found)
    badge = f" :{COLOURS[found.level]}-badge[{level}]" if level else ""
    st.markdown(f"#### {literal(study_headline(found))}{badge}", help=MEANINGS[found.level] if level else None)
    if why := study_reason(found):
        st.caption(literal(why))
    for sentence in dropped_sentences(row for at in found.places for row in at.rows):
        st.warning(literal(sentence))
    if sentences := study_basis(found):
        with st.expander("What this rests on", icon=":material/rule:", key="study-basis"):
            st.markdown("\n".join(f"- {literal(sentence)}" for sentence in sentences))


def _figure(experiment: Experiment, found: Answer) -> None:
    if not any(at.full is not None or at.arms for at in found.places):
        return
    below = "" if found.unread else ", and below it the difference from full fine-tuning with the margin shaded"
    alt = f"The measure of each method along {found.axis.title.lower()}{below}"
    show(study_figure(found, found.unread), experiment.id, "study", alt)


def _points(lab: Lab, experiment: Experiment, found: Answer) -> None:
    """Draw every point in numbers, with links to its comparison."""
    st.subheader("Every point")
    table = study_table(found)
    if not len(table):
        return
    dataframe(table, hide_index=True, alt="Every method and rank at every point, with its difference from full")
    with st.container(horizontal=True, vertical_alignment="center"):
        download(
            "Download CSV", lambda: csv_of(table), f"{experiment.id}.csv", "text/csv", "study-csv", help="This table."
        )
        for at in found.places:
            link(
                "compare",
                f"Compare at {found.axis.text(at.point)}",
                {"experiment": experiment.id, "point": str(at.point)},
            )
    st.caption(f"{counted(len(found.places), 'point')}, each an experiment of its own in Compare.")
