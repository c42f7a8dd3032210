"""Sections of the Learn page on one weight matrix: formulas, counting, distributivity, initialization, merging."""

from __future__ import annotations

import streamlit as st
from streamlit.elements.lib.grid_container import GridContainer

from core.methods.lora import LoRASpec
from core.numbers import bytes_text, count_text, number_text, percent, times_text
from core.spec import bounds
from core.study.learn import demonstration
from core.study.learn.counting import ADAM_STATE, FLOAT32, LayerCount
from core.study.learn.figures import outputs_figure, ranks_figure
from pages.learn import diagram
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.figure_panel import chart

MERGE_RANKS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]
NO_BREAK = "\N{NO-BREAK SPACE}"


def two_ways() -> None:
    """Show both formulas, fields for the layer's shape, and both methods drawn to scale."""
    st.header("Two ways to change a weight", anchor="formulas")
    st.markdown(
        "A linear layer turns its input $x$ into $xW$: one row of $W$ for each input, one column for each output. "
        "However long it trains, fine-tuning ends with different numbers in $W$, so its whole effect is one matrix "
        "that is added: $\\Delta W$. The two methods differ in which $\\Delta W$ they allow."
    )
    count = layer_shape()
    shape = (count.in_features, count.out_features, count.used_rank)
    pair = side_by_side()
    with pair.cell():
        st.markdown("**Full fine-tuning**")
        st.latex(r"W_{\text{new}} = W + \Delta W")
        st.image(
            diagram.matrices_full(*shape),
            width="stretch",
            alt=f"Two matrices of the same size, W and ΔW, each {shape[0]:,} by {shape[1]:,}, drawn to scale.",
        )
        st.caption("$\\Delta W$ can be any matrix, so each of its numbers is trained.")
    with pair.cell():
        st.markdown("**LoRA**")
        st.latex(r"W_{\text{new}} = W + AB")
        st.image(
            diagram.matrices_lora(*shape),
            width="stretch",
            alt=(
                f"The matrix W and, beside it, a strip A of {shape[0]:,} by {shape[2]:,} and a strip B of "
                f"{shape[2]:,} by {shape[1]:,}, whose product has the size of W, drawn to scale."
            ),
        )
        st.caption("$W$ is frozen. Only the two strips are trained; the dashed frame is their product.")
    if diagram.has_widened_strips(*shape):
        st.caption("Areas are to scale, except for the strips, which would be too thin to see at this rank.")
    else:
        st.caption("Areas are to scale: equal areas hold the same count of numbers.")
    st.markdown(
        "Why should such a restricted change be enough? Pretraining needed the full matrix. A new task mostly reuses "
        "what the base has learned and shifts it in a few directions, and $AB$ can express $r$ directions. This is a "
        "hypothesis, not a theorem: if a task needs more than $r$ directions, LoRA falls behind full fine-tuning. "
        "LoRA Lab measures by how much."
    )
    counting(count)


def layer_shape() -> LayerCount:
    """Draw fields for inputs, outputs and rank."""
    rank = bounds(LoRASpec, "rank")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        inputs = st.number_input("Inputs", 1, 65_536, 1000, key="learn_in", bind="query-params", width=140)
        outputs = st.number_input("Outputs", 1, 65_536, 1000, key="learn_out", bind="query-params", width=140)
        chosen = st.slider("Rank r", int(rank.low or 1), int(rank.high or 1), 2, key="learn_rank", bind="query-params")
    return LayerCount(int(inputs), int(outputs), chosen)


