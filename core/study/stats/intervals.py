"""Confidence intervals of means and medians from few measurements, and the number of seeds that a claim needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtr, ndtri, stdtr, stdtrit

from core.study.stats.permutation import min_pairs

MIN_SEEDS = 3
"""Minimum number of seeds for a useful interval; two say almost nothing about the spread."""

ERROR_RATE = 0.05
"""Accepted probability of a false claim if there is no difference; intervals cover 1 minus this."""

CLAIM_SEEDS = min_pairs(ERROR_RATE)
"""Minimum number of seeds to claim a difference of measured values; five signs agree by chance 1 in 16 times."""

POWER = 0.8
"""Probability of showing a difference of the observed size, for :func:`seeds_needed`."""

MAX_SEEDS = 1_000_000
"""Maximum number of seeds that :func:`seeds_needed` returns."""

RESAMPLES = 9999
"""Number of bootstrap samples for an interval."""


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


def t_p(differences: Sequence[float]) -> float:
    """Compute the two-sided p-value of the paired t test: that of t = x̄ · √n / s with n − 1 degrees of freedom.

    Source: Student, "The probable error of a mean", Biometrika 6 (1908). It rejects at 5 % exactly where
    :func:`t_interval` excludes zero.

    Args:
        differences: one per pair.

    Returns:
        0 if all differences are equal and not zero, 1 if all are zero; NaN below two differences or with a non-finite
        one.
    """
    if len(differences) < 2 or not np.isfinite(differences).all():
        return math.nan
    mean, spread = float(np.mean(differences)), float(np.std(differences, ddof=1))
    # Equal differences of percentages may differ by rounding errors.
    if spread <= 1e-9 * max(1.0, abs(mean)):
        return float(abs(mean) <= 1e-9)
    return float(2 * stdtr(len(differences) - 1, -abs(mean) * math.sqrt(len(differences)) / spread))


def bca_interval(values: Sequence[float]) -> Interval:
    """Compute the mean and its two-sided 95 % BCa bootstrap interval, expanded for small samples.

    Uses SciPy's bias-corrected and accelerated bootstrap (Efron, "Better bootstrap confidence intervals", JASA 82,
    1987) with :data:`RESAMPLES` resamples and a fixed seed. With few values, a bootstrap interval is too narrow: it
    divides by n instead of n − 1, and has normal instead of the heavier Student tails. Requesting the level
    1 − 2 Φ(−√(n / (n − 1)) · t(0.975, n − 1)) compensates for both (Hesterberg, "What teachers should know
    about the bootstrap", Am. Stat. 69, 2015, for the percentile interval).

    In 2,000 simulated samples of normal values, a 95 % interval missed the mean in 7 % of cases with 6 values and in
    5 % with 10; without the expansion, in 14 % and 10 %. Below six values a bootstrap is unreliable, because it never
    leaves the range of the values: with three values it missed in 24 %.

    Args:
        values: independent measurements; a NaN among them makes the result NaN.

    Returns:
        The interval; ``low`` and ``high`` are NaN below three values, and equal the mean if all values are equal.
    """
    n = len(values)
    if not n:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(np.mean(values))
    if n < MIN_SEEDS or not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan, n)
    spread = float(np.ptp(values))
    # Equal differences of percentages may differ by rounding errors, which have no meaningful interval.
    if spread <= 1e-9 * max(1.0, abs(mean)):
        return Interval(mean, mean, mean, n)
    low, high = _standard_bca(tuple(float((value - mean) / spread) for value in values))
    # Rounded to nine digits, so that rounding errors do not decide whether an end that should be zero is above it.
    return Interval(mean, round(mean + spread * low, 9), round(mean + spread * high, 9), n)


@lru_cache(maxsize=4096)
def _standard_bca(values: tuple[float, ...]) -> tuple[float, float]:
    """Return both ends for values of mean 0 and range 1; cached because pages ask for the same ones at every rerun."""
    from scipy.stats import bootstrap  # takes a second to import, which every command and page would wait for

    n = len(values)
    expanded = 1 - 2 * float(ndtr(-math.sqrt(n / (n - 1)) * stdtrit(n - 1, 1 - ERROR_RATE / 2)))
    found = bootstrap(
        (values,),
        _mean_with_ties,
        n_resamples=RESAMPLES,
        confidence_level=expanded,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def _mean_with_ties(values: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Return the mean to 12 digits: BCa counts resamples below the mean, and rounding errors must not break ties."""
    return np.asarray(np.round(np.mean(values, axis=axis), 12))


def seeds_needed(differences: Sequence[float], comparisons: int = 1) -> int | None:
    """Estimate the number of pairs that show a difference of the observed size d in about 80 % of cases.

    It is the smallest n with n ≥ ((t(1 − α/2, n − 1) + t(0.8, n − 1)) · s / d)², where s is the standard deviation of
    the differences and α = 0.05 / comparisons. Source: Zar, "Biostatistical Analysis" (5th ed., 2010), sample size for
    a paired t-test; a sign-flip test needs about as many, or one or two more. It is also at least
    :func:`core.study.stats.permutation.min_pairs`; with exactly that many, all differences must have the same sign,
    which happens with probability Φ(d / s)^n. The true difference may be smaller than the observed one, so this is
    only a guide.

    Args:
        differences: one per pair.
        comparisons: number of tests in Holm's correction.

    Returns:
        At least six; None if the spread is unknown (fewer than two differences, or non-finite ones), or if more than a
        million pairs would be needed, which means that there is no noticeable difference.
    """
    mean = float(np.mean(differences)) if len(differences) > 1 else 0.0
    if not mean or not math.isfinite(mean):
        return None
    alpha = ERROR_RATE / comparisons
    spread = float(np.std(differences, ddof=1) / mean) ** 2
    # Quantiles of t exceed normal ones, so this is a lower bound for n.
    lower_bound = float(ndtri(1 - alpha / 2) + ndtri(POWER)) ** 2 * spread
    if not lower_bound <= MAX_SEEDS:
        return None
    minimum = min_pairs(alpha)
    n = max(minimum, math.floor(lower_bound))
    while n < float(stdtrit(n - 1, 1 - alpha / 2) + stdtrit(n - 1, POWER)) ** 2 * spread:
        n += 1
    if n == minimum and spread and float(ndtr(1 / math.sqrt(spread))) ** n < POWER:
        n += 1
    return n


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
