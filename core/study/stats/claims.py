"""What the differences of two arms allow to claim: only what a bootstrap interval and a permutation test agree on."""

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
    """What a difference allows to claim."""

    A_HIGHER = "a higher"
    B_HIGHER = "b higher"
    NOT_SHOWN = "no difference shown"


@dataclass(frozen=True)
class Pair:
    """One measure of two arms: the value of each seed that has one."""

    a: str
    """Label of the arm."""
    b: str
    left: dict[int, float]
    """Values of a, by seed."""
    right: dict[int, float]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that both arms have, ascending."""
        return tuple(seed for seed in sorted(self.left) if seed in self.right)

    @property
    def differences(self) -> tuple[float, ...]:
        """Of each of those seeds, a minus b."""
        return tuple(self.left[seed] - self.right[seed] for seed in self.seeds)


@dataclass(frozen=True)
class Difference:
    """One measure of arm ``a`` minus that of arm ``b``, paired by seed."""

    a: str
    """Label of the arm."""
    b: str
    measure: MeasureName
    seeds: tuple[int, ...]
    """Those that both arms have."""
    values: tuple[float, ...]
    """a minus b at each of them, in the measure's unit (points where that is percent)."""
    interval: Interval
    """Of the mean difference, 95 %: BCa; Student's below six seeds, where no bootstrap is to be trusted."""
    p: float
    """Of the sign-flip test, corrected by Holm for all that were tested together; NaN where nothing was tested."""
    win: float
    """Probability that a run of a is above a run of b, ties half; NaN without runs."""
    finding: Finding
    comparisons: int
    """How many differences were tested together, this one among them."""
    seeds_needed: int | None
    """Seeds that would show a difference of the observed size; None where the spread is unknown or nothing differs."""

    @property
    def min_seeds(self) -> int:
        """Seeds below which nothing can be claimed here, however large the difference."""
        return min_pairs(ERROR_RATE / self.comparisons)


def differences_of(pairs: Sequence[Pair], measure: MeasureName) -> list[Difference]:
    """The difference of every pair, and what may be claimed of each when all are looked at together.

    A seed fixes data order and the draw of A for both arms, so pairing takes their common noise out. A difference
    is claimed where the sign-flip test gives p ≤ 0.05 after Holm's correction and the 95 % interval leaves out
    zero. The test keeps the false alarms among all pairs at 5 % where the arms do not differ; the interval also
    holds back a claim that rests on one odd seed. With n seeds p is at least 2 / 2^n, so five are never enough.

    In 3,000 simulated comparisons each of 6 to 12 seeds, arms alike gave 2 to 5 % false alarms. Arms with one mean
    but unlike distributions, as where one method now and then fails, gave up to 9 %: look at the dots as well.

    Args:
        pairs: all that are compared to answer one question.
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
        # NaN compares as false, so it never leads to a claim.
        finding = Finding.A_HIGHER if low > 0 else Finding.B_HIGHER if high < 0 else Finding.NOT_SHOWN
        need = seeds_needed(values, len(pairs))
        if need is not None and finding is Finding.NOT_SHOWN:
            # What these seeds did not show, as many will not show either.
            need = max(need, len(values) + 1)
        win = win_probability(tuple(pair.left.values()), tuple(pair.right.values()))
        found.append(
            Difference(pair.a, pair.b, measure, pair.seeds, values, interval, p, win, finding, len(pairs), need)
        )
    return found


def falls_short_by_less(differences: Sequence[Difference], margin: float) -> list[bool]:
    """Of which of these ``a`` is shown to fall short of ``b`` by less than ``margin``, if at all.

    The test for non-inferiority: the same two instruments as a claim, asked whether the difference lies above
    −margin instead of away from 0. Source: Wellek, "Testing Statistical Hypotheses of Equivalence and
    Noninferiority" (2nd ed., 2010), ch. 2.

    Args:
        differences: all that are looked at together, of a measure where more is better.
        margin: in the measure's unit, 0 or above.

    Returns:
        False also where the seeds are too few to tell.
    """
    corrected = holm([sign_flip_p([value + margin for value in d.values]) for d in differences])
    # The test has two sides; the end of the interval says on which one the difference lies.
    return [p <= ERROR_RATE and d.interval.low > -margin for d, p in zip(differences, corrected, strict=True)]


def accuracy_sentence(difference: Difference) -> str:
    """What may be said of LoRA's accuracy (a) against that of full fine-tuning (b), in one sentence."""
    lora, full, interval = difference.a, difference.b.replace("Full", "full fine-tuning", 1), difference.interval
    if not difference.seeds:
        return f"{lora} and {full} share no seed, so their accuracies cannot be paired."
    seeds = f"{interval.n} seed" if interval.n == 1 else f"{interval.n} seeds"
    details = [span_text(interval)] if math.isfinite(interval.half_width) else []
    if interval.n >= CLAIM_SEEDS and math.isfinite(difference.p):
        many = difference.comparisons
        details.append(_p_text(difference.p) + (f" corrected for {many} comparisons" if many > 1 else ""))
    if difference.finding is not Finding.NOT_SHOWN:
        return f"{lora} is {more_or_less(difference, 'accurate')} than {full} ({', '.join([*details, seeds])})."
    observed = ", ".join([f"observed {points_text(interval.mean)}", *details])
    shown = f"No difference in accuracy is shown between {lora} and {full} with {seeds} ({observed})"
    need = difference.seeds_needed
    if need is not None and need > difference.min_seeds:
        return f"{shown}; one of this size takes about {count_text(need)} seeds."
    if interval.n < difference.min_seeds:
        return f"{shown}; a claim takes at least {difference.min_seeds} seeds."
    return f"{shown}."


def more_or_less(difference: Difference, what: str) -> str:
    """A difference in points as in ``1.20 points less accurate``."""
    side = "more" if difference.interval.mean > 0 else "less"
    return f"{number_text(abs(difference.interval.mean))} points {side} {what}"


def span_text(interval: Interval) -> str:
    """Both ends of an interval of points, in words."""
    if interval.low == interval.high:
        return "the same in every seed"
    return f"95 % interval {points_text(interval.low)} to {points_text(interval.high)}".replace(" points to", " to")


def _p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {number_text(p, 3)}"


@dataclass(frozen=True)
class ExampleDifference:
    """Accuracy of one network minus that of another on the same test examples, in points."""

    interval: Interval
    """95 %, percentile bootstrap over the examples; NaN ends without examples."""
    p: float
    """Two-sided, exact McNemar; 1 where both are right on the same examples."""
    only_a: int
    """Examples that only a has right."""
    only_b: int
    finding: Finding


def example_difference(a: Sequence[bool], b: Sequence[bool]) -> ExampleDifference:
    """What a single pair of runs says, from the test examples that each has right.

    It speaks of these two networks on images like these; of the methods behind them only several seeds can.
    The bootstrap draws examples with replacement, both networks together. An example's difference is 1, 0 or −1,
    so a resample is a multinomial draw of their counts, which is the same and fast (Efron and Tibshirani, "An
    Introduction to the Bootstrap", 1993, ch. 13; for classifiers: Koehn, EMNLP 2004). The sign-flip test of such
    differences is McNemar's in its exact form: of the examples on which the two disagree, half should go either
    way (McNemar, Psychometrika 12, 1947). As with seeds, a claim needs both.

    Args:
        a: (n,) whether a is right, example by example.
        b: (n,) the same of b, in the same order.

    Raises:
        ValueError: the two are not of one length.
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