def counting(count: LayerCount) -> None:
    """Show how many numbers each method trains in the layer, and the rank from which LoRA saves nothing."""
    st.header("Counting", anchor="count")
    st.markdown("The sizes above decide how many numbers each method trains in this layer:")
    with st.grid(2, min_column_width=320):
        st.latex(rf"\Delta W:\; {tex(count.in_features)} \cdot {tex(count.out_features)} = {tex(count.full)}")
        st.latex(
            rf"A, B:\; {tex(count.used_rank)} \cdot ({tex(count.in_features)} + {tex(count.out_features)})"
            rf" = {tex(count.lora)}"
        )
    with st.grid(4, min_column_width=150):
        st.metric("Full fine-tuning", count_text(count.full), border=True)
        st.metric("LoRA", count_text(count.lora), border=True)
        st.metric("Reduction", times(count.times_fewer), border=True)
        st.metric("No savings from rank", count_text(count.first_rank_without_saving), border=True)
    if count.rank > count.largest_rank:
        st.warning(
            f"No matrix of this shape has a rank above {count.largest_rank:,}, so a higher $r$ only adds redundant "
            f"numbers. LoRA Lab uses rank {count.largest_rank:,} here.",
            icon=":material/vertical_align_top:",
        )
    if not count.saves:
        st.warning(
            f"At rank {count.used_rank:,} LoRA trains no fewer numbers than full fine-tuning: "
            f"{count.lora:,} vs. {count.full:,}.",
            icon=":material/balance:",
        )
    st.markdown(
        r"The two counts are equal at $r = \frac{\text{in} \cdot \text{out}}{\text{in} + \text{out}}$, here "
        f"{exact(count.break_even)}; for a square matrix, half its side. Below that rank, LoRA trains fewer "
        "numbers. Its count grows with the sides of the matrix instead of its area, so larger layers save more."
    )
    alt = (
        f"Trained numbers against rank: LoRA rises from {count.in_features + count.out_features:,} at rank 1 and "
        f"meets full fine-tuning's {count.full:,} at rank {exact(count.break_even)}."
    )
    chart(ranks_figure(count), "learn_ranks", alt)
    per_number = FLOAT32 + ADAM_STATE
    st.markdown(
        f"The count also determines memory. In addition to the weights, training with Adam stores a gradient and two "
        f"running means for each trained number, {per_number} bytes in float32. For this layer that is "
        f"**{bytes_text(per_number * count.full)}** with full fine-tuning and "
        f"**{bytes_text(per_number * count.lora)}** with LoRA. Both also need the weights $W$ and the activations."
    )


