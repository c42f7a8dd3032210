"""Differences of two trained networks on the same test examples: about these networks, and not about methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from core.objectives.measure import Values
from core.results.intervals import ERROR_RATE, RESAMPLES, Interval, t_interval
from core.rule.family import holm, t_p


@dataclass(frozen=True)
class NetworkDifference:
    """A measure of one network minus that of another one, in the measure's unit."""

    interval: Interval
    """95 % interval for other test examples; ``n`` is their number."""
    p: float
    """Two-sided; see :func:`corrected`."""
    only_a: int = 0
    """Number of examples that only the first classifies correctly, where single examples are right or wrong."""
    only_b: int = 0
    """Number of examples that only the second classifies correctly."""
    is_paired: bool = True
    """Whether the examples are known singly; counts alone tell less."""

    @property
    def is_told(self) -> bool:
        """Whether interval and test both say that the networks differ."""
        return self.p <= ERROR_RATE and not self.interval.low <= 0 <= self.interval.high


def example_difference(a: Sequence[bool], b: Sequence[bool], worth: float = 100.0) -> NetworkDifference:
    """Compare two networks by the test examples that each classifies correctly.

    The bootstrap resamples examples for both networks together. The difference of an example is 1, 0 or −1, so a
    resample is equivalent to a multinomial draw of the counts, which is faster (Efron and Tibshirani, "An Introduction
    to the Bootstrap", 1993, ch. 13; for classifiers: Koehn, EMNLP 2004). The test is McNemar's exact one: of the
    examples on which the networks disagree, half should favour either (Psychometrika 12, 1947).

    Args:
        a: (n,) whether a is right, for each example.
        b: (n,) the same for b, in the same order.
        worth: of an answer that is right, in the measure's unit.

    Raises:
        ValueError: the lengths differ.
    """
    from scipy.stats import binomtest  # takes a second to import, which every command and page would wait for

    left, right = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if left.ndim != 1 or left.shape != right.shape:
        raise ValueError("Both networks must be judged on the same test examples.")
    n, only_a, only_b = left.size, int((left & ~right).sum()), int((right & ~left).sum())
    if not n:
        return NetworkDifference(t_interval([]), math.nan)
    counts = np.array([only_a, only_b, n - only_a - only_b])
    drawn = np.random.default_rng(0).multinomial(n, counts / n, RESAMPLES)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n * worth, [ERROR_RATE / 2, 1 - ERROR_RATE / 2])
    interval = Interval((only_a - only_b) / n * worth, float(low), float(high), n)
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return NetworkDifference(interval, p, only_a, only_b)


def on_examples(a: Values, b: Values) -> NetworkDifference:
    """Compare two networks by the measure of each test example, (n,) each.

    Where examples are right or wrong (two values), by :func:`example_difference`. Else by Student's t of the
    differences.
    """
    different = np.unique(np.concatenate([a, b]))
    if len(different) <= 2:
        best = different[-1]
        return example_difference((a == best).tolist(), (b == best).tolist(), float(best - different[0]))
    values = (a - b).tolist()
    return NetworkDifference(t_interval(values), t_p(values))


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


def corrected(found: Sequence[NetworkDifference]) -> list[NetworkDifference]:
    """The same with p-values after Holm's correction for all of them."""
    adjusted = holm([each.p for each in found])
    return [replace(each, p=p) for each, p in zip(found, adjusted, strict=True)]
