"""Scores with ΔW rescaled, without training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.study.weights.change import WeightChange
from core.study.weights.decomposition import Array
from core.study.weights.scores import Evaluator, Scores

MAX_STRENGTH = 3.0
"""The largest multiple of the trained ΔW."""

STRENGTH_STEP = 0.1
"""Distance between the multiples that are measured."""

COARSE_STEP = 0.5
"""The same for networks that take long to evaluate."""


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
