"""The Weights page: how fine-tuning changed each layer, and how the results depend on parts of that change."""

from __future__ import annotations

import streamlit as st

from core.errors import LabError
from core.lab import current
from core.study.arms.arm import judged_by
from core.study.arms.choice import dropped_sentences
from core.study.report.answer import answer_of
from pages.shared.experiment.current import experiment_picker
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import start_text, task_text
from pages.shared.ui.tabs import draw_tabs
from pages.weights.blocks import MAP, OPENED, map_part
from pages.weights.focus import choose_focus
from pages.weights.found import what_was_found
from pages.weights.instruments import instruments_part
from pages.weights.new import new_directions_part
from pages.weights.rank import rank_part
from pages.weights.spectrum import spectrum_part
from pages.weights.subspaces import subspaces_part

PARTS = {
    OPENED: spectrum_part,
    "Rank": rank_part,
    "Alpha and layers": instruments_part,
    "Subspaces": subspaces_part,
    "New directions": new_directions_part,
}

lab = current()

st.title("Weights")
intro = st.empty()
experiment = experiment_picker(lab)
members = lab.members(experiment) if experiment is not None else []
judged = judged_by(members).primary.noun
if experiment is None:
    intro.markdown("What full fine-tuning and LoRA changed in each weight, and how the results depend on it.")
    st.info("This page analyses the runs of an experiment, and there is no experiment yet.", icon=":material/info:")
    link("home", "Run the comparison")
    st.stop()

try:
    focus = choose_focus(lab, experiment, members)
    if focus is None:
        waits = any(run.is_live for run in members)
        st.info(
            f"No run of this experiment {'has a result yet' if waits else 'has a result'}.",
            icon=":material/info:",
        )
        link(
            "compare",
            "See its runs in Compare",
            {"experiment": experiment.id},
        )
        st.stop()
    shown = ", ".join(arm.label for arm in focus.arms)
    if len(focus.arms) < len({run.spec.arm for run in members}):
        shown += f"; for each rank, the setting with the best validation {judged}"
    base, task = start_text(lab, focus.run.spec), task_text(focus.run.spec.task, focus.run.spec.objective)
    st.caption(literal(f"Base: {base}. Task: {task}. Shown: {shown}."))
    for sentence in dropped_sentences(members):
        st.caption(literal(sentence))
    waiting = sum(run.is_live for run in members)
    if waiting:
        st.caption(f"Unfinished runs: {waiting}. Reload the page to see them once they have finished.")
    if sentence := what_was_found(focus, answer_of(lab, experiment, members)):
        intro.markdown(literal(sentence))
    draw_tabs({MAP: map_part, **PARTS} if focus.has_map else PARTS, focus)
except LabError as error:
    st.error(literal(str(error)))
