"""What was run: each run, the question, all that was set, how it is run again; and the files of it to download."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import streamlit as st

from core.lab import Lab
from core.numbers import NOTHING, seconds_text
from core.results.row import Row, rows_of
from core.results.setting import labels_of
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
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.download import download
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.widget_key import widget_key

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


def runs_part(shown: Comparison) -> None:
    """Each run, the question, what was set, how it is run again, and what the words mean."""
    _table(shown)
    if shown.verdict.unread:
        return
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


def _table(shown: Comparison) -> None:
    """Draw one row for each run, without its test part while that is not to be read, and a link to the selected one."""
    rows, measure = rows_of(shown.members), shown.objective.primary
    labels = labels_of(row.setting for row in rows)
    columns = {
        "Run": [row.id for row in rows],
        "Setting": [labels[row.setting.key] for row in rows],
        "Seed": [row.seed for row in rows],
        "State": [row.state for row in rows],
        f"Validation {measure.noun}": [measure.text(row.validated) for row in rows],
    }
    if not shown.verdict.unread:
        columns[measure.title] = [measure.text(row.value) for row in rows]
    columns["Training time"] = [_time(row) for row in rows]
    chosen = dataframe(
        columns,
        hide_index=True,
        key=widget_key("experiment-runs", shown.experiment.id, len(rows)),
        on_select="rerun",
        selection_mode="single-row",
        alt="Every run with its setting, its seed, its state and what it reached",
    ).selection.rows
    if chosen:
        link("runs", f"Run {rows[chosen[0]].id}: curves, log, files", {"run": rows[chosen[0]].id})
    else:
        st.caption("Select a run for its curves, its log and its files.")


def _time(row: Row) -> str:
    """The training time of a run; of one that was trained beside others a share, which no run alone would take."""
    text = seconds_text(row.seconds) if row.seconds else NOTHING
    return f"{text}, shared" if row.result is not None and row.result.bank > 1 else text


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
