"""How fine-tuning changed each layer, and how the results depend on parts of that change."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab
from core.results.arm import judged_by
from core.results.row import rows_of
from core.store.record import Experiment
from pages.experiment.weights.alpha import alpha_part
from pages.experiment.weights.focus import choose_focus
from pages.experiment.weights.rank import rank_part
from pages.experiment.weights.spectrum import spectrum_part
from pages.experiment.weights.subspaces import subspaces_part
from pages.shared.ui.literal import literal

PARTS = {
    "Spectrum": spectrum_part,
    "Rank": rank_part,
    "Alpha": alpha_part,
    "Subspaces": subspaces_part,
}


def weights_part(lab: Lab, experiment: Experiment) -> None:
    """Draw how fine-tuning changed each layer of one network. Raises: LabError: a network or dataset is gone."""
    members = lab.store.members(experiment)
    focus = choose_focus(lab, experiment, members)
    if focus is None:
        st.info("No run of this experiment has a result yet.", icon=":material/info:")
        return
    shown = ", ".join(arm.label for arm in focus.arms)
    if len(focus.arms) < len({run.spec.arm for run in members}):
        noun = judged_by(rows_of(members)).primary.noun
        shown += f"; for each rank, the setting with the best validation {noun}"
    st.caption(
        literal(f"Shown: {shown}."),
        help="ΔW is what training added to a weight, and its energy the sum of its squared singular values.",
    )
    part = st.segmented_control(
        "What of it",
        list(PARTS),
        default=next(iter(PARTS)),
        key="weights",
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    PARTS[part](focus)
