"""Claims about differences of two arms; a claim needs both a bootstrap interval and a permutation test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.stats import binomtest

from core.study.stats.intervals import (
    CLAIM_SEEDS,
    ERROR_RATE,
    RESAMPLES,
    Interval,
    bca_interval,
    seeds_needed,
    t_interval,
)
from core.study.stats.measures import MEASURES, MeasureName
from core.study.stats.permutation import holm, min_pairs, sign_flip_p, win_probability
from core.wording.numbers import count_text, number_text, points_text


class Finding(StrEnum):
    """The claim that a difference supports."""

    A_HIGHER = "a higher"
    B_HIGHER = "b higher"
    NOT_SHOWN = "no difference shown"


@dataclass(frozen=True)
class Pair:
    """Values of one measure for two arms, by seed."""

    a: str
    """Label of the first arm."""
    b: str
    """Label of the second arm."""
    left: dict[int, float]
    """Values of a, by seed."""
    right: dict[int, float]
    """Values of b, by seed."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that both arms have, ascending."""
        return tuple(seed for seed in sorted(self.left) if seed in self.right)

    @property
    def differences(self) -> tuple[float, ...]:
        """Difference a minus b for each of these seeds."""
        return tuple(self.left[seed] - self.right[seed] for seed in self.seeds)


@dataclass(frozen=True)
class Difference:
    """One measure of arm ``a`` minus that of arm ``b``, paired by seed."""

    a: str
    """Label of the first arm."""
    b: str
    """Label of the second arm."""
    measure: MeasureName
    seeds: tuple[int, ...]
    """Seeds that both arms have."""
    values: tuple[float, ...]
    """Difference a minus b for each seed, in the measure's unit (in points if that is percent)."""
    interval: Interval
    """95 % interval of the mean difference: BCa, or Student's t below six seeds, where a bootstrap is unreliable."""
    p: float
    """p-value of the sign-flip test with Holm's correction for all differences tested together; NaN if not tested."""
    win: float
    """Probability that a run of a has a higher value than a run of b, with ties as half; NaN without runs."""
    finding: Finding
    comparisons: int
    """Number of differences that were tested together, including this one."""
    seeds_needed: int | None
    """Seeds needed to show a difference of the observed size; None if the spread is unknown or nothing differs."""

    @property
    def min_seeds(self) -> int:
        """Minimum number of seeds for a claim, however large the difference is."""
        return min_pairs(ERROR_RATE / self.comparisons)


def differences_of(pairs: Sequence[Pair], measure: MeasureName) -> list[Difference]:
    """Compute the difference of every pair, and the claim that each supports when all are tested together.

    A seed determines data order and the initialization of A in both arms, so pairing removes their common noise. A
    difference is claimed if the sign-flip test gives p ≤ 0.05 after Holm's correction and the 95 % interval excludes
    zero. The test limits the probability of any false claim among all pairs to 5 % if the arms do not differ; the
    interval also prevents claims that rest on a single outlier. With n seeds, p is at least 2 / 2^n, so five seeds are
    never enough.

    In 3,000 simulated comparisons for each of 6 to 12 seeds, identical arms gave 2 to 5 % false claims. Arms with equal
    means but different distributions, as when one method fails now and then, gave up to 9 %, so look at the dots too.

    Args:
        pairs: all pairs that are compared to answer one question.
        measure: what is compared. A count (:attr:`core.study.stats.measures.Measure.exact`) needs no test.
    """
    exact = MEASURES[measure].exact
    everything = [pair.differences for pair in pairs]
    corrected = [math.nan] * len(pairs) if exact else holm([sign_flip_p(values) for values in everything])
    found = []
    for pair, values, p in zip(pairs, everything, corrected, strict=True):
        interval = bca_interval(values) if len(values) >= CLAIM_SEEDS else t_interval(values)
        if exact:
            low, high = min(values, default=0.0), max(values, default=0.0)
        else:
            low, high = (interval.low, interval.high) if p <= ERROR_RATE else (-math.inf, math.inf)
        # Comparisons with NaN are false, so NaN never leads to a claim.
        finding = Finding.A_HIGHER if low > 0 else Finding.B_HIGHER if high < 0 else Finding.NOT_SHOWN
        need = seeds_needed(values, len(pairs))
        if need is not None and finding is Finding.NOT_SHOWN:
            # These seeds did not show a difference, so the same number will not be enough.
            need = max(need, len(values) + 1)
        win = win_probability(tuple(pair.left.values()), tuple(pair.right.values()))
        found.append(
            Difference(pair.a, pair.b, measure, pair.seeds, values, interval, p, win, finding, len(pairs), need)
        )
    return found


