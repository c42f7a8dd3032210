"""The Weights page: how fine-tuning changed each layer, and how the results depend on parts of that change."""

from __future__ import annotations

import streamlit as st

from core.errors import LabError
from core.lab import current
from core.methods.method import Role
from core.results.arm import Arm, judged_by
from core.results.choice import dropped_sentences
from core.results.row import rows_of
from core.rule.place import Place
from core.study.report.answer import last_read
from core.study.weights.change import run_of_seed
from core.study.weights.found import found_sentences
from core.study.weights.spectrum import Spectrum
from core.wording.tasks import task_text
from pages.shared.experiment.current import experiment_picker
from pages.shared.ui.links import link
from pages.shared.ui.literal import errors_shown, literal
from pages.shared.ui.pickers import start_text
from pages.shared.ui.tabs import draw_tabs
from pages.weights.alpha import alpha_part
from pages.weights.effort import is_quick
from pages.weights.focus import Focus, choose_focus
from pages.weights.numbers import each, spectrum_of
from pages.weights.rank import rank_part
from pages.weights.spectrum import spectrum_part
from pages.weights.subspaces import subspaces_part


def what_was_found(focus: Focus, found: Place) -> str:
    """Say what training changed, also in the chosen adapter run, and how that fits the answer; of a large network only
    what an adapter changed.

    Decomposing ΔW of every layer of a large network takes minutes, those of an adapter seconds.
    """
    told = found.told.arm if found.told is not None else _adapter(focus)
    chosen = focus.arm if focus.arm.role is Role.ADAPTER else told
    full = focus.full if is_quick(focus) else None
    try:
        of_full, of_chosen = (_spectra(focus, arm) if arm is not None else None for arm in (full, chosen))
    except LabError:  # a file is gone, which the open tab says if it needs it
        return ""
    return found_sentences(found, of_full, chosen, of_chosen, focus.seed)


def _adapter(focus: Focus) -> Arm | None:
    return next((arm for arm in focus.arms if arm.role is Role.ADAPTER), None)


def _spectra(focus: Focus, arm: Arm) -> dict[str, Spectrum]:
    run = run_of_seed(arm, focus.seed)
    paths = list(focus.shapes)
    spectra = each(paths, lambda path: spectrum_of(focus.lab, run, path), "Reading the weights")
    return dict(zip(paths, spectra, strict=True))


PARTS = {
    "Spectrum": spectrum_part,
    "Rank": rank_part,
    "Alpha": alpha_part,
    "Subspaces": subspaces_part,
}

lab = current()

st.title("Weights")
intro = st.empty()
experiment = experiment_picker(lab)
members = lab.store.members(experiment) if experiment is not None else []
judged = judged_by(rows_of(members)).primary.noun
if experiment is None:
    intro.markdown("What full fine-tuning and LoRA changed in each weight, and how the results depend on it.")
    st.info("This page analyses the runs of an experiment, and there is no experiment yet.", icon=":material/info:")
    link("home", "Run the comparison")
    st.stop()

with errors_shown():
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
    for sentence in dropped_sentences(rows_of(members)):
        st.caption(literal(sentence))
    waiting = sum(run.is_live for run in members)
    if waiting:
        st.caption(f"Unfinished runs: {waiting}. Reload the page to see them once they have finished.")
    if sentence := what_was_found(focus, last_read(lab, experiment, members)):
        with intro.container():
            st.markdown(literal(sentence))
            st.caption("ΔW is what training added to a weight, and its energy the sum of its squared singular values.")
            link("learn", "How LoRA limits the rank of ΔW")
    draw_tabs(PARTS, focus)
