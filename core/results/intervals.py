"""Confidence intervals of means and medians from few measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, stdtrit

MIN_SEEDS = 3
"""Minimum number of seeds for a useful interval; two say almost nothing about the spread."""

ERROR_RATE = 0.05
"""Accepted probability of a false claim if there is no difference; intervals cover 1 minus this."""

RESAMPLES = 9999
"""Number of bootstrap samples for an interval."""

DEFAULT_SEEDS = 8
"""Default number of seeds: a first look at them tests at 3.1 %, whatever the number of settings."""


@dataclass(frozen=True)
class Interval:
    """A mean with a confidence interval; ``low`` and ``high`` are NaN if unknown, and all three without values."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half of ``high − low``; NaN without an interval."""
        return (self.high - self.low) / 2


def t_interval(values: Sequence[float], alpha: float = ERROR_RATE) -> Interval:
    """Compute the mean and its two-sided 95 % Student t interval: x̄ ± t(0.975, n − 1) · s / √n.

    Source: Student, "The probable error of a mean", Biometrika 6 (1908). It assumes approximately normal values and
    ignores bounds, so an interval of accuracies may exceed 100 %.

    Args:
        values: independent measurements; a NaN among them makes the result NaN.
        alpha: share of intervals that miss the mean. With twice the error rate, each end is a one-sided 95 % limit.
    """
    n = len(values)
    if not n:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(np.mean(values))
    if n == 1 or not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan, n)
    half = float(stdtrit(n - 1, 1 - alpha / 2) * np.std(values, ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def median_interval(values: Sequence[float]) -> Interval:
    """The median of independent values with its two-sided distribution-free 95 % interval; NaN ends below six values.

    The interval goes from the k-th smallest to the k-th largest value, where k is the largest number with
    2 · P(B(n, ½) < k) ≤ 0.05 (Conover, "Practical Nonparametric Statistics", 3rd ed., 1999, section 3.2). Times have
    outliers on one side, and neither end depends on how far out these lie.
    """
    ordered = sorted(values)
    n = len(ordered)
    if not n:
        return Interval(math.nan, math.nan, math.nan, 0)
    k = sum(2 * float(bdtr(below, n, 0.5)) <= ERROR_RATE for below in range(n // 2))
    low, high = (ordered[k - 1], ordered[n - k]) if k else (math.nan, math.nan)
    return Interval(float(np.median(ordered)), low, high, n)


def paired_ratio(a: Sequence[float], b: Sequence[float]) -> Interval:
    """The median of a over b and its interval by :func:`median_interval`, for times (n,) of the same rounds."""
    return median_interval([left / right for left, right in zip(a, b, strict=True)])
