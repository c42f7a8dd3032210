"""The report of an experiment as a file, its tables, the experiment as a file, and how it was run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import streamlit as st

from core.lab import Lab
from core.store.record import Experiment
from core.study.arms.tables import comparison_table
from core.study.report.evidence import Evidence, epochs_of, gather
from core.study.report.facts import facts_of, words_of
from core.study.report.html import report_html
from core.study.report.report import FIND_RATES, command_of, finds_rates, opening, report
from core.study.report.shown import CUSTOMERS
from core.study.weights.remeasured import Caller, Remeasured, remeasure
from core.wording.csv_file import csv_of
from pages.experiment.comparison import Comparison
from pages.shared.experiment.configuration import save_experiment
from pages.shared.experiment.measured import measured, measured_unseen
from pages.shared.ui.download import download
from pages.shared.ui.literal import literal

NUMBER = "customers"
"""Session state key: the number of customers that the section on costs shows."""


def everything(lab: Lab, experiment: Experiment, call: Caller) -> Evidence:
    """All that a report rests on. With transformers, measuring it takes minutes the first time.

    Args:
        lab: has the experiment.
        experiment: all its runs have ended.
        call: how slow measurements are called.

    Raises:
        LabError: a run, its files or its dataset is gone.
    """
    evidence = gather(lab, experiment, Remeasured(), curves={})
    finished = [run for run in evidence.members if run.state == "finished"]
    others = [run for run in evidence.members if run.state != "finished"]
    curves = call(epochs_of, lab, finished) | epochs_of(lab, others)
    return replace(evidence, curves=curves, remeasured=remeasure(lab, evidence.chosen, call))


def downloads(shown: Comparison) -> None:
    """Draw the menu of what can be downloaded of an experiment that has an answer."""
    lab, experiment = shown.lab, shown.experiment
    number = int(st.session_state.get(NUMBER, CUSTOMERS))
    with st.popover("Download", icon=":material/download:"):
        if not shown.verdict.unread:
            download(
                "Report as one HTML file",
                lambda: report_html(report(everything(lab, experiment, measured_unseen), number)),
                f"{experiment.id}-report.html",
                "text/html",
                "report-file",
                help="A single file that works offline in any browser and can be printed.",
            )
            arms = shown.arms
            download(
                "Table as CSV",
                lambda: csv_of(comparison_table(arms)),
                f"{experiment.id}.csv",
                "text/csv",
                "csv",
                help="Means, intervals and settings as numbers.",
            )
        save_experiment(lab, experiment, "experiment-save")


def details_part(shown: Comparison) -> None:
    """The question, what was run, how it is run again, and what the words mean."""
    evidence = everything(shown.lab, shown.experiment, measured)
    begun = opening(evidence)
    st.markdown(f"**The question:** {literal(begun.question)}")
    st.caption(literal(begun.scope))
    if missing := evidence.remeasured.missing:
        st.caption(literal(f"Some things could not be measured again: {missing}"))
    _pairs(facts_of(evidence))
    with st.expander("How to run it again", key="details-again", icon=":material/replay:"):
        _again(evidence)
    with st.expander("Words", key="details-words", icon=":material/menu_book:"):
        _pairs(words_of(evidence.objective))


def _pairs(found: Iterable[tuple[str, str]]) -> None:
    """Draw names and what they mean."""
    st.markdown("\n".join(f"- **{literal(name)}:** {literal(value)}" for name, value in found))


def _again(evidence: Evidence) -> None:
    """Draw how the experiment is run again."""
    if evidence.file is None:
        st.markdown("No file gives these runs again, since their base is gone.")
    else:
        st.markdown("From a shell, in the folder of LoRA Lab, with the experiment saved as a file:")
        st.code(command_of(evidence.experiment.id), language=None, wrap_lines=True)
        if finds_rates(evidence.verdict):
            st.markdown(f"{FIND_RATES}:")
            st.code(command_of(evidence.experiment.id, "--tune"), language=None, wrap_lines=True)
    st.markdown("Specs of one run of each setting:")
    st.code("\n".join(arm.spec.to_json() for arm in evidence.chosen), language=None, wrap_lines=True)
