from __future__ import annotations

import math
import re

import numpy as np
import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft.tuners.lora.intruders import reduce_intruder_dimension

from core.networks.perceptron import PerceptronSpec
from core.study.weights.directions import intruders_mean_something
from core.study.weights.spectrum import linear_weights
from core.study.weights.subspace import (
    INTRUDER_THRESHOLD,
    amplification,
    directions,
    intruders,
    notices_new_directions,
    random_likeness,
    random_similarity,
    scaled_directions,
    similarity,
)
from tests.study.changes import orthonormal

SEEDS = st.integers(0, 2**32 - 1)


def well_spread(seed: int = 0, out: int = 40, inputs: int = 60) -> np.ndarray:
    """A weight whose singular values 40, 39, … lie far apart."""
    return (orthonormal(out, 40, seed) * np.arange(40.0, 0, -1)) @ orthonormal(inputs, 40, seed + 1).T


@given(SEEDS, st.integers(1, 6))
def test_a_subspace_is_like_itself_whatever_its_basis(seed, rank):
    basis, rotation = orthonormal(20, rank, seed), orthonormal(rank, rank, seed + 1)
    assert similarity(basis, basis @ rotation)[-1, -1] == pytest.approx(1)
    assert np.diag(similarity(basis, basis)) == pytest.approx(np.ones(rank))


def test_orthogonal_subspaces_are_not_alike():
    basis = orthonormal(20, 9)
    assert similarity(basis[:, :4], basis[:, 4:]) == pytest.approx(np.zeros((4, 5)), abs=1e-12)


def test_similarity_is_the_papers_formula_and_counts_what_is_shared():
    basis = orthonormal(20, 6)
    first, second = basis[:, :4], basis[:, [0, 4, 1, 5]]
    found = similarity(first, second)
    for i in range(1, 5):
        for j in range(1, 5):
            expected = np.linalg.norm(first[:, :i].T @ second[:, :j]) ** 2 / min(i, j)
            assert found[i - 1, j - 1] == pytest.approx(expected)
    assert found[3, 3] == pytest.approx(0.5)
    assert found[0] == pytest.approx(np.ones(4))


def test_directions_are_those_that_the_matrix_has():
    left, right = orthonormal(10, 3), orthonormal(8, 3, 1)
    matrix = (left * [5.0, 3.0, 1.0]) @ right.T
    for side, planted in (("outputs", left), ("inputs", right)):
        found = directions(matrix, side)
        assert found.shape == planted.shape
        assert np.abs(found.T @ planted) == pytest.approx(np.eye(3), abs=1e-9)
        assert directions(matrix, side, 2).shape[1] == 2
    assert directions(np.zeros((4, 3)), "inputs").shape == (3, 0)


def test_adapter_matrices_and_their_delta_span_the_same_inputs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 4)), rng.normal(size=(4, 12))
    delta = (a @ b).T
    assert similarity(directions(a, "outputs"), directions(delta, "inputs"))[-1, -1] == pytest.approx(1)
    assert similarity(directions(b.T, "outputs"), directions(delta, "outputs"))[-1, -1] == pytest.approx(1)


@pytest.mark.parametrize(("k1", "k2"), [(3, 5), (5, 3), (1, 1)])
def test_random_subspaces_are_as_alike_as_theory_says(k1, k2):
    null = random_similarity(16, k1, k2)
    drawn = np.array([similarity(orthonormal(16, k1, s), orthonormal(16, k2, 10_000 + s)) for s in range(600)])
    assert null.mean.shape == null.high.shape == (k1, k2)
    assert drawn.mean(axis=0) == pytest.approx(null.mean, abs=0.02)
    assert np.mean(drawn > null.high, axis=0) == pytest.approx(np.full((k1, k2), 0.05), abs=0.04)


def test_amplification_of_directions_that_the_weight_has_and_lacks():
    left, right = orthonormal(10, 4), orthonormal(8, 4, 1)
    weight = (left[:, :2] * [4.0, 2.0]) @ right[:, :2].T
    same = amplification(3 * weight, weight, 2)
    assert same.factor == pytest.approx(3)
    assert same.along_delta == pytest.approx(same.along_weight) == pytest.approx(math.sqrt(20))
    lacking = amplification((left[:, 2:] * [1.0, 1.0]) @ right[:, 2:].T, weight, 2)
    assert lacking.factor > 1e12
    # Only the first direction of ΔW is looked at, and W has 2 there.
    one = amplification((left[:, [1, 0]] * [6.0, 1.0]) @ right[:, [1, 0]].T, weight, 1)
    assert (one.delta, one.along_delta, one.along_weight, one.factor) == pytest.approx((6, 2, 4, 3))
    nothing = amplification(np.zeros_like(weight), weight, 2)
    assert math.isnan(nothing.factor)


