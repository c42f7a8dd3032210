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
from torch import Tensor, nn

from core.engine.jobs.job import network_of
from core.methods.adapted import adapted_layers
from core.methods.method import Role
from core.run_spec import RunSpec
from core.study.weights.spectrum import Array, rounding, singular_vectors

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
    rows, columns = (np.arange(1, size + 1) for size in overlap.shape)
    return np.asarray(np.clip(overlap / np.minimum.outer(rows, columns), 0.0, 1.0))


@lru_cache(maxsize=128)
def random_similarity(dimension: int, k1: int, k2: int) -> tuple[float, float]:
    """What :func:`similarity` of all directions would be if they were drawn at random, each rotation equally likely.

    A random unit vector has 1/d of its length squared along any other, so ‖Uᵀ V‖_F² is k₁ k₂ / d on average.
    The 95 % come from :data:`RANDOM_BASES` random bases with a fixed seed; only one of the two need be drawn.

    Args:
        dimension: d, of the space.
        k1: directions of the first, at most d.
        k2: directions of the second, at most d.

    Returns:
        The mean, exactly; and what 95 % of random pairs stay below.
    """
    rng, few, many = np.random.default_rng(0), min(k1, k2), max(k1, k2)
    drawn = []
    for _ in range(RANDOM_BASES):
        # Orthonormal columns, uniform over rotations (Mezzadri, Notices AMS 54, 2007): their signs play no part here.
        basis, _upper = np.linalg.qr(rng.normal(size=(dimension, few)))
        drawn.append(float((basis[:many] ** 2).sum()))
    return many / dimension, float(np.quantile(drawn, 0.95)) / few


MAX_DIRECTIONS = 16
"""Maximum number of directions of ΔW to compare, the strongest first; more would be illegible on a page."""


@dataclass(frozen=True)
class Overlap:
    """Similarity of the directions of two ΔW, and that of random directions."""

    similarity: Array
    """(k₁, k₂), φ(i, j) at [i − 1, j − 1]; see :func:`similarity`."""
    random_mean: float
    """φ of as many random directions, on average."""
    random_high: float
    """φ that 95 % of random pairs stay below."""

    @property
    def whole(self) -> float:
        """φ of all k₁ against all k₂ directions."""
        return float(self.similarity[-1, -1])

    @property
    def beyond_chance(self) -> bool:
        """Whether the overlap is above that of 95 % of random pairs."""
        return self.whole > self.random_high + 1e-9


def overlap(first: Array, second: Array) -> Overlap | None:
    """Compare two sets of directions; None if one is empty, as for a layer that did not change.

    Args:
        first: (d, k₁), orthonormal columns, the strongest first.
        second: (d, k₂).
    """
    if not first.shape[1] or not second.shape[1]:
        return None
    return Overlap(similarity(first, second), *random_similarity(len(first), first.shape[1], second.shape[1]))


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
