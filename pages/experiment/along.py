"""A study along an axis: its answer, the figure, its checks, and every point in numbers."""

from __future__ import annotations

import streamlit as st

from core.answer.levels import MEANINGS
from core.lab import Lab
from core.results.choice import dropped_sentences
from core.rule.answer import Answer
from core.store.record import Experiment, Run, is_under_way
from core.study.arms.study_words import study_basis, study_headline, study_level, study_reason, study_table
from core.study.figures.intervals import study_figure
from core.study.report.answer import answer_of, place_of
from core.study.report.html import report_html
from core.study.report.report import report_of
from core.wording.csv_file import csv_of
from pages.shared.experiment.actions import experiment_actions
from pages.shared.experiment.configuration import save_experiment
from pages.shared.experiment.state import deleted_line, state_line
from pages.shared.experiment.verdict_view import COLOURS, checks_view
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.download import download
from pages.shared.ui.figure_panel import show
from pages.shared.ui.literal import literal

EVERY = 3.0
"""Seconds between two updates while a study trains: its figure rests on all of its runs."""


def study_part(lab: Lab, experiment: Experiment, members: list[Run]) -> None:
    """Draw a study: while it trains what the validation part says so far, then its answer, figure and table.

    Raises:
        LabError: the look at its test part cannot be recorded.
    """
    if is_under_way(members):
        st.fragment(_so_far, run_every=EVERY)(lab, experiment)
        return
    found, plain = answer_of(lab, experiment, members), place_of(lab, experiment, members)
    state_line(lab, members, "study", plain)
    deleted_line(lab, experiment, members, "study")
    _answer(found)
    _figure(experiment, found)
    checks_view(found, "study-checks")
    with st.container(horizontal=True, vertical_alignment="center"):
        _downloads(lab, experiment, found)
        experiment_actions(lab, experiment, plain)
    if not found.unread and len(table := study_table(found)):
        st.subheader("Every point")
        dataframe(table, hide_index=True, alt="Every method and rank at every point, with its difference from full")


def _so_far(lab: Lab, experiment: Experiment) -> None:
    """The figure of the validation part, of the points of which something has finished."""
    members = lab.store.members(experiment)
    if not is_under_way(members):
        st.rerun()
    found = answer_of(lab, experiment, members)
    if any(at.full is not None or at.arms for at in found.places):
        _figure(experiment, found)
    else:
        st.caption("The figure appears with the first finished runs.")


def _answer(found: Answer) -> None:
    """Draw the sentence with its level, and what it rests on."""
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


def _downloads(lab: Lab, experiment: Experiment, found: Answer) -> None:
    """Draw the menu of what can be downloaded of a study."""
    with st.popover("Download", icon=":material/download:"):
        if not found.unread:
            download(
                "Report as one HTML file",
                lambda: report_html(report_of(lab, experiment)),
                f"{experiment.id}-report.html",
                "text/html",
                "report-file",
                help="A single file that works offline in any browser and can be printed.",
            )
            download(
                "Table as CSV",
                lambda: csv_of(study_table(found)),
                f"{experiment.id}.csv",
                "text/csv",
                "study-csv",
                help="Every method and rank at every point.",
            )
        save_experiment(lab, experiment, "study-save")
