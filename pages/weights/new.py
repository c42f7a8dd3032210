"""The tab "New directions" of the Weights page: what ΔW amplifies, and which directions are new."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.numbers import counted, listed, number_text, percent
from core.study.weights.directions import intruders_mean_something
from core.study.weights.figures import likeness_bars, scores_of_scaling
from core.study.weights.spectrum import ENERGY
from core.study.weights.subspace import INTRUDER_THRESHOLD, INTRUDER_TOP
from core.study.weights.tables import amplification_sentence, amplification_text
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.figure_panel import show
from pages.shared.ui.literal import literal
from pages.weights.effort import choose_limit
from pages.weights.focus import Focus, same_seed
from pages.weights.formulas import formulas
from pages.weights.numbers import amplification_of, check_of, newness_of, rank_on, spectrum_of


def new_directions_part(focus: Focus) -> None:
    """Draw the amplification table, and the intruders of the chosen run."""
    st.subheader("Amplification")
    amplification_section(focus)
    st.subheader("Intruder dimensions")
    intruders_section(focus)


def amplification_section(focus: Focus) -> None:
    """Draw the size of ΔW relative to that of W in the directions of ΔW."""
    st.markdown(
        "Far above 1, ΔW amplifies directions that are weak in W. The last column is the factor of a random ΔW of the "
        "same size: a factor near it means that ΔW is unrelated to the directions of W, a smaller one that ΔW favors "
        "directions that are already strong in W."
    )
    runs = same_seed(focus)
    rank = rank_on(focus.lab, focus.run, focus.layer, otherwise=_full_rank(focus))
    rows = [(arm.label, amplification_of(focus.lab, run, focus.layer, rank)) for arm, run in runs]
    chosen = amplification_of(focus.lab, focus.run, focus.layer, rank)
    if found := amplification_sentence(focus.name, focus.layer, chosen):
        st.markdown(f"**{literal(found)}**")
    dataframe(
        amplification_text([row for row in rows if row[1].delta]),
        hide_index=True,
        alt=f"Amplification of ΔW of {focus.layer} for each setting",
    )
    why = (
        f"the rank of {focus.arm.label} in this layer"
        if focus.arm.spec.method.is_low_rank
        else f"enough for {percent(100 * ENERGY, 0)} of the energy of {focus.arm.label}"
    )
    formulas(
        r"$\lVert \Delta W \rVert_F / \lVert U^\top W V \rVert_F$, with $U, V$ the first $r$ directions of "
        rf"$\Delta W$: {literal(focus.layer)}, seed {focus.seed}, {counted(rank, 'direction')}, {why}; fewer for a "
        "setting of lower rank. Frobenius norms. Hu et al., arXiv 2106.09685, section 7.3 and table 7."
    )


def intruders_section(focus: Focus) -> None:
    """Draw the intruders of the chosen run, those of a random ΔW, and what scaling them does."""
    st.markdown(
        "One of the strongest directions of W + ΔW is called an **intruder** if it is similar to no direction of W. "
        "Shuttleworth et al. relate intruders to forgetting. Their number alone says little, because a random ΔW with "
        "the same singular values also creates some. Scaling them shows whether they matter."
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
        help="A direction whose largest cosine is below ε counts as an intruder. The paper uses 0.5.",
    )
    meaningful = [path for path, shape in focus.shapes.items() if intruders_mean_something(shape, threshold)]
    if focus.layer not in meaningful:
        elsewhere = f" Choose {listed(meaningful)} above." if meaningful else " Choose a larger ε."
        st.info(
            f"In {focus.layer}, intruders are not meaningful at this ε: the layer has so few outputs that random "
            f"directions are often similar to one of W.{elsewhere}",
            icon=":material/info:",
        )
        return
    if not spectrum_of(focus.lab, focus.run, focus.layer).rank:
        st.caption(f"{focus.name} did not change {focus.layer}, so it has no intruders there.")
        return
    found = newness_of(focus.lab, focus.run, focus.layer)
    new, chance = found.found(threshold), found.by_chance(threshold)
    st.markdown(
        f"**{new.count} of the {len(new.likeness)} strongest** directions of {focus.name} are intruders in "
        f"{focus.layer}. A random ΔW with the same singular values creates {number_text(float(chance.mean()), 1)} on "
        f"average ({chance.min():.0f} to {chance.max():.0f} in {len(chance)} draws). {_reading(new.count, chance)}"
    )
    left, right = st.columns(2, gap="large")
    with left:
        alt = f"Largest cosine of each of the strongest directions of {focus.layer} with any direction of W"
        show(likeness_bars(new, focus.colour), focus.run.id, "likeness", alt)
    with right:
        if new.count:
            scaling_section(focus, new.indices)
        else:
            st.caption(
                f"There are no intruders. If there are any, a chart here shows the {focus.measure.noun} after scaling "
                "them by λ."
            )
    restores = f"{'restores' if focus.measure.higher_is_better else 'lowers'} source {focus.measure.noun}"
    formulas(
        r"A direction $\tilde u$ of $W + \Delta W$ is an intruder where $\max_i |\cos(\tilde u, u_i)| < \varepsilon$. "
        f"The first {INTRUDER_TOP} left singular vectors; see Shuttleworth et al., arXiv 2410.21228, algorithm 1. If "
        f"intruders cause forgetting, a λ below 1 {restores} at little cost on the target, while scaling "
        "the same number of other strong directions does not."
        + (f" Source {focus.measure.noun} is masked to its own classes." if focus.masks_source else "")
    )


def scaling_section(focus: Focus, indices: tuple[int, ...]) -> None:
    """Draw the scores with the intruders scaled."""
    ready, limit = choose_limit(focus)
    if ready:
        check = check_of(focus.lab, focus.run, focus.layer, indices, limit)
        figure = scores_of_scaling(check, focus.colour, focus.masked_differs)
        show(figure, focus.run.id, "scaling", f"{focus.measure.title} against λ")


def _reading(count: int, chance: np.ndarray) -> str:
    if count > chance.max():
        return "This is more than chance."
    if count < chance.min():
        return "This is fewer than chance."
    return "This is no more than chance: the number may only reflect the size of ΔW."


def _full_rank(focus: Focus) -> int:
    """Return the rank with most of the energy of the chosen run's ΔW in this layer."""
    return max(1, spectrum_of(focus.lab, focus.run, focus.layer).rank_holding(ENERGY))
