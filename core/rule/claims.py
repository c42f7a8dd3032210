"""Differences of two settings, paired by seed, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import stdtr

from core.numbers import NOTHING, number_text
from core.objectives.measure import PLAIN_DIGITS
from core.results.intervals import Interval, t_interval
from core.results.measures import Quantity, bounded, digits_of, value_text

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


def agree_in_sign(values: Sequence[float]) -> bool:
    """Whether all values are above zero, or all below; False without values, and where one is NaN."""
    return {(value > 0) - (value < 0) for value in values} in ({1}, {-1})


def is_lopsided(values: Sequence[float]) -> bool:
    """Whether the mean of values is on another side of 0 than their median, as where a few of them lie far off."""
    mean, median = np.round([np.mean(values), np.median(values)], 9)  # equal percentages may differ by rounding errors
    return bool(np.sign(mean) != np.sign(median))


def difference_of(a: str, b: str, left: Mapping[int, float], right: Mapping[int, float], what: Quantity) -> Difference:
    """Compute the difference of two settings with its interval over seeds, by which values are paired: a seed
    determines data order and the initialization of A in both, so pairing removes their common noise.

    Args:
        a: label of the first setting.
        b: label of the second setting.
        left: values of the first, by seed.
        right: values of the second, by seed.
        what: what is compared.
    """
    seeds = tuple(sorted(left.keys() & right.keys()))
    values = tuple(left[seed] - right[seed] for seed in seeds)
    sides = [tuple(left.values()), tuple(right.values())]
    win = win_probability(*(sides if what.sign > 0 else reversed(sides)))
    return Difference(a, b, what, seeds, values, t_interval(values), win)


def win_probability(a: Sequence[float], b: Sequence[float]) -> float:
    """Estimate the probability that a run of A has a higher value than a run of B: P(A > B) + P(A = B) / 2.

    This is the Mann–Whitney U of A divided by n_A · n_B; values need not be paired. Sources: Mann and Whitney, Ann.
    Math. Stat. 18 (1947); McGraw and Wong, "A common language effect size statistic", Psychol. Bull. 111 (1992); ties
    as Vargha and Delaney, J. Educ. Behav. Stat. 25 (2000). NaN if one side has no runs or a value is NaN.
    """
    left, right = np.asarray(a, dtype=np.float64)[:, None], np.asarray(b, dtype=np.float64)[None, :]
    if not left.size or not right.size or np.isnan(left).any() or np.isnan(right).any():
        return math.nan
    return float(np.mean(left > right) + np.mean(left == right) / 2)


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

    Where the number N of test examples is known, two means x and x̄ must also be further apart than such examples
    allow: 1.96 · √((v(x) + v(x̄)) / N), with the largest variance v(x) = (b − x) (x − a) of values from a to b with the
    mean x, which right and wrong answers have. Source: Bhatia and Davis, "A better bound on the variance", Am. Math.
    Mon. 107 (2000).

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
        allowed = 0.0
        if examples is not None and all(map(math.isfinite, limits)):
            largest = sum((limits[1] - mean) * (mean - limits[0]) for mean in (float(x[place]), float(others.mean())))
            allowed = 1.96 * math.sqrt(max(0.0, largest) / examples)
        if distance >= max(least, allowed) and p <= FALSE_RATE / n:
            found.append(seed)
    return found


def p_text(p: float) -> str:
    """A p-value in a table, as in ``0.012`` or ``< 0.001``; a dash where nothing was tested."""
    if math.isnan(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else number_text(p, 3)


def p_words(p: float) -> str:
    """A p-value in a sentence, as in ``p = 0.012`` or ``p < 0.001``."""
    return f"p {p_text(p)}" if p < 0.001 else f"p = {p_text(p)}"


def size_span_text(interval: Interval, what: Quantity) -> str:
    """An interval of differences on one side of 0 without signs, as in ``95 % interval 0.30 to 1.20``."""
    inside = bounded(interval, what.change)
    if inside.low == inside.high:
        return "the same in every seed"
    low, high = sorted((abs(inside.low), abs(inside.high)))
    shown = digits_shown(what, digits_of(interval, what.change))
    return f"95 % interval {number_text(low, shown)} to {number_text(high, shown)}"


def size_text(difference: Difference) -> str:
    """The size of a difference without its sign, as in ``1.20 points``."""
    what = difference.what.change
    return value_text(what, abs(difference.interval.mean), digits_of(difference.interval, what)).removeprefix("+")


def off_text(difference: Difference, in_brackets: bool = False) -> str:
    """A difference in a measure with its interval, as in ``4.2 points less accurate (95 % interval 2.9 to 5.5)``, or
    ``0.3 points less accurate (95 % interval: 0.6 less accurate to 0.1 more accurate)``; without brackets of its own
    where it stands ``in_brackets``.
    """
    interval, what = difference.interval, difference.what
    digits = digits_of(interval, what.change)
    is_same = not round(interval.mean, digits_shown(what, digits))
    words = "the same on average" if is_same else f"{size_text(difference)} {_side(interval.mean, what)}"
    if not math.isfinite(interval.half_width):
        return "the same" if is_same else words
    inside, shown = bounded(interval, what.change), digits_shown(what, digits)
    if inside.low == inside.high:
        return "the same in every seed" if is_same else f"{words} in every seed"
    if difference.holds_zero:
        sides = (f"{number_text(abs(end), shown)} {_side(end, what)}" for end in (inside.low, inside.high))
        span = f"95 % interval: {' to '.join(sides)}"
    else:
        span = size_span_text(interval, what)
    return f"{words}, {span}" if in_brackets else f"{words} ({span})"


def digits_shown(what: Quantity, digits: int) -> int:
    """Decimals that are written of a value, where a percentage would have ``digits``."""
    return digits if what.unit in ("%", "points") else digits + PLAIN_DIGITS


def _side(value: float, what: Quantity) -> str:
    """The words for the side that a difference in a measure is on, as in ``less accurate``."""
    if what.measure is None:
        return "higher" if value > 0 else "lower"
    return what.measure.better if what.sign * value > 0 else what.measure.worse
