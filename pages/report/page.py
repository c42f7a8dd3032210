"""The Report page: the decision of one experiment, on the page and as an HTML file."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from core.errors import LabError
from core.lab import current
from core.store.record import Experiment, is_under_way
from core.study.arms.choice import chosen_arms, no_choice_sentence
from core.study.report.evidence import gather
from core.study.report.html import report_html
from core.study.report.parts import Plot
from core.study.report.report import opening, report
from core.study.weights.remeasured import Remeasured, remeasure
from pages.shared.experiment.configuration import save_experiment
from pages.shared.experiment.current import experiment_picker
from pages.shared.experiment.live import TICK
from pages.shared.experiment.measured import measured
from pages.shared.ui.customers import customers
from pages.shared.ui.download import download
from pages.shared.ui.figure_panel import show
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.primary import on_primary

lab = current()


@st.fragment(run_every=TICK)
def redraw_at_end(experiment: Experiment) -> None:
    """Draw the page again once no run of an experiment is live."""
    if not is_under_way(lab.members(experiment)):
        st.rerun()


st.title("Report")
experiment = experiment_picker(lab)
if experiment is None:
    st.info("This page shows the decision report of an experiment, and there is no experiment yet.")
    link("home", "Run the comparison")
    st.stop()

members = lab.members(experiment)
if is_under_way(members):
    st.info("The report appears once all runs of the experiment have ended.", icon=":material/schedule:")
    link(
        "compare",
        "Watch it in Compare",
        {"experiment": experiment.id},
    )
    redraw_at_end(experiment)
    st.stop()
chosen = chosen_arms(members)
if not chosen:
    st.info(no_choice_sentence(members), icon=":material/info:")
    link("runs", "See the runs")
    st.stop()

number = customers("report-customers", "Number of customers, each with a network of their own.")
try:
    evidence = gather(lab, experiment, Remeasured())
    begun = opening(evidence)
    st.subheader("The question")
    st.markdown(literal(begun.question))
    st.subheader("The answer")
    with st.container(border=True):
        for sentence in begun.answer:
            st.markdown(literal(sentence))
    for warning in begun.warnings:
        st.warning(literal(warning))
    # With transformers this takes minutes, for which nobody has to wait who came for the answer.
    found = report(replace(evidence, remeasured=remeasure(lab, chosen, measured)), number)
except LabError as error:
    st.error(literal(str(error)))
    st.stop()

with st.container(horizontal=True, vertical_alignment="center"):
    download(
        on_primary("Report as one HTML file"),
        lambda: report_html(found),
        f"{experiment.id}-report.html",
        "text/html",
        "report-file",
        kind="primary",
        help="A single file that works offline in any browser and can be printed.",
    )
    save_experiment(lab, experiment, "report-save")
    link("compare", "Compare", {"experiment": experiment.id})

for section in found.sections:
    st.subheader(section.title)
    st.markdown(literal(section.lead))
    for part in section.parts:
        if isinstance(part, Plot):
            show(part.figure, experiment.id, part.key, part.alt)
        else:
            st.markdown(f"**{literal(part.title)}**")
            st.dataframe(part.frame, hide_index=True, alt=part.title)
            if part.note:
                st.caption(literal(part.note))

st.subheader("What cannot be concluded")
st.markdown("\n".join(f"- {literal(limit)}" for limit in found.limits))

st.subheader("What was run")
st.markdown("\n".join(f"- **{literal(name)}:** {literal(value)}" for name, value in found.facts))

st.subheader("How to run it again")
if found.file is not None:
    st.markdown("From a shell, in the folder of LoRA Lab, with the experiment saved as a file above:")
    st.code(found.command, language=None, wrap_lines=True)
else:
    st.markdown("No file gives these runs again, since their base is gone; these are specs of one run of each setting.")
with st.expander("Specs of one run of each setting", icon=":material/data_object:", expanded=found.file is None):
    st.code("\n".join(found.specs), language=None, wrap_lines=True)

st.subheader("Words")
st.markdown("\n".join(f"- **{literal(term)}:** {literal(meaning)}" for term, meaning in found.words))
