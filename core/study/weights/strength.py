"""Accuracies with ΔW rescaled, and with ΔW of single layers turned off, without training."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from core.study.weights.change import WeightChange
from core.study.weights.scores import Exam, Scores
from core.study.weights.spectrum import Array

MAX_STRENGTH = 3.0
"""The largest multiple of the trained ΔW."""

STRENGTH_STEP = 0.1
"""Distance between the multiples that are measured."""

MAX_SWITCHED = 6
"""Number of layers of which every combination is evaluated in a second or two."""


@dataclass(frozen=True)
class StrengthCurve:
    """Accuracies of the base with t ΔW, for several t."""

    strengths: Array
    """(n,) t, ascending from 0: 0 is the base, 1 the trained network."""
    scores: Scores
    """Accuracies at each t."""

    def place(self, strength: float) -> int:
        """Index of the nearest t."""
        return int(np.abs(self.strengths - strength).argmin())

    @property
    def best(self) -> float:
        """The t with the highest accuracy on the target; of several, the one closest to 1."""
        top = self.strengths[self.scores.target >= self.scores.target.max() - 1e-9]
        return float(top[np.abs(top - 1).argmin()])


def strengths() -> Array:
    """Return the multiples of ΔW that are measured, (n,), from 0 to :data:`MAX_STRENGTH`."""
    # Rounded, so that 1 is exactly 1.
    return np.round(np.arange(round(MAX_STRENGTH / STRENGTH_STEP) + 1) * STRENGTH_STEP, 6)


def strength_curve(change: WeightChange, exam: Exam) -> StrengthCurve:
    """Evaluate the base with 0 to :data:`MAX_STRENGTH` times the trained ΔW in all layers."""
    grid = strengths()
    settings = [dict.fromkeys(change.weights, float(t)) for t in grid]
    return StrengthCurve(grid, exam.of_strengths(change, settings))


@dataclass(frozen=True)
class Switches:
    """Accuracies with each layer's ΔW on or off, for every combination."""

    layers: tuple[str, ...]
    """Paths of the layers that training changed, from the input to the output."""
    on: tuple[tuple[bool, ...], ...]
    """Combinations: all on first, all off last."""
    scores: Scores
    """Accuracies of each combination."""

    def place(self, on: tuple[bool, ...]) -> int:
        """Index of a combination."""
        return self.on.index(on)

    @property
    def everything(self) -> int:
        """Index of the combination with all layers on."""
        return 0

    @property
    def nothing(self) -> int:
        """Index of the combination with all layers off, which is the base."""
        return len(self.on) - 1

    def without(self, layer: str) -> int:
        """Index of the combination with only this layer off."""
        return self.place(tuple(path != layer for path in self.layers))

    def only(self, layer: str) -> int:
        """Index of the combination with only this layer on."""
        return self.place(tuple(path == layer for path in self.layers))


def switches(change: WeightChange, exam: Exam) -> Switches:
    """Evaluate every combination of layers with ΔW on and off; the change of a layer's bias is switched with ΔW."""
    layers = change.changed_layers
    on = tuple(product((True, False), repeat=len(layers)))
    settings = [dict(zip(layers, map(float, each), strict=True)) for each in on]
    return Switches(layers, on, exam.of_strengths(change, settings))
