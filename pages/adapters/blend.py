"""Two adapters of one base blended into one, which is evaluated and can be downloaded. Nothing is stored."""

from __future__ import annotations

import streamlit as st

from core.artifacts.blends import Blend, blended, start_of
from core.errors import LabError
from core.lab import Lab
from core.numbers import bytes_text, capitalized
from core.store.record import Run
from core.study.arms.choice import best_arm, is_adapter, typical_run
from pages.adapters.listed import adapter_texts, listed_adapters
from pages.adapters.scores import show_scores
from pages.shared.ui.download import download
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.pickers import distinct, has_new_head
from pages.shared.ui.primary import on_primary

RANKS = (1, 2, 4, 8, 16, 32, 64)


def blend_adapters(lab: Lab) -> None:
    """Draw the choice of two adapters with their weights, and the blend."""
    st.markdown(
        "The blend's change of each layer is the weighted sum of both changes. With two halves it is their mean; with "
        "a weight below 0 it takes away what an adapter has learned."
    )
    runs = listed_adapters(lab)
    if len(runs) < 2:
        st.info("A blend takes two adapters: train more of them first.", icon=":material/info:")
        link("finetune", "Fine-tune with LoRA")
        return
    first = _choice("First adapter", runs, "blend-first")
    others = {id: run for id, run in runs.items() if id != first.id and start_of(run) == start_of(first)}
    if not others:
        st.info("No other adapter started from the same network as this one.", icon=":material/info:")
        return
    task, objective = first.spec.task, first.spec.objective
    alike = [run for run in others.values() if (run.spec.task, run.spec.objective) == (task, objective)]
    if (arm := best_arm(alike, is_adapter)) is not None:  # and not the newest, which may have learned nothing
        begin = typical_run(arm)
        others = {begin.id: begin, **others}
    second = _choice("Second adapter", others, "blend-second")
    left, middle, right = st.columns(3, gap="medium")
    with left:
        one = st.slider("Weight of the first", -1.0, 2.0, 0.5, 0.05, key="blend-first-weight")
    with middle:
        two = st.slider("Weight of the second", -1.0, 2.0, 0.5, 0.05, key="blend-second-weight")
    with right:
        rank = st.selectbox(
            "Rank",
            [None, *RANKS],
            format_func=lambda rank: "As much as it takes" if rank is None else str(rank),
            key="blend-rank",
            help="The sum of two changes has at most the sum of both ranks. A lower rank keeps the best approximation "
            "of each layer's sum, by its singular values.",
        )
    if not st.button(on_primary("Blend"), type="primary", icon=":material/join:", key="blend-run"):
        asked = st.session_state.get("blend-asked")
        if asked != (first.id, second.id, one, two, rank):
            return
    st.session_state["blend-asked"] = (first.id, second.id, one, two, rank)
    try:
        blend = _blend(first.id, second.id, one, two, rank, lab, first, second)
    except LabError as error:
        st.error(literal(str(error)))
        return
    st.success(
        f"{blend.spec.label}, {bytes_text(len(blend.content))}: the file was read back and checked.",
        icon=":material/verified:",
    )
    if blend.cut:
        st.warning(f"{capitalized(blend.cut)}. A higher rank keeps more.", icon=":material/content_cut:")
    show_scores(blend.scores, first.spec.source, has_new_head(first.spec))
    download(
        "Adapter for PEFT",
        lambda: blend.content,
        f"blend-{first.id}-{second.id}.zip",
        "application/zip",
        "blend-download",
    )


@st.cache_data(max_entries=8, show_spinner="Blending and evaluating")
def _blend(
    first: str, second: str, one: float, two: float, rank: int | None, _lab: Lab, _first: Run, _second: Run
) -> Blend:
    """Blend; cached because every click redraws the page."""
    return blended(_lab.artifacts, _lab.tasks, [(_first, one), (_second, two)], rank)


def _choice(label: str, runs: dict[str, Run], key: str) -> Run:
    names = distinct(adapter_texts(runs))
    return runs[st.selectbox(label, list(names), format_func=names.__getitem__, key=key)]
