"""In which directions ΔW lies: how alike two subspaces are, what ΔW amplifies, and which directions are new.

Directions are orthonormal columns. Of a weight of shape (out, in) the left singular vectors lie in the space of
outputs, the right ones in that of inputs. Each measure comes with what random directions would give.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.study.weights.decomposition import (
    MIN_GRAM_RATIO,
    Array,
    is_large,
    is_wide,
    rounding,
    short_vectors,
    singular_values,
    singular_vectors,
)

Side = Literal["outputs", "inputs"]

INTRUDER_THRESHOLD = 0.5
"""ε below which the largest |cosine| with any direction of W makes a direction an intruder."""

INTRUDER_TOP = 10
"""Directions of W + ΔW that are looked at, the strongest first."""

RANDOM_BASES, RANDOM_VECTORS = 400, 2000
"""Draws of :func:`random_similarity` and :func:`notices_new_directions`."""


def directions(matrix: Array, side: Side, limit: int | None = None) -> Array:
    """Singular vectors of a matrix on one side, the strongest first, without those of a singular value of zero.

    Args:
        matrix: ΔW or W of shape (out, in). LoRA's A of shape (in, r) has its directions on the side of its rows,
            ``outputs`` here, and so has Bᵀ of shape (out, r).
        side: ``outputs`` for the left singular vectors, ``inputs`` for the right ones.
        limit: maximum number of directions.

    Returns:
        (out or in, k), orthonormal columns; k is the rank of the matrix or ``limit``.
    """
    left, values, right = singular_vectors(matrix)
    rank = int((values > rounding(matrix.shape, values)).sum())
    kept = rank if limit is None else min(rank, limit)
    return left[:, :kept] if side == "outputs" else right[:kept].T


def strongest(matrix: Array, side: Side, limit: int | None = None) -> Array:
    """:func:`directions`, faster for large matrices: from the smaller of M Mᵀ and Mᵀ M, whose eigenvectors they are.

    That squares the singular values, so where one that is asked for is below 10⁻⁵ of the largest, or the matrix is
    small, they come from :func:`directions`.

    Args: as of :func:`directions`.
    """
    kept = min(matrix.shape) if limit is None else min(limit, *matrix.shape)
    if is_large(matrix):
        values, vectors = short_vectors(matrix)
        if values[kept - 1] > MIN_GRAM_RATIO * values[0]:
            own = vectors[:, :kept]
            if is_wide(matrix) == (side == "outputs"):
                return own
            return np.asarray((matrix if side == "outputs" else matrix.T) @ own / np.sqrt(values[:kept]))
    return directions(matrix, side, limit)


def similarity(first: Array, second: Array) -> Array:
    """φ(i, j) = ‖Uᵢᵀ Vⱼ‖_F² / min(i, j), of the first i directions of one matrix and the first j of another.

    1 where the smaller subspace lies in the larger, 0 where they are orthogonal.
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
    """φ of two random subspaces, at [i − 1, j − 1]."""

    mean: Array
    """(k₁, k₂), exact: max(i, j) / d."""
    high: Array
    """(k₁, k₂), which 95 % of random pairs stay below."""


@lru_cache(maxsize=128)
def random_similarity(dimension: int, k1: int, k2: int) -> RandomSimilarity:
    """What :func:`similarity` would be of directions drawn at random, each rotation as likely as the others.

    A random unit vector has 1/d of its length squared along any other, so ‖Uᵢᵀ Vⱼ‖_F² is i j / d on average.
    The 95 % come from :data:`RANDOM_BASES` random bases with a fixed seed; only one of the two need be drawn.

    Args:
        dimension: d, of the space.
        k1: directions of the first, at most d.
        k2: directions of the second, at most d.
    """
    rng, few, many = np.random.default_rng(0), min(k1, k2), max(k1, k2)
    i, j = np.ogrid[1 : few + 1, 1 : many + 1]
    drawn = np.empty((RANDOM_BASES, few, many))
    for draw in drawn:
        basis = _random_directions(dimension, few, rng)
        draw[:] = np.cumsum(np.cumsum(basis[:many].T ** 2, axis=0), axis=1)
    high = np.quantile(drawn, 0.95, axis=0) / _smaller(few, many)
    mean = np.maximum(i, j) / dimension
    return RandomSimilarity(mean, high) if k1 <= k2 else RandomSimilarity(mean.T, high.T)


