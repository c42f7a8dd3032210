"""The joint sign-flip test of paired differences, Holm's correction, and the probability to win."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MAX_EXACT = 16
"""Maximum number of seeds for which all assignments of signs are enumerated."""

DRAWS = 99_999
"""Number of random assignments of signs for more seeds."""

_TIE = 1e-9
"""Rounding errors of standardized sums: measures of few examples are discrete, so sums can tie."""


def joint_p(differences: NDArray[np.float64], upper: bool = False) -> NDArray[np.float64]:
    """Compute the p-values of several settings by flipping signs of whole seeds: step-down maximum sign-flip test.

    If a setting does not differ from the reference, the difference of a seed is as likely to be d as −d. The
    differences that belong to one seed change sign together in all settings, so what they share needs no correction,
    and the least p-value is 2^(1 − n) for any number of settings. Compared are sums over roots of sums of squares,
    which rise with t. Source: Westfall and Young, "Resampling-Based Multiple Testing" (1993), algorithm 2.8. Above
    :data:`MAX_EXACT` seeds, p = (b + 1) / (draws + 1) with random signs and a fixed seed (Phipson and Smyth, Stat.
    Appl. Genet. Mol. Biol. 9, 2010).

    Args:
        differences: (m, n), for each of m settings and n seeds.
        upper: whether to test if means are above 0; else whether they differ from 0.

    Returns:
        (m,) adjusted p-values: any false rejection among all settings is as unlikely as one in a single test.
    """
    m, n = differences.shape
    sizes = np.sqrt((differences**2).sum(1, keepdims=True))
    scaled = np.divide(differences, sizes, out=np.zeros_like(differences), where=sizes > 0)
    drawn, seen = scaled @ _signs(n, upper), scaled.sum(1)
    if not upper:
        drawn, seen = np.abs(drawn), np.abs(seen)
    p, so_far, order = np.ones(m), 0.0, np.argsort(-seen, kind="stable")
    for place, setting in enumerate(order):
        largest = drawn[order[place:]].max(0)
        so_far = max(so_far, float(np.mean(largest >= seen[setting] - _TIE)))
        p[setting] = so_far
    return p


def _signs(n: int, upper: bool) -> NDArray[np.float64]:
    """(n, assignments) of signs, the observed one first; two-sided half of all, since the others mirror these."""
    return _drawn(n) if n > MAX_EXACT else _all(n, upper)


@lru_cache(maxsize=2)  # some tens of megabytes each
def _drawn(n: int) -> NDArray[np.float64]:
    drawn = np.random.default_rng(0).choice((-1.0, 1.0), (n, DRAWS))
    return np.hstack([np.ones((n, 1)), drawn])


@lru_cache(maxsize=16)
def _all(n: int, upper: bool) -> NDArray[np.float64]:
    codes = np.arange(2 ** (n if upper else n - 1))
    bits = (codes[None, :] >> np.arange(n)[:, None]) & 1
    return np.where(bits, -1.0, 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that any false positive among all tests is as unlikely as one in a single test.

    With p₍₁₎ ≤ … ≤ p₍ₘ₎, the adjusted p₍ᵢ₎ is the largest of min(1, (m − j + 1) p₍ⱼ₎) over j ≤ i.
    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).

    Args:
        p_values: of tests, which may be dependent; a NaN counts as a test and stays NaN.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(np.nan_to_num(p, nan=1.0), kind="stable")
    steps = np.minimum(1.0, p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.fmax.accumulate(steps) if p.size else steps
    return [math.nan if math.isnan(raw) else float(value) for raw, value in zip(p, adjusted, strict=True)]


def win_probability(a: Sequence[float], b: Sequence[float]) -> float:
    """Estimate the probability that a run of A has a higher value than a run of B: P(A > B) + P(A = B) / 2.

    This is the Mann–Whitney U of A divided by n_A · n_B. Sources: Mann and Whitney, Ann. Math. Stat. 18 (1947); McGraw
    and Wong, "A common language effect size statistic", Psychol. Bull. 111 (1992); ties as Vargha and Delaney,
    J. Educ. Behav. Stat. 25 (2000).

    Args:
        a: values of A's runs.
        b: values of B's runs; need not be paired or of the same length.

    Returns:
        A number from 0 to 1; NaN if one side has no runs or a value is NaN.
    """
    left, right = np.asarray(a, dtype=np.float64)[:, None], np.asarray(b, dtype=np.float64)[None, :]
    if not left.size or not right.size or np.isnan(left).any() or np.isnan(right).any():
        return math.nan
    return float(np.mean(left > right) + np.mean(left == right) / 2)
