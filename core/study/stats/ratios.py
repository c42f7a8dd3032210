"""Medians of measured times, and ratios of times that were measured alternately."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import bdtr

from core.study.stats.intervals import ERROR_RATE, Interval


def median_interval(values: Sequence[float]) -> Interval:
    """The median of independent values with its two-sided distribution-free 95 % interval.

    The interval goes from the k-th smallest to the k-th largest value, where k is the largest number with
    2 · P(B(n, ½) < k) ≤ 0.05 (Conover, "Practical Nonparametric Statistics", 3rd ed., 1999, section 3.2). Times have
    outliers on one side, as when another program takes the core, and neither end depends on how far out these lie.

    Returns:
        The median as ``mean``; ``low`` and ``high`` are NaN below six values, where no such interval exists.
    """
    ordered = sorted(values)
    n = len(ordered)
    if not n:
        return Interval(math.nan, math.nan, math.nan, 0)
    k = sum(2 * float(bdtr(below, n, 0.5)) <= ERROR_RATE for below in range(n // 2))
    low, high = (ordered[k - 1], ordered[n - k]) if k else (math.nan, math.nan)
    return Interval(float(np.median(ordered)), low, high, n)


def paired_ratio(a: Sequence[float], b: Sequence[float]) -> Interval:
    """The median of a over b and its interval by :func:`median_interval`, one ratio for each place in both.

    Args:
        a: (n,) times, one for each round.
        b: (n,) times of the same rounds.
    """
    return median_interval([left / right for left, right in zip(a, b, strict=True)])
