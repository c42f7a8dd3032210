"""Differences of two trained networks on the same test examples: about these networks, and not about methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from core.objectives.measure import Values
from core.results.intervals import ERROR_RATE, Interval, t_interval, t_p
from core.rule.claims import example_difference
from core.rule.holm import holm


@dataclass(frozen=True)
class NetworkDifference:
    """A measure of one network minus that of another one, in the measure's unit."""

    interval: Interval
    """95 % interval for other test examples; ``n`` is their number."""
    p: float
    """Two-sided; see :func:`corrected_networks`."""
    is_paired: bool
    """Whether the examples are known singly; counts alone tell less."""

    @property
    def is_told(self) -> bool:
        """Whether interval and test both say that the networks differ."""
        return self.p <= ERROR_RATE and not self.interval.low <= 0 <= self.interval.high


def on_examples(a: Values, b: Values) -> NetworkDifference:
    """Compare two networks by the measure of each test example, (n,) each.

    Where examples are right or wrong (two values), by McNemar's exact test and a bootstrap; see
    :func:`core.rule.claims.example_difference`. Else by Student's t of the differences.
    """
    different = np.unique(np.concatenate([a, b]))
    if len(different) <= 2:
        size = float(different[-1] - different[0]) / 100.0 if len(different) == 2 else 0.0
        found = example_difference((a == different[-1]).tolist(), (b == different[-1]).tolist())
        mean, low, high = (size * each for each in (found.interval.mean, found.interval.low, found.interval.high))
        return NetworkDifference(Interval(mean, low, high, found.interval.n), found.p, is_paired=True)
    values = (a - b).tolist()
    return NetworkDifference(t_interval(values), t_p(values), is_paired=True)


def on_counts(a: float, b: float, examples: int) -> NetworkDifference:
    """Compare two percentages of right answers, as if each network had answered examples of its own.

    The interval is that of Agresti and Caffo ("Simple and effective confidence intervals for proportions", The American
    Statistician 54, 2000), the p-value that of the z test with the pooled share. Both networks answered the same
    examples, so the true spread is smaller unless their answers are unrelated: what is told here is told, and more
    might be with the answers one by one.

    Args:
        a: percent of the first network.
        b: percent of the second one.
        examples: number of test examples.
    """
    p, q = ((share * examples / 100 + 1) / (examples + 2) for share in (a, b))
    error = 100 * math.sqrt((p * (1 - p) + q * (1 - q)) / (examples + 2))
    half, center = float(ndtri(1 - ERROR_RATE / 2)) * error, 100 * (p - q)
    pooled = (a + b) / 200
    pooled_error = 100 * math.sqrt(2 * pooled * (1 - pooled) / examples)
    z = abs(a - b) / pooled_error if pooled_error else 0.0
    return NetworkDifference(
        Interval(a - b, center - half, center + half, examples), float(2 * ndtr(-z)), is_paired=False
    )


def smallest_told(share: float, examples: int) -> float:
    """The difference in points from which two percentages exclude 0, around a share. Args: see :func:`on_counts`."""
    return float(ndtri(1 - ERROR_RATE / 2)) * 100 * math.sqrt(2 * share / 100 * (1 - share / 100) / examples)


def corrected_networks(found: Sequence[NetworkDifference]) -> list[NetworkDifference]:
    """The same with p-values after Holm's correction for all of them."""
    adjusted = holm([each.p for each in found])
    return [replace(each, p=p) for each, p in zip(found, adjusted, strict=True)]
