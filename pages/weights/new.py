"""Weights, fifth part: what ΔW strengthens, and which directions W did not know."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.study.weights.directions import intruders_mean_something
from core.study.weights.figures import accuracy_of_scaling, likeness_bars
from core.study.weights.spectrum import ENERGY
from core.study.weights.subspace import INTRUDER_THRESHOLD, INTRUDER_TOP
from core.study.weights.tables import amplification_text
from core.wording.numbers import listed, number_text, percent
from pages.shared.figure_panel import show
from pages.weights.focus import Focus, same_seed
from pages.weights.numbers import amplification_of, check_of, newness_of, rank_on, spectra_of


def new_directions_part(focus: Focus) -> None:
    """Draw the amplification table, and the intruders of the chosen run."""
    st.subheader("Amplification")
    amplification_section(focus)
    st.subheader("Intruder dimensions")
    intruders_section(focus)


def amplification_section(focus: Focus) -> None:
    """How strong ΔW is in its own directions, against what W has there."""
    st.markdown(
        r"$\lVert \Delta W \rVert_F / \lVert U^\top W V \rVert_F$, with $U, V$ the first $r$ directions of "
        r"$\Delta W$. Far above 1: ΔW makes strong what W had little of. The last column is what a ΔW of the same size "
        "would show in random directions: below it, ΔW follows what W emphasises already; near it, W's own directions "
        "played no part."
    )
    runs = same_seed(focus)
    rank = rank_on(focus.lab, focus.run, focus.layer, otherwise=_full_rank(focus))
    rows = [(arm.label, amplification_of(focus.lab, run, focus.layer, rank)) for arm, run in runs]
    st.dataframe(
        amplification_text([row for row in rows if row[1].delta]),
        hide_index=True,
        alt=f"Amplification of ΔW of {focus.layer} for each arm",
    )
    counted = "1 direction" if rank == 1 else f"{rank} directions"
    why = (
        f"as many as {focus.arm.label} has there"
        if focus.arm.lora
        else f"which hold {percent(100 * ENERGY, 0)} of the energy of {focus.arm.label}"
    )
    st.caption(
        f"{focus.layer}, seed {focus.seed}, {counted}, {why}; fewer for an arm of lower rank. Frobenius norms. Hu et "
        "al., arXiv 2106.09685, section 7.3 and table 7."
    )


def intruders_section(focus: Focus) -> None:
    """Strong directions of W + ΔW that are like none of W, the null, and the check by scaling."""
    st.markdown(
        r"Among the strongest directions $\tilde u$ of $W + \Delta W$, an **intruder** is one that is like no "
        r"direction of $W$: $\max_i |\cos(\tilde u, u_i)| < \varepsilon$. The paper ties them to forgetting. To count "
        "them is not enough: a random ΔW of the same singular values makes some too, and only "
        "scaling them shows whether they matter."
    )
    threshold = st.slider(
        "ε",
        0.1,
        0.9,
        INTRUDER_THRESHOLD,
        0.05,
        key="epsilon",
        bind="query-params",
        width=320,
        help="Below this likeness a direction counts as new. The paper takes 0.5.",
    )
    meaningful = [path for path, shape in focus.shapes.items() if intruders_mean_something(shape, threshold)]
    if focus.layer not in meaningful:
        elsewhere = f" Choose {listed(meaningful)} above." if meaningful else " Choose a larger ε."
        st.info(
            f"In {focus.layer} intruders mean nothing at this ε: it has so few outputs that almost any direction is "
            f"like one of W.{elsewhere}",
            icon=":material/info:",
        )
        return
    if not spectra_of(focus.lab, focus.run)[focus.layer].rank:
        st.caption(f"{focus.name} did not change {focus.layer}, so it has no intruders there.")
        return
    found = newness_of(focus.lab, focus.run, focus.layer)
    new, chance = found.found(threshold), found.by_chance(threshold)
    st.markdown(
        f"**{new.count} of the {len(new.likeness)} strongest** directions of {focus.name} are intruders in "
        f"{focus.layer}. A random ΔW of the same singular values makes {number_text(float(chance.mean()), 1)} on "
        f"average, {chance.min():.0f} to {chance.max():.0f} in {len(chance)} draws. {_reading(new.count, chance)}"
    )
    left, right = st.columns(2, gap="large")
    with left:
        alt = f"Largest cosine of each of the strongest directions of {focus.layer} with any direction of W"
        show(likeness_bars(new, focus.colour), focus.run.id, "likeness", alt)
    with right:
        if new.count:
            masked = focus.masked_differs
            check = check_of(focus.lab, focus.run, focus.layer, new.indices)
            show(
                accuracy_of_scaling(check, focus.colour, masked), focus.run.id, "scaling", "Accuracy over the factor λ"
            )
        else:
            st.caption(
                "With intruders, their scaling by λ is shown here: what the accuracies do when they are weakened."
            )
    st.caption(
        f"Left singular vectors, the first {INTRUDER_TOP}. Shuttleworth et al., arXiv 2410.21228, algorithm 1. Where "
        "intruders cause forgetting, λ below 1 gives source accuracy back at little cost on the target, and scaling as "
        "many other strong directions does not." + (" Source: its own classes only." if focus.masked_differs else "")
    )


def _reading(count: int, chance: np.ndarray) -> str:
    if count > chance.max():
        return "Training made more than chance does."
    if count < chance.min():
        return "Training made fewer than chance does."
    return "So their number alone says no more than that ΔW is large."


def _full_rank(focus: Focus) -> int:
    """For full fine-tuning, the rank that holds most of its energy in this layer."""
    return max(1, spectra_of(focus.lab, focus.run)[focus.layer].rank_holding(ENERGY))
