"""The lessons of the Learn page on one weight matrix: formulas, counts, the law, the start, merging."""

from __future__ import annotations

import streamlit as st
from streamlit.elements.lib.grid_container import GridContainer

from core.spec import LoRASpec, bounds
from core.study.learn import demonstration
from core.study.learn.counting import ADAM_STATE, FLOAT32, LayerCount
from core.study.learn.figures import outputs_figure, ranks_figure
from core.wording.numbers import bytes_text, count_text, number_text, percent, times_text
from pages.learn import diagram

MERGE_RANKS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]
STILL = {"displayModeBar": False}
NO_BREAK = "\N{NO-BREAK SPACE}"


def two_ways() -> None:
    """The two formulas, the shape that the next section counts, and both drawn to scale."""
    st.header("Two ways to change a weight", anchor="formulas")
    st.markdown(
        "A linear layer turns its input $x$ into $xW$: one row of $W$ for each input, one column for each output. "
        "However long it trains, fine-tuning ends with other numbers in $W$, so it comes down to one matrix that is "
        "added: $\\Delta W$. The two methods differ in which matrices they allow there."
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
        st.caption("Any $\\Delta W$ will do, so each of its numbers is trained.")
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
    if diagram.is_thinner_than_drawn(*shape):
        st.caption("Areas are to scale, but for the strips: at this rank they are thinner than drawn.")
    else:
        st.caption("Areas are to scale: the same area holds the same count of numbers.")
    st.markdown(
        "Why should so narrow a change be enough? The base needed a full matrix to take in all of its pretraining. A "
        "new task mostly reuses what is there and shifts it in a few directions, and $r$ directions are what $AB$ can "
        "express. That is a bet, not a theorem: where a task needs more directions than $r$, LoRA falls behind full "
        "fine-tuning, and measuring that is what this lab is for."
    )
    counting(count)


def layer_shape() -> LayerCount:
    """Ask for inputs, outputs and rank."""
    rank = bounds(LoRASpec, "rank")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        inputs = st.number_input("Inputs", 1, 65_536, 1000, key="learn_in", bind="query-params", width=140)
        outputs = st.number_input("Outputs", 1, 65_536, 1000, key="learn_out", bind="query-params", width=140)
        chosen = st.slider("Rank r", int(rank.low or 1), int(rank.high or 1), 2, key="learn_rank", bind="query-params")
    return LayerCount(int(inputs), int(outputs), chosen)


def counting(count: LayerCount) -> None:
    """What both methods train in a layer of that shape, and from which rank on LoRA saves nothing."""
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
        st.metric("Times fewer", times(count.times_fewer), border=True)
        st.metric("No saving from rank", count_text(count.first_rank_without_saving), border=True)
    if count.rank > count.largest_rank:
        st.warning(
            f"No matrix of this shape has a rank above {count.largest_rank:,}, so a higher $r$ adds numbers and "
            f"nothing else. LoRA Lab builds rank {count.largest_rank:,} here.",
            icon=":material/vertical_align_top:",
        )
    if not count.saves:
        st.warning(
            f"At rank {count.used_rank:,} LoRA trains no fewer numbers than full fine-tuning: "
            f"{count.lora:,} against {count.full:,}.",
            icon=":material/balance:",
        )
    st.markdown(
        r"Both are equal where $r = \frac{\text{in} \cdot \text{out}}{\text{in} + \text{out}}$, here "
        f"{exact(count.break_even)}; for a square matrix that is half its side. Below, LoRA trains fewer "
        "numbers, and its count grows with the sides of the matrix and not with its area: the larger the layer, the "
        "more it saves."
    )
    st.plotly_chart(
        ranks_figure(count),
        config=STILL,
        key="learn_ranks",
        alt=(
            f"Trained numbers against rank: LoRA rises from {count.in_features + count.out_features:,} at rank 1 and "
            f"meets full fine-tuning's {count.full:,} at rank {exact(count.break_even)}."
        ),
    )
    per_number = FLOAT32 + ADAM_STATE
    st.markdown(
        f"It is also where the memory goes. Beside the weights, training with Adam keeps a gradient and two running "
        f"means for each trained number, {per_number} bytes in float32. For this layer that is "
        f"**{bytes_text(per_number * count.full)}** in full and **{bytes_text(per_number * count.lora)}** with LoRA. "
        f"The frozen $W$ and the activations are still there."
    )


def beside_the_weight() -> None:
    """The distributive law with small numbers, by the library's two layers."""
    st.header("The change can stay beside the weight", anchor="beside")
    st.markdown(
        "Products distribute over sums, so the change need not be added into $W$. A second, narrow branch can carry it "
        "instead. The factor $s$ sets its strength; the LoRA paper takes $s = \\alpha / r$."
    )
    st.latex(r"x\,(W + s\,AB) \;=\; xW + s\,(xA)\,B")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        alpha = st.slider("Alpha (rank 2)", 0.5, 8.0, 4.0, 0.5, key="learn_alpha", bind="query-params", width=260)
        st.button("Draw again", icon=":material/casino:", on_click=draw_again, key="learn_draw")
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
    st.dataframe(
        sides.table.style.format("{:.7f}"),
        alt="The three outputs of both sides with seven decimals, and the difference.",
    )
    st.metric("Largest difference", small(sides.largest_difference), border=True, width=220)
    st.caption(
        "The law is exact, float32 is not: it keeps about seven digits, so adding in another order may leave a "
        "difference in the last one. At this size the rank saves nothing; the law does not care about size."
    )


def draw_again() -> None:
    """Another seed, for other numbers."""
    st.session_state["learn_seed"] = st.session_state.get("learn_seed", 0) + 1


def quiet_start() -> None:
    """B = 0 changes nothing; B away from zero does."""
    st.header("Training starts from the base, exactly", anchor="start")
    st.markdown(
        "$A$ starts with random numbers and $B$ with zeros. Their product is then zero, so on the first step the "
        "adapted network *is* the base, and nothing that it knew is disturbed. Move $B$ away from zero and the outputs "
        "of this `LinearWithLoRA` layer, eight inputs and five outputs, follow."
    )
    share = st.slider(
        "How far B has moved, from zero to a random matrix",
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
    st.plotly_chart(
        outputs_figure(now, limit),
        config=STILL,
        key="learn_outputs",
        alt=f"Five outputs of the base and of the adapted layer; the largest change is {small(now.largest_change)}.",
    )
    st.dataframe(
        now.table.style.format("{:.6f}"),
        alt="Five outputs of the base and of the adapted layer, and their differences.",
    )
    with st.grid(3, min_column_width=150):
        st.metric("Change of an output", small(now.largest_change), border=True)
        st.metric("Gradient on A", small(now.gradient_a), border=True)
        st.metric("Gradient on B", small(now.gradient_b), border=True)
    st.caption(
        "Each is the largest absolute value; the gradients are those of half the squared distance to a random target."
    )
    st.markdown(
        "Why not start both at zero? The gradient on $A$ is a multiple of $B$ and the gradient on $B$ a multiple of "
        "$A$: two zeros would never move. With one of them random, $B$ moves on the first step and $A$ from the second "
        "on. Set the slider to 0 % and read it off."
    )


def merging() -> None:
    """Two branches against one product: the same outputs, and what each costs an input."""
    st.header("Merge when training is over", anchor="merge")
    st.markdown(
        "Training needs $A$ and $B$ apart. Afterwards the same law lets them be added into $W$, and one product does "
        "the work of three. Here is the first layer of the lab's own network, 784 × 128:"
    )
    rank = st.select_slider("Rank", MERGE_RANKS, 4, key="learn_merge_rank", bind="query-params")
    count = LayerCount(784, 128, int(rank))
    result = demonstration.merging(0, count.used_rank)
    pair = side_by_side()
    with pair.cell():
        st.markdown("**Two branches**, while it trains")
        st.image(
            diagram.path_of_two_branches(count.full, count.lora),
            width="stretch",
            alt="The input goes through W and, in parallel, through A, B and the factor s; both results are added.",
        )
        st.caption(
            f"Multiplications an input: {count.full:,} + {count.lora:,}, "
            f"**{percent(100 * count.extra_share, 1).replace(' ', NO_BREAK)} more**; $s$ can be folded into $B$."
        )
    with pair.cell():
        st.markdown("**One product**, when it is done")
        st.image(
            diagram.path_of_one_product(count.full),
            width="stretch",
            alt="The input goes through a single matrix, W plus s times A B, to the output.",
        )
        st.caption(f"Multiplications an input: {count.full:,}, as many as the base. **None extra**.")
    with st.grid(2, min_column_width=220):
        st.metric("Largest difference, 64 inputs", small(result.largest_difference), border=True)
        st.metric("W after unmerging", "same bits" if result.restored else "changed", border=True)
    st.markdown(
        "Merged, the fine-tuned network computes as much as the base and needs no LoRA code. Subtracting $s\\,AB$ "
        "again would not quite give the old $W$, because each sum is rounded; so `merge` keeps a copy and `unmerge` "
        "puts it back. Keep the branches apart to train them, or to swap adapters from one input to the next; merge "
        "them to serve a single task."
    )


def side_by_side() -> GridContainer:
    """Two framed cells; one above the other where they would get too narrow for a drawing or a formula."""
    return st.grid(2, min_column_width=320, border=True)


def tex(number: int) -> str:
    """A whole number in LaTeX, its thousands kept together."""
    return f"{number:,}".replace(",", "{,}")


def exact(value: float) -> str:
    """A number with one decimal where it has any."""
    return count_text(value) if value == int(value) else number_text(value, 1)


def times(ratio: float) -> str:
    """A ratio as a metric shows it, as in ``250 ×``."""
    return f"{count_text(ratio) if ratio == int(ratio) else times_text(ratio)} ×"


def small(value: float) -> str:
    """A number that may be zero exactly, or next to it."""
    if value == 0:
        return "0 exactly"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}".replace("e-0", "e-")