def beside_the_weight() -> None:
    """Demonstrate distributivity with small numbers, computed by the library's two layers."""
    st.header("The change can stay separate from the weight", anchor="beside")
    st.markdown(
        "Matrix multiplication distributes over addition, so the change does not have to be added to $W$. It can be a "
        "second, narrow branch instead. The factor $s$ sets its strength; the LoRA paper uses $s = \\alpha / r$."
    )
    st.latex(r"x\,(W + s\,AB) \;=\; xW + s\,(xA)\,B")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        alpha = st.slider("Alpha (rank 2)", 0.5, 8.0, 4.0, 0.5, key="learn_alpha", bind="query-params", width=260)
        st.button("New random numbers", icon=":material/casino:", on_click=draw_again, key="learn_draw")
        sides = demonstration.two_sides(st.session_state.get("learn_seed", 0), alpha)
        st.latex(rf"s = \alpha / r = {alpha:g} / 2 = {sides.scaling:g}", width="content")
    with st.container(border=True, horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.latex(rf"x = {diagram.matrix(sides.x)}", width="content")
        st.latex(rf"W = {diagram.matrix(sides.W)}", width="content")
        st.latex(rf"A = {diagram.matrix(sides.A)}", width="content")
        st.latex(rf"B = {diagram.matrix(sides.B)}", width="content")
    pair = side_by_side()
    with pair.cell():
        st.markdown("**Left: add, then multiply**")
        st.latex(rf"W + s\,AB = {diagram.matrix(sides.sum, 2)}")
        st.latex(rf"x\,(W + s\,AB) = {diagram.matrix(sides.left, 2)}")
        st.caption("Computed by `LinearWithLoRAMerged`.")
    with pair.cell():
        st.markdown("**Right: multiply, then add**")
        st.latex(rf"xW = {diagram.matrix(sides.base, 2)}")
        st.latex(rf"s\,(xA)\,B = {diagram.matrix(sides.update, 2)}")
        st.latex(rf"xW + s\,(xA)\,B = {diagram.matrix(sides.right, 2)}")
        st.caption("Computed by `LinearWithLoRA`.")
    dataframe(
        sides.table.style.format("{:.7f}"),
        alt="The three outputs of both sides with seven decimals, and their differences.",
    )
    st.metric("Largest difference", small(sides.largest_difference), border=True, width=220)
    st.caption(
        "Distributivity is exact, but float32 is not: it keeps about seven digits, so a different order of operations "
        "can change the last one. These matrices are too small for LoRA to save anything, but the law holds for any "
        "size."
    )


def draw_again() -> None:
    """Use a new seed for the random matrices."""
    st.session_state["learn_seed"] = st.session_state.get("learn_seed", 0) + 1


def quiet_start() -> None:
    """Show that B = 0 changes nothing, and that other values of B do."""
    st.header("Training starts exactly from the base", anchor="start")
    st.markdown(
        "$A$ is initialized with random numbers and $B$ with zeros. Their product is zero, so before the first step "
        "the adapted network computes exactly what the base computes. Move $B$ away from zero to see how the outputs "
        "of this `LinearWithLoRA` layer, with eight inputs and five outputs, change."
    )
    share = st.slider(
        "Position of B between zero and a random matrix",
        0.0,
        1.0,
        0.0,
        0.05,
        key="learn_b",
        bind="query-params",
        format="percent",
    )
    now, end = demonstration.start(1, share), demonstration.start(1, 1.0)
    limit = float(max(abs(end.base).max(), abs(end.adapted).max()))
    alt = f"Five outputs of the base and of the adapted layer; the largest change is {small(now.largest_change)}."
    chart(outputs_figure(now, limit), "learn_outputs", alt)
    dataframe(
        now.table.style.format("{:.6f}"),
        alt="Five outputs of the base and of the adapted layer, and their differences.",
    )
    with st.grid(3, min_column_width=150):
        st.metric("Largest output change", small(now.largest_change), border=True)
        st.metric("Largest gradient of A", small(now.gradient_a), border=True)
        st.metric("Largest gradient of B", small(now.gradient_b), border=True)
    st.caption("Largest absolute values; the gradients are those of half the squared distance to a random target.")
    st.markdown(
        "Why not initialize both with zeros? The gradient of $A$ is proportional to $B$ and the gradient of $B$ to "
        "$A$, so two zeros would never change. With a random $A$, $B$ changes in the first step and $A$ from the "
        "second step on. Set the slider to 0 % to see these gradients."
    )


def merging() -> None:
    """Compare two branches with one product: the same outputs at a different cost per input."""
    st.header("Merge after training", anchor="merge")
    st.markdown(
        "Training needs $A$ and $B$ as separate matrices. Afterwards, the same law allows adding them to $W$, so that "
        "one product replaces three. This is the first layer of LoRA Lab's default network, 784 × 128:"
    )
    rank = st.select_slider("Rank", MERGE_RANKS, 4, key="learn_merge_rank", bind="query-params")
    count = LayerCount(*demonstration.MERGED_LAYER, int(rank))
    result = demonstration.merging(0, count.used_rank)
    pair = side_by_side()
    with pair.cell():
        st.markdown("**Two branches**, during training")
        st.image(
            diagram.path_of_two_branches(count.full, count.lora),
            width="stretch",
            alt="The input goes through W and, in parallel, through A, B and the factor s; both results are added.",
        )
        st.caption(
            f"Multiplications per input: {count.full:,} + {count.lora:,}, "
            f"**{percent(100 * count.extra_share, 1).replace(' ', NO_BREAK)} more**; $s$ can be folded into $B$."
        )
    with pair.cell():
        st.markdown("**One product**, after merging")
        st.image(
            diagram.path_of_one_product(count.full),
            width="stretch",
            alt="The input goes through a single matrix, W plus s times A B, to the output.",
        )
        st.caption(f"Multiplications per input: {count.full:,}, the same as the base: **no overhead**.")
    with st.grid(2, min_column_width=220):
        st.metric("Largest difference, 64 inputs", small(result.largest_difference), border=True)
        st.metric("W after unmerging", "bit-identical" if result.restored else "changed", border=True)
    st.markdown(
        "A merged network is as fast as the base and needs no LoRA code. Subtracting $s\\,AB$ again would not restore "
        "$W$ exactly, because each sum is rounded, so `merge` keeps a copy that `unmerge` restores. Keep the branches "
        "separate for training, or to switch adapters between inputs; merge them to serve a single task."
    )


def side_by_side() -> GridContainer:
    """Return a grid of two bordered cells, stacked if they would be too narrow for a drawing or formula."""
    return st.grid(2, min_column_width=320, border=True)


def tex(number: int) -> str:
    """Format a whole number in LaTeX, without spaces after thousands separators."""
    return f"{number:,}".replace(",", "{,}")


def exact(value: float) -> str:
    """Format a number with one decimal, or none if it is whole."""
    return count_text(value) if value == int(value) else number_text(value, 1)


def times(ratio: float) -> str:
    """Format a ratio, as in ``250 ×``."""
    return f"{count_text(ratio) if ratio == int(ratio) else times_text(ratio)} ×"


def small(value: float) -> str:
    """Format a number that may be tiny or exactly zero."""
    if value == 0:
        return "exactly 0"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}".replace("e-0", "e-")
