"""Sign-flip permutation test of paired differences, and Holm's correction for multiple tests."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

MAX_EXACT = 20
"""Maximum number of differences for which all assignments of signs are enumerated; 2¹⁹ sums take milliseconds."""

DRAWS = 99_999
"""Number of random assignments of signs for more differences."""


def sign_flip_p(differences: Sequence[float]) -> float:
    """Compute the two-sided p-value of the sign-flip test: how often random signs give a mean as far from zero.

    If two arms do not differ, the difference for a seed is as likely to be d as −d, so the observed mean is a random
    draw among those of all 2^n assignments of signs. The test makes no other assumption about the distribution and is
    exact for any n. Source: Fisher, "The Design of Experiments" (1935), §21; Good, "Permutation, Parametric and
    Bootstrap Tests" (3rd ed., 2005), §3.2. Above :data:`MAX_EXACT` differences, p = (b + 1) / (m + 1) with m random
    assignments and a fixed seed (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010).

    Args:
        differences: one per pair.

    Returns:
        At least 2 / 2^n; NaN without differences or with a non-finite one.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not values.size or not np.isfinite(values).all():
        return math.nan
    observed = abs(float(values.sum()))
    if values.size <= MAX_EXACT:
        # The first sign can stay fixed, because flipping all signs gives the same distance from zero.
        sums = values[:1]
        for value in values[1:]:
            sums = np.concatenate([sums + value, sums - value])
    else:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (DRAWS, values.size))
        sums = np.append(signs @ values, observed)
    # Accuracies are discrete, so sums can tie; the tolerance keeps rounding errors from breaking ties.
    return float(np.mean(np.abs(sums) >= observed - 1e-9 * np.abs(values).sum()))


def min_pairs(error_rate: float) -> int:
    """Return the smallest number of pairs for which :func:`sign_flip_p` can reach ``error_rate``: 2 / 2^n ≤ rate."""
    return math.ceil(math.log2(2 / error_rate))


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