def test_a_random_delta_is_amplified_as_the_null_says():
    weight, rng = well_spread(), np.random.default_rng(0)
    found = [amplification(rng.normal(size=weight.shape), weight, 5) for _ in range(200)]
    assert math.sqrt(np.mean([f.along_delta**2 for f in found])) == pytest.approx(found[0].along_random, rel=0.05)
    assert np.median([f.factor / f.random_factor for f in found]) == pytest.approx(1, abs=0.1)


def test_a_planted_intruder_is_found_where_it_stands():
    # Half of W's output directions are unused, so there is room for one that W never had.
    left, right = orthonormal(40, 21), orthonormal(60, 21, 1)
    weight = (left[:, :20] * np.arange(20.0, 0, -1)) @ right[:, :20].T
    found = intruders(weight, 18.5 * np.outer(left[:, 20], right[:, 20]))
    assert found.indices == (2,)
    assert found.likeness[2] == pytest.approx(0, abs=1e-9)
    assert np.delete(found.likeness, 2) == pytest.approx(np.ones(9))
    for seen in (intruders(weight, 0 * weight), intruders(weight, weight), intruders(weight, -0.5 * weight)):
        assert seen.count == 0


def test_a_small_delta_makes_no_intruder_and_a_large_random_one_of_low_rank_one_a_rank():
    weight, delta = well_spread(), np.outer(orthonormal(40, 1, 5), orthonormal(60, 1, 6))

    def made(factor):
        return (random_likeness(weight, factor * delta, draws=30) < INTRUDER_THRESHOLD).sum(axis=1)

    assert made(0.1).max() == 0
    assert np.median(made(400)) == 1
    assert made(400).shape == (30,)
    assert (made(0) == 0).all()


def test_intruders_mean_nothing_where_there_are_few_outputs():
    for shape, low, high in (((10, 256), 0.0, 0.1), ((128, 784), 0.99, 1.0), ((256, 128), 0.99, 1.0)):
        assert low <= notices_new_directions(shape) <= high
        assert intruders_mean_something(shape) is (low > 0)
    # Two directions of forty leave room, forty leave little.
    assert notices_new_directions((40, 2), 0.3) > 0.8
    assert notices_new_directions((40, 40), 0.3) < 0.2
    # Any vector of two dimensions has a cosine of at least 1/√2 with an axis.
    assert notices_new_directions((2, 5), 0.7) == 0
    assert notices_new_directions((2, 5), 0.999) > 0.9


def test_scaling_a_direction_changes_its_singular_value_alone():
    weight = well_spread()
    factors = (0.0, 0.7, 1.0)
    for factor, scaled in zip(factors, scaled_directions(weight, [0, 3], factors), strict=True):
        values = np.linalg.svd(scaled, compute_uv=False)
        expected = np.arange(40.0, 0, -1)
        expected[[0, 3]] *= factor
        assert values == pytest.approx(np.sort(expected)[::-1], abs=1e-9)
    (unscaled,) = scaled_directions(weight, [], [0.0])
    assert np.array_equal(unscaled, weight)


@pytest.mark.parametrize(("size", "least"), [(0.0, 0), (0.3, 1), (3.0, 6)])
def test_intruders_are_those_that_peft_finds(size, least):
    base = PerceptronSpec.of(num_features=40, num_hidden_1=24, num_hidden_2=32, num_classes=10).build(0)
    weights = linear_weights(base)
    config = peft.LoraConfig(r=4, lora_alpha=4, target_modules=["layers.0", "layers.2"])
    adapted = peft.get_peft_model(base, config)
    lines: list[str] = []
    expected = {}
    with torch.no_grad():
        for path in ("layers.0", "layers.2"):
            layer = adapted.base_model.model.get_submodule(path)
            layer.lora_B["default"].weight.normal_(0, size, generator=torch.Generator().manual_seed(0))
            delta = layer.get_delta_weight("default").double().numpy()
            expected[path] = intruders(weights[path], delta).count
        reduce_intruder_dimension(adapted, logging_sink=lines.append)
    found = {path: sum(map(int, re.findall(rf"{path}: Intruders: (\d+)", "\n".join(lines)))) for path in expected}
    assert found == expected
    assert sum(found.values()) >= least