@dataclass(frozen=True)
class Amplification:
    """How strongly ΔW stands in its own directions, against W in the same ones; all norms are Frobenius norms."""

    delta: float
    """‖ΔW‖, of its first r directions."""
    along_delta: float
    """‖Uᵀ W V‖ with U, V the first r directions of ΔW."""
    along_weight: float
    """The same with the directions of W itself: the maximum for r directions."""
    along_random: float
    """The same with random ones: r ‖W‖ / √(out · in), root mean square."""

    @property
    def factor(self) -> float:
        """‖ΔW‖ / ‖Uᵀ W V‖; infinite where W has nothing there, NaN where ΔW is zero."""
        return _ratio(self.delta, self.along_delta)

    @property
    def random_factor(self) -> float:
        """What a ΔW of this size in random directions would have."""
        return _ratio(self.delta, self.along_random)


def amplification(delta: Array, weight: Array, rank: int) -> Amplification:
    """The amplification factor: does ΔW strengthen what W has little of?

    Source: Hu et al., "LoRA", arXiv 2106.09685, §7.3 and table 7. For random U and V, each entry of Uᵀ W V has the
    mean square ‖W‖² / (out · in).

    Args:
        delta: ΔW, (out, in).
        weight: W before training, of the same shape.
        rank: r, directions of ΔW that are looked at, at least 1; fewer where its rank is lower.
    """
    left, right = directions(delta, "outputs", rank), directions(delta, "inputs", rank)
    kept = left.shape[1]
    largest = singular_values(weight)[:kept]
    return Amplification(
        delta=float(np.linalg.norm(left.T @ delta @ right)),
        along_delta=float(np.linalg.norm(left.T @ weight @ right)),
        along_weight=float(np.linalg.norm(largest)),
        along_random=kept * float(np.linalg.norm(weight)) / math.sqrt(weight.size),
    )


@dataclass(frozen=True)
class Intruders:
    """How well W knew each of the strongest directions of W + ΔW."""

    likeness: Array
    """(k,) the largest |cosine| of each with any direction of W, 0 to 1."""
    threshold: float
    """ε."""

    @property
    def indices(self) -> tuple[int, ...]:
        """Places of the intruders among the directions of W + ΔW, from 0 for the strongest."""
        return tuple(int(i) for i in np.flatnonzero(self.likeness < self.threshold))

    @property
    def count(self) -> int:
        """How many of the k are intruders."""
        return len(self.indices)


def intruders(
    weight: Array, delta: Array, threshold: float = INTRUDER_THRESHOLD, top: int = INTRUDER_TOP, side: Side = "outputs"
) -> Intruders:
    """Intruder dimensions: strong directions of W + ΔW that are like none of W.

    Of the first k singular vectors of W + ΔW those with max_i |cos(·, uᵢ)| < ε over all singular vectors uᵢ of W.
    Source: Shuttleworth et al., "LoRA vs full fine-tuning: an illusion of equivalence", arXiv 2410.21228,
    algorithm 1, there on the side of the outputs with k = 10.

    Args:
        weight: W before training, (out, in).
        delta: ΔW, of the same shape.
        threshold: ε, 0 to 1.
        top: k.
        side: which singular vectors.
    """
    return Intruders(_likeness(strongest(weight, side), strongest(weight + delta, side, top)), threshold)


