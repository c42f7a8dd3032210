"""Claims about differences of two arms: what may be said after several seeds, at one of three levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from core.study.stats.intervals import (
    CLAIM_SEEDS,
    ERROR_RATE,
    MIN_SEEDS,
    RESAMPLES,
    Interval,
    bca_interval,
    seeds_needed,
    t_interval,
    t_p,
)
from core.study.stats.measures import Quantity
from core.study.stats.permutation import holm, min_pairs, sign_flip_p, win_probability

DEFAULT_SEEDS = 8
"""Default number of seeds: the fewest that can show differences of up to 6 settings; a single difference of 1.46
standard deviations is shown in 92 % of cases."""

MAX_FORM_SEEDS = 50
"""Maximum number of seeds that forms offer."""


class Level(StrEnum):
    """How much a result may claim."""

    SHOWN = "shown"
    """Two tests reject, one of which makes no assumption about the distribution."""
    LEANING = "leaning"
    """All seeds agree in sign and the t test rejects, but there are too few seeds for the sign-flip test."""
    OPEN = "open"
    """Nothing may be claimed."""


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
    what: Quantity
    seeds: tuple[int, ...]
    """Seeds that both arms have."""
    values: tuple[float, ...]
    """Difference a minus b for each seed, in the quantity's unit (in points if that is percent)."""
    interval: Interval
    """95 % Student t interval of the mean difference."""
    p: float
    """Larger of the p-values of paired t test and sign-flip test, after Holm's correction; NaN if not tested."""
    p_t: float
    """p-value of the paired t test alone, after Holm's correction; NaN if not tested."""
    win: float
    """Probability that a run of a has a better value than a run of b, or a higher one where none is better; ties count
    as half; NaN without runs."""
    level: Level
    comparisons: int
    """Number of differences that were tested together, including this one."""
    seeds_needed: int | None
    """Seeds needed to show a difference of the observed size; None if the spread is unknown or nothing differs."""

    @property
    def is_better(self) -> bool:
        """Whether the mean is on the better side; of costs and forgetting, whether it is above 0."""
        return self.what.sign * self.interval.mean > 0

    @property
    def least_seeds(self) -> int:
        """Minimum number of seeds for the level *shown*, however large the difference is."""
        return least_seeds(self.comparisons)

    @property
    def holds_zero(self) -> bool:
        """Whether the interval contains 0; also true where there is no interval."""
        return not (self.interval.low > 0 or self.interval.high < 0)

    @property
    def agree(self) -> bool:
        """Whether all seeds point the same way, and there are any."""
        return _agree(self.values)

    @property
    def bootstrap(self) -> Interval:
        """95 % BCa bootstrap interval, a second reading that does not assume normal differences."""
        return bca_interval(self.values)


def least_seeds(comparisons: int) -> int:
    """Return the minimum number of seeds with which a difference can be *shown*.

    With fewer, the sign-flip test cannot reject after Holm's correction: 2 / 2ⁿ > 0.05 / comparisons. That is 6 seeds
    for one comparison, 7 for 2 or 3, 8 for 4 to 6, and 9 for 7 to 12.
    """
    return min_pairs(ERROR_RATE / comparisons)


def differences_of(pairs: Sequence[Pair], what: Quantity) -> list[Difference]:
    """Compute the difference of every pair, and the level of the claim that each supports when all are tested together.

    A seed determines data order and the initialization of A in both arms, so pairing removes their common noise. The
    p-value of a pair is the larger of those of the paired t test and the sign-flip test, so both must reject; Holm's
    correction keeps the probability of any false claim among all pairs at 5 %. A difference is

    - *shown* if p ≤ 0.05,
    - *leaning* if there are 3 seeds or more but fewer than :func:`least_seeds`, the t test alone rejects after Holm's
      correction, and all seeds agree in sign,
    - *open* otherwise.

    ``tests/study/test_false_alarms.py`` simulates this: identical arms are called different in at most 5 % of cases
    with 3 to 10 seeds, for normal noise, for skewed noise of one distribution, and for unequal standard deviations.
    Where single runs of one method fail, equal means are called different far more often, see ``docs/statistics.md``:
    :func:`core.study.stats.outliers.outlying` finds such runs.

    Args:
        pairs: all pairs that are compared to answer one question.
        what: what is compared. A count (:attr:`core.study.stats.measures.Quantity.exact`) needs no test.
    """
    exact, comparisons = what.exact, max(len(pairs), 1)
    everything = [pair.differences for pair in pairs]
    by_t = [math.nan if exact else t_p(values) for values in everything]
    by_sign = [math.nan if exact else sign_flip_p(values) for values in everything]
    larger = [max(t, sign) if math.isfinite(t) else math.nan for t, sign in zip(by_t, by_sign, strict=True)]
    found = []
    for pair, values, p, p_alone in zip(pairs, everything, holm(larger), holm(by_t), strict=True):
        level = _level(values, p, p_alone, comparisons)
        if exact:
            level = Level.SHOWN if _agree(values) else Level.OPEN
        need = seeds_needed(values, comparisons)
        if need is not None and level is not Level.SHOWN:
            # These seeds did not show a difference, so the same number will not be enough.
            need = max(need, len(values) + 1)
        found.append(
            Difference(
                a=pair.a,
                b=pair.b,
                what=what,
                seeds=pair.seeds,
                values=values,
                interval=t_interval(values),
                p=p,
                p_t=p_alone,
                win=_win(pair, what.sign),
                level=level,
                comparisons=comparisons,
                seeds_needed=need,
            )
        )
    return found


