"""Singular directions of ΔW: similarity of subspaces, amplification, and intruder dimensions.

Directions are orthonormal columns. For a weight of shape (out, in), left singular vectors lie in the space of outputs
and right ones in that of inputs. Each measure has a counterpart for random directions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.study.weights.spectrum import Array, rounding

Side = Literal["outputs", "inputs"]

INTRUDER_THRESHOLD = 0.5
"""ε: a direction whose largest |cosine| with the directions of W is below it is an intruder."""

INTRUDER_TOP = 10
"""Number of directions of W + ΔW to check, the strongest first."""


def directions(matrix: Array, side: Side, limit: int | None = None) -> Array:
    """Left or right singular vectors of a matrix, the strongest first, without those whose singular value is zero.

    Args:
        matrix: ΔW or W of shape (out, in). For LoRA's A of shape (in, r), and for Bᵀ of shape (out, r), ``outputs``
            gives directions in the space of their rows.
        side: ``outputs`` for the left singular vectors, ``inputs`` for the right ones.
        limit: maximum number of directions.

    Returns:
        (out or in, k), orthonormal columns; k is the rank of the matrix or ``limit``.
    """
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    rank = int((values > rounding(matrix.shape, values)).sum())
    kept = rank if limit is None else min(rank, limit)
    return left[:, :kept] if side == "outputs" else right[:kept].T


def similarity(first: Array, second: Array) -> Array:
    """Similarity φ(i, j) = ‖Uᵢᵀ Vⱼ‖_F² / min(i, j) of the first i directions of one matrix and the first j of another.

    It is 1 if the smaller subspace lies within the larger one, and 0 if they are orthogonal.
    Source: Hu et al., "LoRA", arXiv 2106.09685, §7.2, eq. 4; its figures 3 (two ranks) and 4 (two seeds).

    Args:
        first: (d, k₁), orthonormal columns.
        second: (d, k₂), orthonormal columns.

    Returns:
        (k₁, k₂), φ(i, j) at [i − 1, j − 1].
    """
    overlap = np.cumsum(np.cumsum((first.T @ second) ** 2, axis=0), axis=1)
    smaller = _smaller(*overlap.shape)
    return np.asarray(np.clip(overlap / smaller, 0.0, 1.0))


@dataclass(frozen=True)
class RandomSimilarity:
    """Similarity φ(i, j) of two random subspaces, at [i − 1, j − 1]."""

    mean: Array
    """(k₁, k₂), exact: max(i, j) / d."""
    high: Array
    """(k₁, k₂), the 95 % quantile."""


def random_similarity(dimension: int, k1: int, k2: int, draws: int = 400) -> RandomSimilarity:
    """Distribution of :func:`similarity` for two random subspaces, uniform over rotations.

    The squared cosine of a random unit vector with any other has mean 1/d, so ‖Uᵢᵀ Vⱼ‖_F² is i j / d on average.
    The quantile is estimated from ``draws`` random bases with a fixed seed; it suffices to draw one of the two.

    Args:
        dimension: d of the space.
        k1: number of directions of the first subspace, at most d.
        k2: number of directions of the second subspace, at most d.
        draws: number of random bases.
    """
    rng, few, many = np.random.default_rng(0), min(k1, k2), max(k1, k2)
    i, j = np.ogrid[1 : few + 1, 1 : many + 1]
    drawn = np.empty((draws, few, many))
    for draw in drawn:
        basis = _random_directions(dimension, few, rng)
        draw[:] = np.cumsum(np.cumsum(basis[:many].T ** 2, axis=0), axis=1)
    high = np.quantile(drawn, 0.95, axis=0) / _smaller(few, many)
    mean = np.maximum(i, j) / dimension
    return RandomSimilarity(mean, high) if k1 <= k2 else RandomSimilarity(mean.T, high.T)


@dataclass(frozen=True)
class Amplification:
    """Size of ΔW relative to that of W in the directions of ΔW; all norms are Frobenius norms."""

    delta: float
    """‖ΔW‖ in its first r directions."""
    along_delta: float
    """‖Uᵀ W V‖ with U, V the first r directions of ΔW."""
    along_weight: float
    """The same with the directions of W itself: the maximum for r directions."""
    along_random: float
    """The same with random directions: r ‖W‖ / √(out · in), the root mean square."""

    @property
    def factor(self) -> float:
        """Amplification ‖ΔW‖ / ‖Uᵀ W V‖; infinite if Uᵀ W V is zero, NaN if ΔW is zero as well."""
        return _ratio(self.delta, self.along_delta)

    @property
    def random_factor(self) -> float:
        """Amplification of a ΔW of the same size in random directions."""
        return _ratio(self.delta, self.along_random)


def amplification(delta: Array, weight: Array, rank: int) -> Amplification:
    """Amplification factor: whether ΔW amplifies directions that are weak in W.

    Source: Hu et al., "LoRA", arXiv 2106.09685, §7.3 and table 7. For random U and V, each entry of Uᵀ W V has the
    mean square ‖W‖² / (out · in).

    Args:
        delta: ΔW, (out, in).
        weight: W before training, of the same shape.
        rank: r, number of directions of ΔW, at least 1; fewer are used if its rank is lower.
    """
    left, right = directions(delta, "outputs", rank), directions(delta, "inputs", rank)
    kept = left.shape[1]
    strongest = np.linalg.svd(weight, compute_uv=False)[:kept]
    return Amplification(
        delta=float(np.linalg.norm(left.T @ delta @ right)),
        along_delta=float(np.linalg.norm(left.T @ weight @ right)),
        along_weight=float(np.linalg.norm(strongest)),
        along_random=kept * float(np.linalg.norm(weight)) / math.sqrt(weight.size),
    )


@dataclass(frozen=True)
class Intruders:
    """Similarity of the strongest directions of W + ΔW to those of W."""

    likeness: Array
    """(k,) largest |cosine| of each direction with the directions of W, 0 to 1."""
    threshold: float
    """ε."""

    @property
    def indices(self) -> tuple[int, ...]:
        """Indices of the intruders among the directions of W + ΔW, 0 for the strongest."""
        return tuple(int(i) for i in np.flatnonzero(self.likeness < self.threshold))

    @property
    def count(self) -> int:
        """Number of intruders."""
        return len(self.indices)


def intruders(
    weight: Array, delta: Array, threshold: float = INTRUDER_THRESHOLD, top: int = INTRUDER_TOP, side: Side = "outputs"
) -> Intruders:
    """Intruder dimensions: strong directions of W + ΔW that are similar to no direction of W.

    These are the ones among the first k singular vectors of W + ΔW with max_i |cos(·, uᵢ)| < ε over all singular
    vectors uᵢ of W.
    Source: Shuttleworth et al., "LoRA vs full fine-tuning: an illusion of equivalence", arXiv 2410.21228,
    algorithm 1, which uses the side of the outputs and k = 10.

    Args:
        weight: W before training, (out, in).
        delta: ΔW, of the same shape.
        threshold: ε, 0 to 1.
        top: k.
        side: which singular vectors.
    """
    return Intruders(_likeness(directions(weight, side), directions(weight + delta, side, top)), threshold)


def notices_new_directions(
    shape: tuple[int, int], threshold: float = INTRUDER_THRESHOLD, side: Side = "outputs", draws: int = 2000
) -> float:
    """Probability that a random direction counts as an intruder in a layer of this shape.

    The min(out, in) directions of W span the smaller of the two spaces, of dimension d. There, every vector has a
    |cosine| of at least 1/√d with one of them; for an output layer with d = 10, it is mostly above ε. Intruders are
    meaningful only if the probability is close to 1. It is estimated from random vectors with a fixed seed; without
    loss of generality, W's directions are the first axes.

    Args:
        shape: (out, in) of the layer.
        threshold: ε.
        side: which singular vectors.
        draws: number of random vectors.
    """
    dimension = shape[0] if side == "outputs" else shape[1]
    vectors = np.random.default_rng(0).normal(size=(draws, dimension))
    cosines = np.abs(vectors[:, : min(shape)]) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return float(np.mean(cosines.max(axis=1) < threshold))


def random_intruders(
    weight: Array,
    delta: Array,
    threshold: float = INTRUDER_THRESHOLD,
    top: int = INTRUDER_TOP,
    side: Side = "outputs",
    draws: int = 20,
) -> NDArray[np.int64]:
    """Number of intruders of a random ΔW with the same singular values, for each draw.

    If training creates no more, intruders result from the size and rank of ΔW and not from what was learnt. Some
    count although they mean little: where singular values of W are close together, any ΔW mixes their directions.

    Args:
        weight: W before training, (out, in).
        delta: ΔW, of the same shape; only its singular values are used.
        threshold: ε.
        top: k.
        side: which singular vectors.
        draws: number of random matrices, drawn with a fixed seed.

    Returns:
        (draws,)
    """
    likeness = random_likeness(weight, delta, top, side, draws)
    return np.asarray((likeness < threshold).sum(axis=1), dtype=np.int64)


def random_likeness(
    weight: Array, delta: Array, top: int = INTRUDER_TOP, side: Side = "outputs", draws: int = 20
) -> Array:
    """:attr:`Intruders.likeness` of a random ΔW with the same singular values, for each draw.

    Args: as of :func:`random_intruders`.

    Returns:
        (draws, k)
    """
    rng, (out, inputs) = np.random.default_rng(0), delta.shape
    values = np.linalg.svd(delta, compute_uv=False)
    # Values due to rounding would only cost time.
    values = values[values > rounding(delta.shape, values)]
    known, found = directions(weight, side), []
    for _ in range(draws):
        left, right = (_random_directions(size, values.size, rng) for size in (out, inputs))
        found.append(_likeness(known, directions(weight + (left * values) @ right.T, side, top)))
    return np.stack(found)


def _likeness(known: Array, found: Array) -> Array:
    """Return the largest |cosine| of each column of ``found`` with any column of ``known``, (k,)."""
    return np.asarray(np.clip(np.abs(found.T @ known).max(axis=1, initial=0.0), 0.0, 1.0))


def scaled_directions(weight: Array, indices: Sequence[int], factor: float) -> Array:
    """Scale some of the singular values of a weight: W + (λ − 1) Σ σᵢ uᵢ vᵢᵀ.

    This is the causal check of arXiv 2410.21228: if intruders cause forgetting, scaling them by λ < 1 restores source
    accuracy at little cost in target accuracy. As a control, scale the same number of other strong directions.

    Args:
        weight: the tuned W + ΔW, (out, in).
        indices: of singular values, 0 for the largest; see :attr:`Intruders.indices`.
        factor: λ; 1 leaves the weight unchanged, 0 removes the directions.
    """
    left, values, right = np.linalg.svd(weight, full_matrices=False)
    chosen = list(indices)
    return np.asarray(weight + (factor - 1) * (left[:, chosen] * values[chosen]) @ right[chosen])


def _random_directions(dimension: int, count: int, rng: np.random.Generator) -> Array:
    """Draw orthonormal columns (dimension, count), uniform over rotations (Mezzadri, Notices AMS 54, 2007)."""
    basis, upper = np.linalg.qr(rng.normal(size=(dimension, count)))
    return np.asarray(basis * np.sign(np.diag(upper)))


def _smaller(rows: int, columns: int) -> NDArray[np.int64]:
    """Return min(i, j) at [i − 1, j − 1], (rows, columns)."""
    return np.minimum.outer(np.arange(1, rows + 1), np.arange(1, columns + 1))


def _ratio(part: float, whole: float) -> float:
    if whole:
        return part / whole
    return math.inf if part else math.nan
