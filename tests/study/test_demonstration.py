"""What the Learn page shows holds: checked against plain NumPy and against the printed program."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import LoRAError
from core.networks.perceptron import PerceptronSpec
from core.study.learn import demonstration
from core.study.learn.counting import LayerCount, perceptron, storage
from core.study.learn.figures import outputs_figure, ranks_figure, storage_figure
from core.study.learn.language_models import language_models

seeds = st.integers(0, 2**31)
alphas = st.floats(0.5, 8)


@given(seeds, alphas, st.integers(1, 3))
def test_both_sides_are_what_numpy_computes(seed, alpha, rank):
    sides = demonstration.two_sides(seed, alpha, rank=rank)
    x, W, A, B = (matrix.astype(np.float64) for matrix in (sides.x, sides.W, sides.A, sides.B))
    assert sides.scaling == alpha / rank
    truth = x @ (W + alpha / rank * A @ B)
    # 4 products and sums in a row, each rounded to 24 bits, of terms up to a few hundred.
    close = {"atol": 1e-3 * alpha, "rtol": 0}
    np.testing.assert_allclose(sides.left, truth, **close)
    np.testing.assert_allclose(sides.right, truth, **close)
    np.testing.assert_allclose(sides.base + sides.update, sides.right, **close)
    np.testing.assert_allclose(x @ sides.sum, truth, **close)
    assert sides.largest_difference == np.abs(sides.left - sides.right).max() <= 1e-4 * alpha


@given(seeds)
def test_the_same_seed_draws_the_same_numbers_and_another_seed_others(seed):
    one, again, other = (demonstration.two_sides(s, 4.0) for s in (seed, seed, seed + 1))
    assert np.array_equal(one.W, again.W)
    assert np.array_equal(one.right, again.right)
    assert not np.array_equal(one.W, other.W)


@given(seeds)
def test_zero_b_leaves_the_output_bit_for_bit_and_gives_a_no_gradient(seed):
    start = demonstration.start(seed, 0.0)
    assert np.array_equal(start.base, start.adapted)
    assert start.largest_change == start.gradient_a == 0
    assert start.gradient_b > 0


@given(seeds, st.floats(0.05, 1))
def test_the_output_moves_in_proportion_to_b(seed, share):
    part, whole = demonstration.start(seed, share), demonstration.start(seed, 1.0)
    assert np.array_equal(part.base, whole.base)
    np.testing.assert_allclose(part.adapted - part.base, share * (whole.adapted - whole.base), atol=1e-5)
    assert part.gradient_a > 0


@settings(max_examples=25)
@given(seeds, st.integers(1, 128))
def test_merging_keeps_the_outputs_and_unmerging_the_weights(seed, rank):
    result = demonstration.merging(seed, rank)
    assert result.restored
    assert 0 < result.largest_difference < 1e-4
    assert np.abs(result.one_product).max() > 0.1


@pytest.mark.parametrize("rank", range(1, 11))
def test_the_printed_program_prints_what_the_page_shows(rank):
    shown, printed = demonstration.inventory(rank, 8.0), io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(demonstration.listing(rank, 8.0), {})
    assert printed.getvalue() == f"{shown.tree}\n{shown.trainable:,} of {shown.total:,} parameters train\n"
    assert shown.trainable == perceptron(PerceptronSpec()).trainable(rank)
    trained = shown.parameters[shown.parameters["requires_grad"]]
    assert trained["numbers"].sum() == shown.trainable
    assert trained["name"].str.contains(r"\.lora\.[AB]$").all()
    assert shown.parameters["numbers"].sum() == shown.total


def test_the_program_for_other_networks_adapts_what_the_long_one_adapts():
    network = PerceptronSpec().build()
    exec(demonstration.ADD_LORA, {"network": network})
    assert str(network) == demonstration.inventory(4, 8.0).tree


def test_a_rank_that_a_layer_cannot_use_is_refused():
    with pytest.raises(LoRAError, match="smaller rank"):
        demonstration.inventory(11, 8.0)


def test_scalings_agree_at_rank_one_and_are_ordered_above():
    table = demonstration.scalings(8.0, (1, 4, 64)).set_index("rank")
    assert set(table.loc[1]) == {8.0}
    assert table.loc[4].tolist() == [2.0, 8.0, 4.0]
    assert (table["alpha/r"].iloc[1:] < table["alpha/sqrt(r)"].iloc[1:]).all()


def test_demonstrations_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    demonstration.two_sides(1, 2.0)
    demonstration.start(1, 0.5)
    demonstration.merging(1, 4)
    demonstration.inventory(4, 8.0)
    assert torch.equal(before, torch.get_rng_state())


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 600))
def test_the_ranks_chart_shows_both_methods_and_the_chosen_rank(in_features, out_features, rank):
    count = LayerCount(in_features, out_features, rank)
    full, lora, here = ranks_figure(count).data
    assert set(full.y) == {count.full}
    assert all(y == LayerCount(in_features, out_features, int(x)).lora for x, y in zip(lora.x, lora.y, strict=True))
    assert (lora.x[0], lora.x[-1]) == (1, count.largest_rank)
    assert (here.x[0], here.y[0]) == (count.used_rank, count.lora)


def test_the_outputs_chart_keeps_its_axis_while_b_moves():
    figures = [outputs_figure(demonstration.start(1, share), 2.0) for share in (0.0, 0.5, 1.0)]
    assert len({figure.layout.yaxis.range for figure in figures}) == 1
    assert np.array_equal(figures[0].data[0].y, figures[0].data[1].y)
    assert not np.array_equal(figures[2].data[0].y, figures[2].data[1].y)


@pytest.mark.parametrize(
    "network", [perceptron(PerceptronSpec()), language_models()["Llama 3 70B"]], ids=lambda n: n.name
)
def test_the_storage_chart_is_the_storage_count(network):
    full, shared, here = storage_figure(network, 4, 100).data
    for figure_x, figure_full, figure_shared in zip(full.x, full.y, shared.y, strict=True):
        need = storage(network, 4, int(figure_x))
        assert (figure_full, figure_shared) == (float(need.full_copies), float(need.shared))
    assert (full.x[0], full.x[-1]) == (1, 100_000)
    assert tuple(here.x) == (100, 100)
