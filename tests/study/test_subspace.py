from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.study.weights.subspace import directions, random_similarity, similarity
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
    mean, high = random_similarity(16, k1, k2)
    drawn = [similarity(orthonormal(16, k1, s), orthonormal(16, k2, 10_000 + s))[-1, -1] for s in range(600)]
    assert np.mean(drawn) == pytest.approx(mean, abs=0.02)
    assert np.mean(np.array(drawn) > high) == pytest.approx(0.05, abs=0.04)