def notices_new_directions(shape: tuple[int, int], threshold: float = INTRUDER_THRESHOLD) -> float:
    """How often a random direction of the outputs would count as an intruder in a layer of that shape, 0 to 1.

    The min(out, in) directions of W fill the side whose dimension d is the smaller. There every vector has a
    |cosine| of at least 1/√d with one of them, and at d = 10, an output layer, mostly one above ε. Intruders mean
    something only where this is close to 1. From :data:`RANDOM_VECTORS` random vectors with a fixed seed; W's
    directions may be taken as the first axes.

    Args:
        shape: (out, in) of the layer.
        threshold: ε.
    """
    vectors = np.random.default_rng(0).normal(size=(RANDOM_VECTORS, shape[0]))
    cosines = np.abs(vectors[:, : min(shape)]) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return float(np.mean(cosines.max(axis=1) < threshold))


def random_likeness(
    weight: Array, delta: Array, top: int = INTRUDER_TOP, side: Side = "outputs", draws: int = 20
) -> Array:
    """:attr:`Intruders.likeness` where ΔW has the same singular values in random directions, draw by draw.

    Where training makes no more intruders, they come from the size of ΔW and its rank, not from what was learned. That
    also tells those that mean little: where singular values of W lie close together, any ΔW mixes their directions.

    Args:
        weight: W before training, (out, in).
        delta: ΔW, of the same shape; only its singular values count.
        top: k.
        side: which singular vectors.
        draws: random matrices, with a fixed seed.

    Returns:
        (draws, k)
    """
    rng, (out, inputs) = np.random.default_rng(0), delta.shape
    values = singular_values(delta)
    # Values that are rounding would only cost time.
    values = values[values > rounding(delta.shape, values)]
    known, found = strongest(weight, side), []
    for _ in range(draws):
        left, right = (_random_directions(size, values.size, rng) for size in (out, inputs))
        found.append(_likeness(known, strongest(weight + (left * values) @ right.T, side, top)))
    return np.stack(found)


def _likeness(known: Array, found: Array) -> Array:
    """(k,) the largest |cosine| of each column of ``found`` with any column of ``known``."""
    return np.asarray(np.clip(np.abs(found.T @ known).max(axis=1, initial=0.0), 0.0, 1.0))


def scaled_directions(weight: Array, indices: Sequence[int], factors: Iterable[float]) -> Iterator[Array]:
    """A weight with some of its singular values scaled, W + (λ − 1) Σ σᵢ uᵢ vᵢᵀ, from one decomposition.

    This is the causal check of arXiv 2410.21228: if intruders cause forgetting, scaling them by λ < 1 restores source
    accuracy at little cost in target accuracy. As a control, scale the same number of other strong directions.

    Args:
        weight: the tuned W + ΔW, (out, in).
        indices: of singular values, 0 for the largest; see :attr:`Intruders.indices`.
        factors: each λ; 1 leaves the weight unchanged, 0 removes the directions.

    Yields:
        (out, in) at each λ, in this order.
    """
    left, values, right = singular_vectors(weight)
    chosen = list(indices)
    for factor in factors:
        yield np.asarray(weight + (factor - 1) * (left[:, chosen] * values[chosen]) @ right[chosen])


def _random_directions(dimension: int, count: int, rng: np.random.Generator) -> Array:
    """(dimension, count) orthonormal columns, uniform over rotations (Mezzadri, Notices AMS 54, 2007)."""
    basis, upper = np.linalg.qr(rng.normal(size=(dimension, count)))
    return np.asarray(basis * np.sign(np.diag(upper)))


def _smaller(rows: int, columns: int) -> NDArray[np.int64]:
    """(rows, columns), min(i, j) at [i − 1, j − 1]."""
    return np.minimum.outer(np.arange(1, rows + 1), np.arange(1, columns + 1))


def _ratio(part: float, whole: float) -> float:
    if whole:
        return part / whole
    return math.inf if part else math.nan
