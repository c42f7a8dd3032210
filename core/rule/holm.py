"""Holm's correction of p-values for the number of tests."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


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
