"""Runs that lie far from the other runs of their arm, on which a claim may rest."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import stdtr

MIN_RUNS = 4
"""Minimum number of runs to judge one by the others."""

FALSE_RATE = 0.01
"""Accepted probability that any run of an arm with normal noise is called outlying."""

MIN_DISTANCE = 1.0
"""Minimum distance from the mean of the other runs, in the measure's unit: where all others agree, one image is far."""


def outlying(values: Mapping[int, float]) -> list[int]:
    """Find the seeds whose value is too far from those of the other seeds to be noise of the same kind.

    A value x is compared with the n − 1 others: t = (x − x̄) / (s · √(1 + 1 / (n − 1))) with their mean x̄ and standard
    deviation s has Student's t distribution with n − 2 degrees of freedom if all values are normal. It is outlying
    where p ≤ 0.01 / n and the distance is at least 1. Source: Grubbs, "Sample criteria for testing outlying
    observations", Ann. Math. Stat. 21 (1950). Two outlying values may hide each other.

    Args:
        values: one per seed, in percent or points.

    Returns:
        Seeds, ascending; empty below four values or with a non-finite one.
    """
    seeds, x = sorted(values), np.array([values[seed] for seed in sorted(values)], dtype=np.float64)
    n = x.size
    if n < MIN_RUNS or not np.isfinite(x).all():
        return []
    found = []
    for place, seed in enumerate(seeds):
        others = np.delete(x, place)
        distance, spread = abs(float(x[place] - others.mean())), float(others.std(ddof=1)) * math.sqrt(1 + 1 / (n - 1))
        p = 2 * float(stdtr(n - 2, -distance / spread)) if spread else 0.0
        if distance >= MIN_DISTANCE and p <= FALSE_RATE / n:
            found.append(seed)
    return found
