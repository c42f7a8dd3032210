"""Subspaces: whether two ranks, or two seeds, find the same directions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import streamlit as st

from core.methods.method import Role
from core.numbers import percent
from core.results.arm import Arm
from core.store.record import Run
from core.study.weights.change import run_of_seed
from core.study.weights.figures import similarity_map
from core.study.weights.subspace import MAX_DIRECTIONS, Overlap, Side, overlap
from pages.experiment.weights.focus import Focus, make_more
from pages.experiment.weights.numbers import began_alike, directions_of
from pages.shared.experiment.measured import measured
from pages.shared.ui.figure_panel import show
from pages.shared.ui.literal import literal

SIDES: dict[Side, str] = {"inputs": "Inputs", "outputs": "Outputs"}

SAME_START = (
    "Both drew A from the same random numbers, as adapters of one rank and seed do. So this does not show that "
    "training led them to the same directions."
)
"""Where the overlap of random directions is no yardstick; see :func:`core.study.weights.subspace.drawn_alike`."""


def subspaces_part(focus: Focus) -> None:
    """Draw the similarity between two arms and between two seeds, each with that of random directions."""
    side: Side = st.segmented_control(
        "Side of the weight",
        list(SIDES),
        default="inputs",
        format_func=SIDES.__getitem__,
        key="side",
        required=True,
        bind="query-params",
        help="Inputs: right singular vectors of ΔW, for LoRA the span of A. Outputs: left ones, that of B.",
    )
    st.subheader("Between ranks")
    between_ranks(focus, side)
    st.subheader("Between seeds")
    between_seeds(focus, side)
    st.expander("Formulas", icon=":material/function:").markdown(
        r"$\varphi(i, j) = \lVert U_i^\top V_j \rVert_F^2 / \min(i, j)$ compares the first $i$ directions of one "
        r"$\Delta W$ with the first $j$ of another: 1 if the smaller subspace lies within the larger one, 0 if they "
        "are orthogonal. In a low-dimensional space any two subspaces overlap: random ones by max(i, j) / d on "
        "average. Networks with different directions can still perform alike.\n\n"
        f"{literal(focus.layer)}; at most the {MAX_DIRECTIONS} strongest singular vectors of "
        "ΔW. Hu et al., arXiv 2106.09685, section 7.2: figure 3 compares ranks, figure 4 seeds and random matrices."
    )


def between_ranks(focus: Focus, side: Side) -> None:
    """Compare two arms at one seed: adapters of two ranks where there are any, or an adapter and full fine-tuning."""
    if len(focus.arms) < 2:
        st.caption("This comparison needs two ranks, and the experiment has one.")
        make_more(focus, "Fine-tune with several ranks")
        return
    arms, chosen = {arm.key: arm for arm in focus.arms}, []
    columns = st.columns(2, gap="medium")
    for title, start, column in zip(("First", "Second"), first_pair(focus.arms), columns, strict=True):
        key = column.selectbox(
            title,
            list(arms),
            list(arms).index(start),
            format_func=lambda key: arms[key].label,
            key=f"overlap-{title.lower()}-{focus.experiment.id}",
        )
        chosen.append(arms[key])
    first, second = chosen
    if first is second:
        st.caption("Choose two different settings.")
        return
    runs = [run_of_seed(arm, focus.seed) for arm in chosen]
    overlap_map(focus, side, runs[0], runs[1], (first.label, second.label), "ranks")


def first_pair(arms: Sequence[Arm]) -> tuple[str, str]:
    """Keys of the two arms that are compared first: adapters of two ranks, where possible of one method.

    Else the last two adapters, or the first two arms. Adapters of one rank and seed begin in the same directions.
    """
    adapters = [(arm.key, arm.spec.method) for arm in arms if arm.role is Role.ADAPTER]
    pairs = [(a, b) for a, b in combinations(adapters, 2) if a[1].size != b[1].size]
    pairs = [(a, b) for a, b in pairs if a[1].kind == b[1].kind] or pairs
    keys = [key for key, _ in (pairs[-1] if pairs else adapters[-2:])]
    first, second = keys if len(keys) > 1 else [arm.key for arm in arms][:2]
    return first, second


def between_seeds(focus: Focus, side: Side) -> None:
    """Compare two seeds of the chosen run's arm."""
    others = {run.spec.seed: run for run in focus.arm.runs if run.id != focus.run.id}
    if not others:
        st.caption(f"This comparison needs two seeds of {focus.arm.label}, and the experiment has one.")
        make_more(focus, "Fine-tune with several seeds")
        return
    other = st.selectbox(
        f"Seed to compare with seed {focus.seed}", list(others), key=f"overlap-seed-{focus.run.id}", width=320
    )
    names = (f"{focus.arm.label}, seed {focus.seed}", f"seed {other}")
    overlap_map(focus, side, focus.run, others[other], names, "seeds")


def overlap_map(focus: Focus, side: Side, first: Run, second: Run, names: tuple[str, str], key: str) -> None:
    """Draw a heat map of φ, and state the overlap beside that of random directions."""
    found = overlap(*(measured(directions_of, focus.lab, run, focus.layer, side) for run in (first, second)))
    if found is None:
        st.caption(f"One of the two did not change {focus.layer}, so there is nothing to compare.")
        return
    k1, k2 = found.similarity.shape
    pair = f"{_first(k1)} of {names[0]} and {_first(k2).lower()} of {names[1]}"
    alike = measured(began_alike, focus.lab, first, second, focus.layer)
    st.markdown(
        f"{pair} overlap by **{percent(100 * found.whole, 1)}**. {SAME_START if alike else _beside_chance(found)}"
    )
    figure = similarity_map(found.similarity, *names)
    show(figure, focus.run.id, f"similarity-{key}", f"Similarity of the directions of {names[0]} and {names[1]}")


def _beside_chance(found: Overlap) -> str:
    """How much random directions overlap, and whether these do more."""
    high, mean = (percent(100 * null, 1) for null in (found.random_high, found.random_mean))
    verdict = "This is more than chance." if found.beyond_chance else "This is no more than chance."
    return f"Random directions overlap by {mean} on average, and 95 % of random pairs by less than {high}. {verdict}"


def _first(count: int) -> str:
    return "The strongest direction" if count == 1 else f"The first {count} directions"
