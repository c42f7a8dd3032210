from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BaseMismatchError
from core.methods.adapted import adapted_layers, merge, merged_copy
from core.study.weights.change import WeightChange, cut_networks
from core.study.weights.spectrum import Spectrum, spectrum, truncations
from tests.study.changes import PATHS, SIZES, full_change, inputs, lora_change, orthonormal, spectra_of

SEEDS = st.integers(0, 2**32 - 1)


def with_values(*values: float) -> np.ndarray:
    """A matrix of shape (8, 6) with these singular values."""
    left, right = (orthonormal(size, len(values), seed=size) for size in (8, 6))
    return (left * values) @ right.T


def test_a_spectrum_of_known_singular_values():
    found = spectrum(with_values(3.0, 2.0, 1.0), with_values(7.0))
    assert found.values == pytest.approx([3, 2, 1, 0, 0, 0], abs=1e-12)
    assert [found.rank_holding(share) for share in (9 / 14, 0.65, 13 / 14, 0.93, 1.0)] == [1, 2, 2, 3, 3]
    assert found.norm == pytest.approx(math.sqrt(14))
    assert found.relative_norm == pytest.approx(math.sqrt(14) / 7)
    assert found.stable_rank == pytest.approx(14 / 9)
    assert found.effective_rank == pytest.approx(2 ** (1 / 2 + 1 / 3 * math.log2(3) + 1 / 6 * math.log2(6)), rel=1e-6)


@given(st.integers(1, 6), st.floats(1e-6, 1e6))
def test_equal_singular_values_make_every_rank_their_number(rank, size):
    found = spectrum(with_values(*[size] * rank), np.eye(8, 6))
    assert found.rank_holding(1.0) == rank
    assert found.effective_rank == pytest.approx(rank, rel=1e-6)
    assert found.stable_rank == pytest.approx(rank)


def test_rounding_asks_for_no_rank_more():
    assert [Spectrum(np.full(10, size), 1.0).rank_holding() for size in (0.1, 0.3, 0.7, 1.1)] == [9] * 4


@given(SEEDS, st.integers(1, 12), st.integers(1, 12))
def test_ranks_lie_in_order_between_one_and_the_smaller_side(seed, out, inputs):
    delta = np.random.default_rng(seed).normal(size=(out, inputs))
    found = spectrum(delta, delta)
    most = min(out, inputs) + 1e-9
    assert 1 - 1e-9 <= found.stable_rank <= most
    assert 1 - 1e-9 <= found.effective_rank <= most
    assert 1 <= found.rank_holding(0.5) <= found.rank_holding() <= found.rank_holding(1.0) <= most
    assert found.relative_norm == pytest.approx(1)


def test_a_layer_that_did_not_move_has_no_rank():
    found = spectrum(np.zeros((4, 3)), np.ones((4, 3)))
    assert (found.rank_holding(), found.effective_rank, found.stable_rank, found.relative_norm) == (0, 0, 0, 0)
    assert spectrum(np.ones((4, 3)), np.zeros((4, 3))).relative_norm == math.inf


@pytest.mark.parametrize("scaling", ["alpha/r", "alpha", "alpha/sqrt(r)"])
@pytest.mark.parametrize("merged", [False, True])
def test_the_delta_of_an_adapter_has_its_rank_exactly(scaling, merged):
    change = lora_change(rank=3, alpha=6.0, scaling=scaling)
    expected = {path: layer.lora.delta().detach() for path, layer in adapted_layers(change.tuned).items()}
    if merged:
        merge(change.tuned)
    assert change.layers == PATHS
    plain = WeightChange(change.base, merged_copy(change.tuned))
    for path in PATHS:
        delta = change.delta(path)
        assert delta == pytest.approx(expected[path].numpy(), rel=1e-5, abs=1e-6)
        assert np.linalg.matrix_rank(delta) == 3
        assert plain.delta(path) == pytest.approx(delta, abs=1e-6)
    assert [found.rank_holding(1.0) for found in spectra_of(change).values()] == [3, 3, 3]


def test_layers_without_an_adapter_did_not_move():
    change = lora_change(rank=2, target_modules=("layers.2",))
    norms = {path: found.norm for path, found in spectra_of(change).items()}
    assert norms["layers.2"] > 0
    assert norms["layers.0"] == norms["layers.4"] == 0


def test_the_delta_of_full_fine_tuning_leads_from_the_base_to_it():
    change = full_change()
    for path in PATHS:
        after = change.tuned.get_submodule(path).weight.detach().double().numpy()
        assert change.weight(path) + change.delta(path) == pytest.approx(after, abs=1e-12)


def test_weights_of_another_base_or_size_are_refused():
    tuned = lora_change().tuned
    with pytest.raises(BaseMismatchError, match="another base"):
        WeightChange(SIZES.build(1), tuned)
    with pytest.raises(BaseMismatchError, match="different layers"):
        WeightChange(SIZES.but(num_hidden_1=13).build(0), tuned)


def test_full_fine_tuning_cut_to_a_rank_has_deltas_of_that_rank_and_its_own_biases():
    change, x = full_change(), inputs()
    cut, whole = cut_networks(change, [2, 99])
    with torch.no_grad():
        before, after = SIZES.build(0)(x), change.tuned(x)
        assert torch.allclose(whole(x), after, atol=1e-6)
        assert torch.equal(change.base(x), before), "neither network is modified"
    found = WeightChange(change.base, cut)
    for path in PATHS:
        (expected,) = truncations(change.delta(path), [2])
        assert found.delta(path) == pytest.approx(expected, abs=1e-6)
        assert torch.equal(cut.get_submodule(path).bias, change.tuned.get_submodule(path).bias)
