"""Study: what LoRA and full fine-tuning reach along an axis, or over a grid of ranks, alphas and learning rates."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab, current
from core.numbers import count_text
from core.results.setting import setting_of
from core.store.record import Experiment
from core.study.arms.sweep import MIN_ARMS, is_sweep
from core.study.report.answer import is_study
from pages.shared.experiment.current import asked_for, choose_experiment, known, missing_sentence, remember
from pages.shared.experiment.like import fill_form
from pages.shared.experiment.start import say_if_known
from pages.shared.ui.literal import errors_shown
from pages.shared.ui.pickers import when
from pages.study.along import study_part
from pages.study.form import study_form
from pages.study.sweep import sweep_part

lab = current()


@st.cache_data(show_spinner=False)
def reads_as_sweep(_lab: Lab, runs: tuple[str, ...]) -> bool:
    """Whether an experiment of these runs is a sweep; specs never change, so neither does the answer."""
    return is_sweep(setting_of(run.spec) for run in _lab.store.runs_of(runs))


def is_shown(experiment: Experiment) -> bool:
    """Whether an experiment is a study along an axis, or a sweep."""
    return is_study(experiment) or (len(experiment.runs) >= MIN_ARMS and reads_as_sweep(lab, experiment.runs))


st.title("Study")
st.markdown(
    "One question at several places: LoRA at many **ranks, alphas and learning rates**, or LoRA and full fine-tuning "
    "for **more epochs, more data, other layers, larger batches**. The validation part chooses learning rates for each "
    "method, the test part then measures them."
)
found = {experiment.id: experiment for experiment in lab.store.experiments() if is_shown(experiment)}
filled = st.session_state["study-filled"] = fill_form(lab, "study") or st.session_state.get("study-filled", False)
# The key makes it a new one after each study: closed, where the old one was open.
with st.expander(
    "New study",
    icon=":material/add:",
    expanded=filled or not found,
    key=f"study-new-{len(found)}{'-filled' if filled else ''}",
    on_change="rerun",
) as fold:
    started = study_form(lab) if fold.open else None
if started is not None:
    st.session_state["study-filled"] = False
    remember(started.id)
    st.rerun()
asked = asked_for(lab)
other = known(lab, asked) if asked else None
if other is not None and is_shown(other):
    found.setdefault(other.id, other)  # older than those that are listed
missing = f"“{other.name}” is no study and no sweep." if other else missing_sentence(asked or "")
names = {id: f"{e.name} · {count_text(len(e.runs))} runs · {when(e.created)}" for id, e in found.items()}
experiment = choose_experiment("Study", list(found.values()), names, asked, missing)
if experiment is None:
    st.caption("The study appears here as soon as it has started.")
    st.stop()
say_if_known(experiment)
with errors_shown():
    (study_part if is_study(experiment) else sweep_part)(lab, experiment, lab.store.members(experiment))
