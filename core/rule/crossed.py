"""Differences over seeds and test examples: intervals and p-values for other seeds and other examples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from core.results.intervals import ERROR_RATE, Interval


@dataclass(frozen=True)
class Crossed:
    """A mean difference over seeds and test examples, both taken as random, by a two-way analysis of variance.

    Seeds and examples are crossed, since every seed is measured on the same examples. In the model with random effects
    and one value per cell, the mean has the variance

        Var = (MS_seed + MS_example − MS_rest) / (S · N),  at least MS_seed / (S · N),

    where MS are mean squares; the second form is the variance over seeds alone. The degrees of freedom of Student's t
    are Satterthwaite's, Var² / Σ (MS² / df) with MS in units of Var, but not below those of seeds or examples alone;
    over seeds alone they are S − 1. Sources: Searle, Casella and McCulloch, "Variance Components" (1992), ch. 4;
    Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bulletin 2 (1946).

    In simulations with 3 to 64 seeds and 100 to 10,000 examples, with values that are right or wrong, continuous,
    heavy-tailed or weighted, 95 % intervals missed in 3 to 8 % of cases, with two seeds in 5 to 13 %; those over seeds
    alone, whose examples are fixed, in 5 to 72 %.
    """

    mean: float
    seeds: int
    examples: int
    """1 where values of single examples are not known: everything is then over seeds alone."""
    ms_seed: float
    ms_example: float
    ms_rest: float
    """Mean squares; NaN where they are not known."""

    @property
    def _extra(self) -> float:
        """What the examples add to the mean square of the seeds; 0 where that is nothing but rounding."""
        extra = self.ms_example - self.ms_rest
        return extra if extra > 1e-9 * self.ms_example else 0.0

    @property
    def _error(self) -> float:
        """Standard error of the mean."""
        return math.sqrt((self.ms_seed + self._extra) / (self.seeds * self.examples))

    @property
    def df(self) -> float:
        """Degrees of freedom of Student's t."""
        S, N, both = self.seeds - 1, self.examples - 1, self.ms_seed + self._extra
        if not self._extra:
            return S
        rest = self.ms_rest**2 / (S * N)
        return max(both**2 / (self.ms_seed**2 / S + self.ms_example**2 / N + rest), min(S, N))

    def interval(self) -> Interval:
        """The 95 % interval for other seeds and other examples; its ends are NaN with fewer than two seeds."""
        if self.seeds < 2 or not math.isfinite(self.mean):
            return Interval(self.mean, math.nan, math.nan, self.seeds)
        half = float(stdtrit(self.df, 1 - ERROR_RATE / 2)) * self._error
        return Interval(self.mean, self.mean - half, self.mean + half, self.seeds)

    @property
    def p(self) -> float:
        """Two-sided p-value of a mean of 0: at most 0.05 exactly where :meth:`interval` excludes 0.

        0 where seeds and examples agree exactly on another value than 0; NaN with fewer than two seeds.
        """
        if self.seeds < 2 or not math.isfinite(self.mean):
            return math.nan
        if self._error <= 1e-9 * max(1.0, abs(self.mean)):  # equal values of percentages may differ by rounding errors
            return float(abs(self.mean) <= 1e-9)
        return float(2 * stdtr(self.df, -abs(self.mean) / self._error))

    @property
    def spreads(self) -> tuple[float, float, float]:
        """Standard deviations of seeds, of examples and of the rest, in the unit of the values; at least 0."""
        seed = max(0.0, self.ms_seed - self.ms_rest) / self.examples
        example = max(0.0, self.ms_example - self.ms_rest) / self.seeds
        return math.sqrt(seed), math.sqrt(example), math.sqrt(self.ms_rest)


def crossed(differences: NDArray[np.generic]) -> Crossed:
    """Analyze differences of two settings by seed and test example.

    Args:
        differences: (S, N), for each seed and test example the measure of the first setting minus that of the second,
            in the measure's unit; for accuracy 100 if only the first is right, −100 if only the second is, else 0.
            (S, 1) where only the means over the examples are known. A measure that is no mean of examples is given by
            its linearization; see :attr:`core.objectives.measure.Measure.each`.

    Raises:
        ValueError: ``differences`` has not two dimensions.
    """
    if differences.ndim != 2:
        raise ValueError("Differences have two dimensions: seeds and examples.")
    values = np.asarray(differences, dtype=np.float64)
    S, N = values.shape
    mean = float(values.mean()) if values.size else math.nan
    if S < 2 or not N or not math.isfinite(mean):
        return Crossed(mean, S, N, math.nan, math.nan, math.nan)
    by_seed, by_example = values.mean(1) - mean, values.mean(0) - mean
    ss_seed, ss_example = N * float(by_seed @ by_seed), S * float(by_example @ by_example)
    if N < 2:
        return Crossed(mean, S, N, ss_seed / (S - 1), 0.0, 0.0)
    ss_rest = max(0.0, float(((values - mean) ** 2).sum()) - ss_seed - ss_example)
    return Crossed(mean, S, N, ss_seed / (S - 1), ss_example / (N - 1), ss_rest / ((S - 1) * (N - 1)))
