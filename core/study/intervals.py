"""What a handful of measurements says of the mean behind them, and how many would say more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

LEAST_SEEDS = 3
"""Seeds below which no difference of measured values is claimed: two say next to nothing of the spread."""

ERROR_RATE = 0.05
"""Share of false alarms that is accepted where there is no difference; intervals cover 1 minus this."""

POWER = 0.8
"""Chance to show a difference of the observed size that :func:`seeds_needed` aims at."""

MOST_SEEDS = 1_000_000
"""Seeds above which no number is given any more."""


@dataclass(frozen=True)
class Interval:
    """A mean and what it may be off by; ``low`` and ``high`` are NaN below two values, all three without any."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half of ``high − low``; NaN where there is no interval."""
        return (self.high - self.low) / 2


def t_interval(values: Sequence[float], level: float = 1 - ERROR_RATE) -> Interval:
    """Mean and two-sided Student-t interval: x̄ ± t(1 − (1 − level)/2, n − 1) · s / √n.

    Source: Student, "The probable error of a mean", Biometrika 6 (1908). It assumes values that are
    about normal; it knows no bounds, so an interval of accuracies may reach past 100 %.

    Args:
        values: independent measurements in one unit; a NaN among them makes the result NaN.
        level: coverage, 0 to 1.
    """
    n = len(values)
    if not n:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(np.mean(values))
    if n == 1 or not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan, n)
    half = float(stdtrit(n - 1, (1 + level) / 2) * np.std(values, ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def seeds_needed(differences: Sequence[float], comparisons: int = 1) -> int | None:
    """Pairs that would show a difference of the observed size d with 80 % power in a two-sided paired t-test.

    The smallest n with n ≥ ((t(1 − α/2, n − 1) + t(0.8, n − 1)) · s / d)², s the standard deviation of
    the differences and α = 0.05 / comparisons. Source: Zar, "Biostatistical Analysis" (5th ed., 2010),
    sample size for a test of one mean, applied to the differences. The true difference may well be
    smaller than the observed one: take the number as a guide.

    Returns:
        At least three; None where the spread is unknown (fewer than two differences, or not finite)
        and where more than a million would be needed, which is to say that nothing differs.
    """
    mean = float(np.mean(differences)) if len(differences) > 1 else 0.0
    if not mean or not math.isfinite(mean):
        return None
    alpha = ERROR_RATE / comparisons
    spread = float(np.std(differences, ddof=1) / mean) ** 2
    # Quantiles of t lie above the normal ones, so no smaller n can do.
    least = float(ndtri(1 - alpha / 2) + ndtri(POWER)) ** 2 * spread
    if not least <= MOST_SEEDS:
        return None
    n = max(LEAST_SEEDS, math.floor(least))
    while n < float(stdtrit(n - 1, 1 - alpha / 2) + stdtrit(n - 1, POWER)) ** 2 * spread:
        n += 1
    return n
