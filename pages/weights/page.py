"""The Weights page: how fine-tuning changed each layer, and how the results depend on parts of that change."""

from __future__ import annotations

import streamlit as st

from core.lab import current
from core.results.arm import judged_by
from core.results.choice import dropped_sentences
from core.results.row import rows_of
from core.wording.tasks import task_text
from pages.shared.experiment.current import experiment_picker
from pages.shared.ui.links import link
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.pickers import start_text
from pages.shared.ui.tabs import draw_tabs
from pages.weights.alpha import alpha_part
from pages.weights.focus import choose_focus
from pages.weights.rank import rank_part
from pages.weights.spectrum import spectrum_part
from pages.weights.subspaces import subspaces_part

PARTS = {"Spectrum": spectrum_part, "Rank": rank_part, "Alpha": alpha_part, "Subspaces": subspaces_part}

lab = current()

st.title(
    "Weights", help="ΔW is what training added to a weight, and its energy the sum of its squared singular values."
)
link("learn", "How LoRA limits the rank of ΔW")
experiment = experiment_picker(lab)
members = lab.store.members(experiment) if experiment is not None else []
judged = judged_by(rows_of(members)).primary.noun
if experiment is None:
    st.info("This page analyses the runs of an experiment, and there is no experiment yet.", icon=":material/info:")
    link("home", "Run the comparison")
    st.stop()

with errors_shown():
    focus = choose_focus(lab, experiment, members)
    if focus is None:
        waits = any(run.is_live for run in members)
        st.info(f"No run of this experiment has a result{' yet' if waits else ''}.", icon=":material/info:")
        link("compare", "See its runs in Compare", {"experiment": experiment.id})
        st.stop()
    shown = ", ".join(arm.label for arm in focus.arms)
    if len(focus.arms) < len({run.spec.arm for run in members}):
        shown += f"; for each rank, the setting with the best validation {judged}"
    base, task = start_text(lab, focus.run.spec), task_text(focus.run.spec.task, focus.run.spec.objective)
    st.caption(literal(f"Base: {base}. Task: {task}. Shown: {shown}."))
    for sentence in dropped_sentences(rows_of(members)):
        st.caption(literal(sentence))
    if waiting := sum(run.is_live for run in members):
        st.caption(f"Unfinished runs: {waiting}. Reload the page to see them once they have finished.")
    draw_tabs(PARTS, focus)
