"""Scores with ΔW rescaled, and with ΔW of single layers turned off, without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from core.methods.roles import Layers
from core.study.weights.change import REST, WeightChange
from core.study.weights.decomposition import Array
from core.study.weights.scores import Evaluator, Scores

MAX_STRENGTH = 3.0
"""The largest multiple of the trained ΔW."""

STRENGTH_STEP = 0.1
"""Distance between the multiples that are measured."""

COARSE_STEP = 0.5
"""The same for networks that take long to evaluate."""

MAX_SWITCHED = 6
"""Number of layers of which every combination is evaluated in a second or two."""

OTHER = "other layers"
"""Name of the layers without a role together."""


@dataclass(frozen=True)
class StrengthCurve:
    """Scores of the base with t ΔW, for several t."""

    strengths: Array
    """(n,) t, ascending from 0: 0 is the base, 1 the trained network."""
    scores: Scores
    """Scores at each t."""

    def place(self, strength: float) -> int:
        """Index of the nearest t."""
        return int(np.abs(self.strengths - strength).argmin())

    @property
    def best(self) -> float:
        """The t with the best score on the target; of several, the one closest to 1."""
        values = self.scores.oriented
        top = self.strengths[values >= values.max() - 1e-9]
        return float(top[np.abs(top - 1).argmin()])


def strengths(step: float = STRENGTH_STEP) -> Array:
    """Return the multiples of ΔW that are measured, (n,), from 0 to :data:`MAX_STRENGTH`."""
    # Rounded, so that 1 is exactly 1.
    return np.round(np.arange(round(MAX_STRENGTH / step) + 1) * step, 6)


def strength_curve(change: WeightChange, evaluator: Evaluator, step: float = STRENGTH_STEP) -> StrengthCurve:
    """Evaluate the base with 0 to :data:`MAX_STRENGTH` times the trained change of everything but a new head."""
    grid = strengths(step)
    settings = [dict.fromkeys(change.parts, float(t)) for t in grid]
    return StrengthCurve(grid, evaluator.of_strengths(change, settings))


@dataclass(frozen=True)
class Switches:
    """Scores with the change of each group of layers on or off, for every combination."""

    groups: Mapping[str, tuple[str, ...]]
    """Parts of the change in each group that training changed, by the group's name, from the input to the output."""
    on: tuple[tuple[bool, ...], ...]
    """Combinations: all on first, all off last."""
    scores: Scores
    """Scores of each combination."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the groups."""
        return tuple(self.groups)

    def place(self, on: tuple[bool, ...]) -> int:
        """Index of a combination."""
        return self.on.index(on)

    @property
    def everything(self) -> int:
        """Index of the combination with all groups on."""
        return 0

    def without(self, name: str) -> int:
        """Index of the combination with only this group off."""
        return self.place(tuple(each != name for each in self.groups))

    def only(self, name: str) -> int:
        """Index of the combination with only this group on."""
        return self.place(tuple(each == name for each in self.groups))


def switch_groups(change: WeightChange) -> dict[str, tuple[str, ...]]:
    """What can be switched: each layer that training changed, or, if there are more than :data:`MAX_SWITCHED`, the
    layers of each role, or of each name in a block if all have one role; and everything else, if it changed.
    """
    layers = change.changed_layers
    rest = (REST,) if change.changed_elsewhere else ()
    if len(layers) + len(rest) <= MAX_SWITCHED:
        return {part: (part,) for part in (*layers, *rest)}
    found = Layers(tuple(layers))
    if len(found.by_role) == 1 and not rest and len(found.by_name) <= MAX_SWITCHED:
        return dict(found.by_name)
    return {role or OTHER: paths for role, paths in found.by_role.items()} | ({REST: rest} if rest else {})


def switches(change: WeightChange, evaluator: Evaluator) -> Switches:
    """Evaluate every combination of :func:`switch_groups` on and off; the change of a bias is switched with ΔW."""
    groups = switch_groups(change)
    on = tuple(product((True, False), repeat=len(groups)))
    settings = [
        {part: float(is_on) for parts, is_on in zip(groups.values(), each, strict=True) for part in parts}
        for each in on
    ]
    return Switches(groups, on, evaluator.of_strengths(change, settings))


def layer_alone(change: WeightChange, evaluator: Evaluator, layer: str) -> Scores:
    """Evaluate the trained network, the same without one layer's change, that change alone, and the base.

    Returns:
        Four scores, in this order.
    """
    off = dict.fromkeys(change.parts, 0.0)
    return evaluator.of_strengths(change, [{}, {layer: 0.0}, off | {layer: 1.0}, off])
