"""Differences of two settings, paired by seed, and the levels at which something may be said of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from scipy.special import stdtr

from core.results.intervals import ERROR_RATE, RESAMPLES, Interval, t_interval
from core.results.measures import Quantity
from core.rule.holm import holm

MAX_FORM_SEEDS = 50
"""Maximum number of seeds that forms offer."""


class Level(StrEnum):
    """How much a result may claim."""

    SHOWN = "shown"
    """The test over seeds and test examples rejects at the level of a look; see :mod:`core.rule.place`."""
    LEANING = "leaning"
    """With 3 to 6 seeds: all agree in sign and the t test rejects. It decides nothing."""
    OPEN = "open"
    """Nothing may be claimed."""


@dataclass(frozen=True)
class Pair:
    """Values of one quantity for two settings, by seed."""

    a: str
    """Label of the first setting."""
    b: str
    """Label of the second setting."""
    left: dict[int, float]
    """Values of a, by seed."""
    right: dict[int, float]
    """Values of b, by seed."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that both settings have, ascending."""
        return tuple(seed for seed in sorted(self.left) if seed in self.right)

    @property
    def differences(self) -> tuple[float, ...]:
        """Difference a minus b for each of these seeds."""
        return tuple(self.left[seed] - self.right[seed] for seed in self.seeds)


@dataclass(frozen=True)
class Difference:
    """A quantity of setting ``a`` minus that of ``b``, paired by seed: seen, and no claim."""

    a: str
    """Label of the first setting."""
    b: str
    """Label of the second setting."""
    what: Quantity
    seeds: tuple[int, ...]
    """Seeds that both have."""
    values: tuple[float, ...]
    """Difference a minus b for each seed, in the quantity's unit (in points if that is percent)."""
    interval: Interval
    """95 % interval of the mean difference: over seeds and test examples where :attr:`examples` is above 0, else
    Student's t over seeds."""
    win: float
    """Probability that a run of a has a better value than a run of b, or a higher one where none is better; ties count
    as half; NaN without runs."""
    examples: int = 0
    """Number of test examples over which the interval holds as well; 0 where it is over seeds alone."""

    @property
    def is_better(self) -> bool:
        """Whether the mean is on the better side; of costs and forgetting, whether it is above 0."""
        return self.what.sign * self.interval.mean > 0

    @property
    def holds_zero(self) -> bool:
        """Whether the interval contains 0; also true where there is no interval."""
        return not (self.interval.low > 0 or self.interval.high < 0)

    @property
    def agree(self) -> bool:
        """Whether all seeds point the same way, and there are any."""
        return agree_in_sign(self.values)


def agree_in_sign(values: Sequence[float]) -> bool:
    """Whether all values are above zero, or all below; False without values, and where one is NaN."""
    return {(value > 0) - (value < 0) for value in values} in ({1}, {-1})


def is_lopsided(values: Sequence[float]) -> bool:
    """Whether the mean of values is on another side of 0 than their median, as where a few of them lie far off."""
    mean, median = np.round([np.mean(values), np.median(values)], 9)  # equal percentages may differ by rounding errors
    return bool(np.sign(mean) != np.sign(median))


def difference_of(pair: Pair, what: Quantity) -> Difference:
    """Compute the difference of two settings, with its interval over seeds.

    A seed determines data order and the initialization of A in both settings, so pairing removes their common noise.

    Args:
        pair: values of the two.
        what: what is compared.
    """
    values = pair.differences
    left, right = tuple(pair.left.values()), tuple(pair.right.values())
    win = win_probability(left, right) if what.sign > 0 else win_probability(right, left)
    return Difference(pair.a, pair.b, what, pair.seeds, values, t_interval(values), win)


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
    Bootstrap", 1993, ch. 13; for classifiers: Koehn, EMNLP 2004). The test is McNemar's exact one: of the examples on
    which the networks disagree, half should favour either (Psychometrika 12, 1947). A claim needs both.

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


MIN_RUNS = 4
"""Minimum number of runs to judge one by the others."""

FALSE_RATE = 0.01
"""Accepted probability that any run of an arm with normal noise is called outlying."""


def outlying(
    values: Mapping[int, float],
    least: float,
    limits: tuple[float, float] = (-math.inf, math.inf),
    examples: int | None = None,
) -> list[int]:
    """Find the seeds whose value is too far from those of the other seeds to be noise of the same kind.

    A value x is compared with the n − 1 others: t = (x − x̄) / (s · √(1 + 1 / (n − 1))) with their mean x̄ and standard
    deviation s has Student's t distribution with n − 2 degrees of freedom if all values are normal. It is outlying
    where p ≤ 0.01 / n and the distance is at least ``least``: where all others agree, one image is far. Source: Grubbs,
    "Sample criteria for testing outlying observations", Ann. Math. Stat. 21 (1950). Two outlying values may hide each
    other.

    Where the number N of test examples is known, two means x and x̄ must also be further apart than such examples allow:
    1.96 · √((v(x) + v(x̄)) / N), with the largest variance v(x) = (b − x) (x − a) of values from a to b with the mean x,
    which right and wrong answers have. Source: Bhatia and Davis, "A better bound on the variance", Am. Math. Mon. 107
    (2000).

    Args:
        values: one per seed, in the measure's unit.
        least: minimum distance from the mean of the others, in the same unit.
        limits: lowest and highest value that each can have.
        examples: number of test examples that each is a mean of; None where that is not known.

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
        allowed = _allowed(float(x[place]), float(others.mean()), limits, examples)
        if distance >= max(least, allowed) and p <= FALSE_RATE / n:
            found.append(seed)
    return found


def _allowed(one: float, other: float, limits: tuple[float, float], examples: int | None) -> float:
    """How far apart so few test examples may put two means; 0 where that is not known."""
    if examples is None or not all(map(math.isfinite, limits)):
        return 0.0
    largest = sum((limits[1] - mean) * (mean - limits[0]) for mean in (one, other))
    return 1.96 * math.sqrt(max(0.0, largest) / examples)
