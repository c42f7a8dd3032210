"""In which directions ΔW lies, and how alike the directions of two ΔW are.

Directions are orthonormal columns. Of a weight of shape (out, in) the left singular vectors lie in the space of
outputs, the right ones in that of inputs. Each measure comes with what random directions would give.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.engine.jobs.job import network_of
from core.methods.adapted import adapted_layers
from core.methods.method import Role
from core.run_spec import RunSpec
from core.study.weights.decomposition import Array, rounding, singular_vectors

Side = Literal["outputs", "inputs"]

RANDOM_BASES = 400
"""Draws of :func:`random_similarity`."""


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


def _random_directions(dimension: int, count: int, rng: np.random.Generator) -> Array:
    """(dimension, count) orthonormal columns, uniform over rotations (Mezzadri, Notices AMS 54, 2007)."""
    basis, upper = np.linalg.qr(rng.normal(size=(dimension, count)))
    return np.asarray(basis * np.sign(np.diag(upper)))


def _smaller(rows: int, columns: int) -> NDArray[np.int64]:
    """(rows, columns), min(i, j) at [i − 1, j − 1]."""
    return np.minimum.outer(np.arange(1, rows + 1), np.arange(1, columns + 1))


MAX_DIRECTIONS = 16
"""Maximum number of directions of ΔW to compare, the strongest first; more would be illegible on a page."""


@dataclass(frozen=True)
class Overlap:
    """Similarity of the directions of two ΔW, and that of random directions."""

    similarity: Array
    """(k₁, k₂), φ(i, j) at [i − 1, j − 1]; see :func:`similarity`."""
    random: RandomSimilarity

    @property
    def whole(self) -> float:
        """φ of all k₁ against all k₂ directions."""
        return float(self.similarity[-1, -1])

    @property
    def beyond_chance(self) -> bool:
        """Whether the overlap is above that of 95 % of random pairs."""
        return self.whole > float(self.random.high[-1, -1]) + 1e-9


def overlap(first: Array, second: Array) -> Overlap | None:
    """Compare two sets of directions.

    Args:
        first: (d, k₁), orthonormal columns, the strongest first.
        second: (d, k₂).

    Returns:
        None if one of them is empty, as for a layer that did not change.
    """
    if not first.shape[1] or not second.shape[1]:
        return None
    return Overlap(similarity(first, second), random_similarity(first.shape[0], first.shape[1], second.shape[1]))


def drawn_alike(base: nn.Module, first: RunSpec, second: RunSpec, layer: str) -> bool:
    """Whether two runs drew A of a layer from the same random numbers, as all adapters of one rank and seed do.

    Such runs share directions before their first step, so an overlap says little of what training found.

    Args:
        base: a network like the one that both start from; its weights do not matter.
        first: a run.
        second: another run.
        layer: path of a linear layer.
    """
    if first.seed != second.seed:
        return False
    one, other = (_drawn(base, spec, layer) for spec in (first, second))
    return one is not None and other is not None and torch.equal(one, other)


def _drawn(base: nn.Module, spec: RunSpec, layer: str) -> Tensor | None:
    """What is drawn of an adapter before training, with the default initialization; None where nothing is."""
    if spec.role is not Role.ADAPTER:
        return None
    alike = spec.but(method=spec.method.shape())
    adapted = adapted_layers(network_of(alike, base)).get(layer)
    return adapted.drawn() if adapted is not None else None
