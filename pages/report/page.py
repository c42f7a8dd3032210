"""The Report page: the decision of one experiment, on the page and as an HTML file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import streamlit as st

from core.errors import LabError
from core.lab import current
from core.results.choice import chosen_arms, no_choice_sentence
from core.results.row import rows_of
from core.store.judged import Judged
from core.store.record import is_under_way
from core.study.report.answer import answer_before, place_of, with_bases
from core.study.report.cost import COST
from core.study.report.evidence import Evidence, epochs_of, gather
from core.study.report.facts import facts_of, words_of
from core.study.report.html import report_html
from core.study.report.report import FIND_RATES, chapters, command_of, finds_rates, opening, report
from core.study.report.sections import Chapter
from core.study.report.shown import CUSTOMERS
from core.study.weights.remeasured import Caller, Remeasured, remeasure
from pages.shared.experiment.actions import action_dialog, next_step_button
from pages.shared.experiment.configuration import save_experiment
from pages.shared.experiment.current import compared_picker
from pages.shared.experiment.judged_view import judged_view
from pages.shared.experiment.live import live_panel
from pages.shared.experiment.measured import measured, measured_unseen
from pages.shared.experiment.state import state_line
from pages.shared.experiment.verdict_view import before_view, checks_view, verdict_view
from pages.shared.ui.customers import customers
from pages.shared.ui.download import download
from pages.shared.ui.figure_panel import section_view
from pages.shared.ui.links import link
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.primary import on_primary

NUMBER = "report-customers"
"""Session state key: the number of customers that the section on costs shows."""

lab = current()


st.title("Report")
experiment = compared_picker(lab)
if isinstance(experiment, Judged):
    judged_view(lab, experiment, "report")
    st.stop()
if experiment is None:
    st.info("This page shows the decision report of an experiment, and there is no experiment yet.")
    link("home", "Run the comparison")
    st.stop()

members = lab.store.members(experiment)
if is_under_way(members):
    if (before := answer_before(lab, experiment, members)) is not None:
        with st.container(border=True):
            before_view(before, members)
            checks_view(before, "report-checks")
    st.info("The report appears once all runs of the experiment have ended.", icon=":material/schedule:")
    with st.container(horizontal=True):
        link("home", "Home", {"experiment": experiment.id})
        link("compare", "Compare", {"experiment": experiment.id})
    runs = with_bases(lab, members)
    live_panel(lab, [run.id for run in runs], f"report-{experiment.id}", experiment.name)
    st.stop()
answered = place_of(lab, experiment, members)
rows = rows_of(members)
if answered.unread or not chosen_arms(rows):
    why = f"{answered.reason} {answered.more}" if answered.unread else no_choice_sentence(rows)
    st.info(literal(why), icon=":material/info:")
    state_line(lab, members, "report", answered)
    link("runs", "See the runs")
    st.stop()


def complete(evidence: Evidence, call: Caller) -> Evidence:
    """Everything that the report rests on. With transformers, measuring it takes minutes the first time.

    Args:
        evidence: without curves and what is measured again.
        call: how slow measurements are called.
    """
    finished = [run for run in evidence.members if run.state == "finished"]
    others = [run for run in evidence.members if run.state != "finished"]
    curves = call(epochs_of, lab, finished) | epochs_of(lab, others)
    return replace(evidence, curves=curves, remeasured=remeasure(lab, evidence.chosen, call))


@cache
def whole() -> Evidence:
    """What all folds together need, measured for the first of them that is open."""
    return complete(evidence, measured)


def fold(title: str, content: Callable[[], None]) -> None:
    """Draw an expander whose content is made while it is open."""
    expander = st.expander(literal(title), key=f"report-{title}", on_change="rerun")
    if expander.open:
        with expander, errors_shown():
            content()


def pairs(found: tuple[tuple[str, str], ...]) -> None:
    """Draw a list of names and what they mean."""
    st.markdown("\n".join(f"- **{literal(name)}:** {literal(value)}" for name, value in found))


def again() -> None:
    """Draw how the experiment is run again."""
    if evidence.file is not None:
        st.markdown("From a shell, in the folder of LoRA Lab, with the experiment saved as a file above:")
        st.code(command_of(experiment.id), language=None, wrap_lines=True)
        if finds_rates(evidence.verdict):
            st.markdown(f"{FIND_RATES}:")
            st.code(command_of(experiment.id, "--tune"), language=None, wrap_lines=True)
        st.markdown("Specs of one run of each setting:")
    else:
        st.markdown(
            "No file gives these runs again, since their base is gone; these are specs of one run of each setting."
        )
    st.code("\n".join(arm.spec.to_json() for arm in evidence.chosen), language=None, wrap_lines=True)


try:
    evidence = gather(lab, experiment, Remeasured(), curves={})
    begun = opening(evidence)
except LabError as error:
    st.error(literal(str(error)))
    st.stop()

with st.container(border=True):
    verdict_view(evidence.verdict)
    st.caption(literal(begun.scope))
    checks_view(evidence.verdict if evidence.study is None else evidence.study, "report-checks")
if begun.warnings:
    st.warning("\n".join(f"- {literal(warning)}" for warning in begun.warnings))
number = int(st.session_state.get(NUMBER, CUSTOMERS))
with st.container(horizontal=True, vertical_alignment="center"):
    download(
        on_primary("Report as one HTML file"),
        lambda: report_html(report(complete(evidence, measured_unseen), number)),
        f"{experiment.id}-report.html",
        "text/html",
        "report-file",
        kind="primary",
        help="A single file that works offline in any browser and can be printed.",
    )
    next_step_button(lab, experiment, evidence.verdict)
    save_experiment(lab, experiment, "report-save")
    link("compare", "Compare", {"experiment": experiment.id})
action_dialog(lab, experiment, evidence.verdict)
st.markdown(f"**The question:** {literal(begun.question)}")

main, *others = chapters(evidence)
section_view(main.make(), experiment.id)


def chapter(one: Chapter) -> None:
    """Draw a section that was folded away."""
    number = customers(NUMBER, "Number of customers, each with a network of their own.") if one.title == COST else None
    known = whole() if one.remeasures else evidence
    if one.remeasures and (missing := whole().remeasured.missing):
        st.caption(literal(f"Some things could not be measured again: {missing}"))
    (same,) = (each for each in chapters(known, number or CUSTOMERS) if each.title == one.title)
    section_view(same.make(), experiment.id)


for each in others:
    fold(each.title, partial(chapter, each))
if begun.notes:
    fold("What this rests on", lambda: st.markdown("\n".join(f"- {literal(one)}" for one in begun.notes)))
fold("What was run", lambda: pairs(tuple(facts_of(whole()))))
fold("How to run it again", again)
fold("Words", lambda: pairs(words_of(evidence.objective)))
