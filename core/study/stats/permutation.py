"""What chance alone would give: sign flips of paired differences, and Holm's correction where many are tested."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

MAX_EXACT = 20
"""Differences up to which every assignment of signs is counted; 2¹⁹ sums take a few milliseconds."""

DRAWS = 99_999
"""Random assignments of signs above that."""


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p of the sign-flip permutation test: how often a mean as far from zero comes of random signs.

    Where two arms do not differ, a seed's difference is as likely to be d as −d, so the observed mean is one
    draw among those of all 2^n assignments of signs. The test assumes nothing else of the distribution and is
    exact for any n. Source: Fisher, "The Design of Experiments" (1935), §21; Good, "Permutation, Parametric and
    Bootstrap Tests" (3rd ed., 2005), §3.2. Above :data:`MAX_EXACT` differences, p = (b + 1) / (m + 1) of
    m random assignments with a fixed seed (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010).

    Args:
        differences: one a pair, in one unit.

    Returns:
        Never below 2 / 2^n; NaN where there is no difference or one that is not finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not values.size or not np.isfinite(values).all():
        return math.nan
    observed = abs(float(values.sum()))
    if values.size <= MAX_EXACT:
        # The first sign may stay: turning all of them around gives the same distance from zero.
        sums = values[:1]
        for value in values[1:]:
            sums = np.concatenate([sums + value, sums - value])
    else:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (DRAWS, values.size))
        sums = np.append(signs @ values, observed)
    # Accuracies come in steps, so sums tie; rounding must not take a tie for less.
    return float(np.mean(np.abs(sums) >= observed - 1e-9 * np.abs(values).sum()))


def min_pairs(error_rate: float) -> int:
    """Pairs below which :func:`sign_flip_p` cannot reach ``error_rate``, whatever they are: 2 / 2^n ≤ error_rate."""
    return math.ceil(math.log2(2 / error_rate))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted so that a false alarm among all of them is as rare as one in a single test.

    With p₍₁₎ ≤ … ≤ p₍ₘ₎, the adjusted p₍ᵢ₎ is the largest of min(1, (m − j + 1) p₍ⱼ₎) over j ≤ i.
    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).

    Args:
        p_values: of tests that may depend on each other; one that is NaN counts as a test and stays NaN.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(np.nan_to_num(p, nan=1.0), kind="stable")
    steps = np.minimum(1.0, p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.fmax.accumulate(steps) if p.size else steps
    return [math.nan if math.isnan(raw) else float(value) for raw, value in zip(p, adjusted, strict=True)]


def win_probability(a: Sequence[float], b: Sequence[float]) -> float:
    """The probability that a run of A is above a run of B, a tie counted as half: P(A > B) + P(A = B) / 2.

    The Mann–Whitney U of A over n_A · n_B. Sources: Mann and Whitney, Ann. Math. Stat. 18 (1947); McGraw and
    Wong, "A common language effect size statistic", Psychol. Bull. 111 (1992); ties as Vargha and Delaney,
    J. Educ. Behav. Stat. 25 (2000).

    Args:
        a: a measure of A's runs.
        b: the same of B's; the two need not be paired or of one length.

    Returns:
        0 to 1; NaN where one side has no runs or a value is NaN.
    """
    left, right = np.asarray(a, dtype=np.float64)[:, None], np.asarray(b, dtype=np.float64)[None, :]
    if not left.size or not right.size or np.isnan(left).any() or np.isnan(right).any():
        return math.nan
    return float(np.mean(left > right) + np.mean(left == right) / 2)