def falls_short_by_less(differences: Sequence[Difference], margin: float) -> list[bool]:
    """Test each difference for non-inferiority: whether ``a`` falls short of ``b`` by less than ``margin``.

    Uses the same test and interval as a claim, to show that the difference is above −margin instead of nonzero.
    Source: Wellek, "Testing Statistical Hypotheses of Equivalence and Noninferiority" (2nd ed., 2010), ch. 2.

    Args:
        differences: all that are tested together, of a measure where more is better.
        margin: in the measure's unit, at least 0.

    Returns:
        For each difference, whether this is shown; False also if there are too few seeds to tell.
    """
    corrected = holm([sign_flip_p([value + margin for value in d.values]) for d in differences])
    # The test is two-sided; the interval tells on which side of −margin the difference lies.
    return [p <= ERROR_RATE and d.interval.low > -margin for d, p in zip(differences, corrected, strict=True)]


def accuracy_sentence(difference: Difference) -> str:
    """State in one sentence how the accuracy of LoRA (a) compares with that of full fine-tuning (b)."""
    lora, full, interval = difference.a, difference.b.replace("Full", "full fine-tuning", 1), difference.interval
    if not difference.seeds:
        return f"{lora} and {full} share no seed, so their accuracies cannot be paired."
    seeds = f"{interval.n} seed" if interval.n == 1 else f"{interval.n} seeds"
    details = [span_text(interval)] if math.isfinite(interval.half_width) else []
    if interval.n >= CLAIM_SEEDS and math.isfinite(difference.p):
        many = difference.comparisons
        details.append(p_words(difference.p) + (f" corrected for {many} comparisons" if many > 1 else ""))
    if difference.finding is not Finding.NOT_SHOWN:
        return f"{lora} is {more_or_less(difference, 'accurate')} than {full} ({', '.join([*details, seeds])})."
    observed = ", ".join([f"observed {points_text(interval.mean)}", *details])
    shown = f"No difference in accuracy is shown between {lora} and {full} with {seeds} ({observed})"
    need = difference.seeds_needed
    if need is not None and need > difference.min_seeds:
        return f"{shown}; showing one of this size takes about {count_text(need)} seeds."
    if interval.n < difference.min_seeds:
        return f"{shown}; a claim takes at least {difference.min_seeds} seeds."
    return f"{shown}."


def more_or_less(difference: Difference, what: str) -> str:
    """Format a difference in points, as in ``1.20 points less accurate``."""
    side = "more" if difference.interval.mean > 0 else "less"
    return f"{number_text(abs(difference.interval.mean))} points {side} {what}"


def span_text(interval: Interval) -> str:
    """Format an interval of points, as in ``95 % interval −1.20 to 0.30 points``."""
    if interval.low == interval.high:
        return "the same in every seed"
    return f"95 % interval {points_text(interval.low)} to {points_text(interval.high)}".replace(" points to", " to")


def p_words(p: float) -> str:
    """A p-value in a sentence, as in ``p = 0.012`` or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {number_text(p, 3)}"


@dataclass(frozen=True)
class ExampleDifference:
    """Accuracy of one network minus that of another on the same test examples, in points."""

    interval: Interval
    """95 % interval by percentile bootstrap over examples; its ends are NaN without examples."""
    p: float
    """Two-sided p-value of the exact McNemar test; 1 if both are right on the same examples."""
    only_a: int
    """Number of examples that only a classifies correctly."""
    only_b: int
    """Number of examples that only b classifies correctly."""
    finding: Finding


def example_difference(a: Sequence[bool], b: Sequence[bool]) -> ExampleDifference:
    """Compare two networks by the test examples that each classifies correctly.

    The result is about these two networks on images like these; claims about methods need several seeds. The bootstrap
    resamples examples for both networks together. The difference of an example is 1, 0 or −1, so a resample is
    equivalent to a multinomial draw of the counts, which is faster (Efron and Tibshirani, "An Introduction to the
    Bootstrap", 1993, ch. 13; for classifiers: Koehn, EMNLP 2004). The sign-flip test of such differences is the exact
    McNemar test: of the examples on which the networks disagree, half should favour either (McNemar, Psychometrika 12,
    1947). As with seeds, a claim needs both.

    Args:
        a: (n,) whether a is right, for each example.
        b: (n,) the same for b, in the same order.

    Raises:
        ValueError: the lengths differ.
    """
    left, right = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if left.ndim != 1 or left.shape != right.shape:
        raise ValueError("Both networks must be judged on the same test examples.")
    n, only_a, only_b = left.size, int((left & ~right).sum()), int((right & ~left).sum())
    if not n:
        return ExampleDifference(t_interval([]), math.nan, 0, 0, Finding.NOT_SHOWN)
    counts = np.array([only_a, only_b, n - only_a - only_b])
    drawn = np.random.default_rng(0).multinomial(n, counts / n, RESAMPLES)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n * 100, [ERROR_RATE / 2, 1 - ERROR_RATE / 2])
    interval = Interval((only_a - only_b) / n * 100, float(low), float(high), n)
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    finding = Finding.NOT_SHOWN
    if p <= ERROR_RATE and not low <= 0 <= high:
        finding = Finding.A_HIGHER if low > 0 else Finding.B_HIGHER
    return ExampleDifference(interval, p, only_a, only_b, finding)