def _win(pair: Pair, sign: float) -> float:
    left, right = tuple(pair.left.values()), tuple(pair.right.values())
    return win_probability(left, right) if sign > 0 else win_probability(right, left)


def _level(values: Sequence[float], p: float, p_t: float, comparisons: int) -> Level:
    # Comparisons with NaN are false, so NaN never leads to a claim.
    if p <= ERROR_RATE:
        return Level.SHOWN
    few = MIN_SEEDS <= len(values) < least_seeds(comparisons)
    return Level.LEANING if few and p_t <= ERROR_RATE and _agree(values) else Level.OPEN


def _agree(values: Sequence[float]) -> bool:
    """Whether all values have the same sign, and there are any."""
    return bool(values) and (min(values) > 0 or max(values) < 0)


def within_margin(differences: Sequence[Difference], margin: float) -> list[Level]:
    """Test in a fixed sequence whether each setting falls short of the reference by less than ``margin``.

    The one-sided t test at 2.5 % must reject on the differences plus the margin, and from six seeds the sign-flip test
    as well; then the level is *shown*. With 3 to 5 seeds all values must be above 0, and the level is *leaning*. The
    order is fixed before the data are seen, and the sequence ends at the first setting that fails, so no correction is
    needed: the probability of any false claim stays at 2.5 %. Sources: Maurer, Hothorn and Lehmacher, "Multiple
    comparisons in drug clinical trials and preclinical assays: a-priori ordered hypotheses" (1995); Wellek, "Testing
    Statistical Hypotheses of Equivalence and Noninferiority" (2nd ed., 2010), ch. 2.

    Args:
        differences: setting minus reference; the most expensive setting first.
        margin: in the quantity's unit, at least 0.

    Returns:
        A level for each difference, in the same order; never above that of the one before.
    """
    levels: list[Level] = []
    for difference in differences:
        shifted = [difference.what.sign * value + margin for value in difference.values]
        level = Level.OPEN if levels and levels[-1] is Level.OPEN else _above_zero(shifted)
        if levels and levels[-1] is Level.LEANING and level is Level.SHOWN:
            level = Level.LEANING
        levels.append(level)
    return levels


def _above_zero(values: Sequence[float]) -> Level:
    """The level at which the mean is above 0, one-sided at 2.5 %."""
    # Two-sided at 5 % with a positive mean is one-sided at 2.5 %.
    if len(values) < MIN_SEEDS or not (np.mean(values) > 0 and t_p(values) <= ERROR_RATE):
        return Level.OPEN
    if len(values) < CLAIM_SEEDS:
        return Level.LEANING if min(values) > 0 else Level.OPEN
    return Level.SHOWN if sign_flip_p(values) <= ERROR_RATE else Level.OPEN


@dataclass(frozen=True)
class ExampleDifference:
    """Accuracy of one network minus that of another on the same test examples, in points."""

    interval: Interval
    """95 % interval by percentile bootstrap over examples; its ends are NaN without examples."""
    p: float
    """Two-sided p-value of the exact McNemar test; 1 if both are right on the same examples; see also
    :func:`corrected`."""
    only_a: int
    """Number of examples that only a classifies correctly."""
    only_b: int
    """Number of examples that only b classifies correctly."""
    shown: bool
    """Whether bootstrap interval and test both say that the networks differ."""


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
    from scipy.stats import binomtest  # takes a second to import, which every command and page would wait for

    left, right = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if left.ndim != 1 or left.shape != right.shape:
        raise ValueError("Both networks must be judged on the same test examples.")
    n, only_a, only_b = left.size, int((left & ~right).sum()), int((right & ~left).sum())
    if not n:
        return ExampleDifference(t_interval([]), math.nan, 0, 0, False)
    counts = np.array([only_a, only_b, n - only_a - only_b])
    drawn = np.random.default_rng(0).multinomial(n, counts / n, RESAMPLES)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n * 100, [ERROR_RATE / 2, 1 - ERROR_RATE / 2])
    interval = Interval((only_a - only_b) / n * 100, float(low), float(high), n)
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return ExampleDifference(interval, p, only_a, only_b, _example_shown(p, interval))


def corrected(found: Sequence[ExampleDifference]) -> list[ExampleDifference]:
    """Differences of several pairs of networks, with p-values after Holm's correction and what is then shown."""
    adjusted = holm([difference.p for difference in found])
    return [
        replace(difference, p=p, shown=_example_shown(p, difference.interval))
        for difference, p in zip(found, adjusted, strict=True)
    ]


def _example_shown(p: float, interval: Interval) -> bool:
    return bool(p <= ERROR_RATE and not interval.low <= 0 <= interval.high)
