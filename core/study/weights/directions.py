"""Overlap of the directions of two runs, and intruder dimensions of one run with a check by scaling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from core.engine.jobs.job import network_of
from core.methods.adapted import AdaptedLinear, adapted_layers
from core.methods.method import Role
from core.run_spec import RunSpec
from core.study.weights.change import WeightChange
from core.study.weights.decomposition import Array
from core.study.weights.scores import Evaluator, Scores
from core.study.weights.spectrum import with_weights
from core.study.weights.subspace import (
    INTRUDER_THRESHOLD,
    INTRUDER_TOP,
    Intruders,
    RandomSimilarity,
    Side,
    intruders,
    notices_new_directions,
    random_likeness,
    random_similarity,
    scaled_directions,
    similarity,
)

MAX_DIRECTIONS = 16
"""Maximum number of directions of ΔW to compare, the strongest first; more would be illegible on a page."""

MEANINGFUL = 0.95
"""Share of random directions that must count as intruders for the intruders of a layer to be meaningful."""

FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""λ of the check on intruders: 1 leaves them unchanged, 0 removes them."""


@dataclass(frozen=True)
class Overlap:
    """Similarity of the directions of two ΔW, and that of random directions."""

    similarity: Array
    """(k₁, k₂), φ(i, j) at [i − 1, j − 1]; see :func:`core.study.weights.subspace.similarity`."""
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


@lru_cache(maxsize=256)
def intruders_mean_something(shape: tuple[int, int], threshold: float = INTRUDER_THRESHOLD) -> bool:
    """Return whether intruders are meaningful in a layer of this shape; they are not in a layer with ten outputs."""
    return notices_new_directions(shape, threshold) >= MEANINGFUL


@dataclass(frozen=True)
class Newness:
    """Similarity of the strongest directions of W + ΔW to those of W, for ΔW and for random ΔW."""

    likeness: Array
    """(k,) largest |cosine| of each direction with the directions of W."""
    random: Array
    """(draws, k) the same for random ΔW with the same singular values."""

    def found(self, threshold: float) -> Intruders:
        """Return the intruders below a threshold."""
        return Intruders(self.likeness, threshold)

    def by_chance(self, threshold: float) -> Array:
        """Return the number of intruders of each random ΔW, (draws,)."""
        return np.asarray((self.random < threshold).sum(axis=1), dtype=np.float64)


def newness(weight: Array, delta: Array, side: Side = "outputs") -> Newness:
    """Measure the similarity of the strongest directions of W + ΔW to those of W.

    See :func:`core.study.weights.subspace.intruders`.
    """
    found = intruders(weight, delta, top=INTRUDER_TOP, side=side)
    return Newness(found.likeness, random_likeness(weight, delta, INTRUDER_TOP, side))


def count_new(weight: Array, delta: Array) -> int:
    """Return how many of the strongest directions of W + ΔW are intruders."""
    return intruders(weight, delta).count


@dataclass(frozen=True)
class ScalingCheck:
    """Scores with the intruders of a layer scaled by λ, and the same for as many other strong directions."""

    factors: Array
    """(n,) λ, ascending; 1 is the trained network."""
    intruders: Scores
    control: Scores


def scaling_check(change: WeightChange, evaluator: Evaluator, layer: str, indices: Sequence[int]) -> ScalingCheck:
    """Scale the intruders of a layer and measure how the scores change.

    If they cause forgetting, λ < 1 restores source accuracy at little cost in target accuracy, and scaling the control
    directions does not. Source: Shuttleworth et al., arXiv 2410.21228, its scaling of intruders by λ.

    Args:
        change: base and tuned network.
        evaluator: examples to evaluate on.
        layer: its path.
        indices: of the intruders among the singular values of W + ΔW, 0 for the largest.
    """
    weight, delta = change.layer(layer)
    tuned = weight + delta
    others = [place for place in range(min(tuned.shape)) if place not in set(indices)][: len(indices)]

    def scores(places: Sequence[int]) -> Scores:
        return evaluator.of_networks(
            with_weights(change.plain, {layer: scaled}) for scaled in scaled_directions(tuned, places, FACTORS)
        )

    return ScalingCheck(np.array(FACTORS), scores(indices), scores(others))


def rank_of(change: WeightChange, layer: str, otherwise: int) -> int:
    """Return the rank of ΔW of a layer where an adapter bounds it, else ``otherwise``."""
    module = change.tuned.get_submodule(layer)
    return module.rank if isinstance(module, AdaptedLinear) and module.factors() is not None else otherwise
