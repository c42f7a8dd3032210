"""Differences, intervals and p-values in words, the same in every sentence."""

from __future__ import annotations

import math

from core.numbers import NOTHING, number_text
from core.objectives.measure import PLAIN_DIGITS
from core.results.intervals import Interval
from core.results.measures import Quantity, bounded, digits_of, value_text
from core.rule.claims import Difference


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
    """A difference in a measure with its interval, both in one direction.

    As in ``4.2 points less accurate (95 % interval 2.9 to 5.5)``, or ``0.3 points less accurate (95 % interval: 0.6
    less accurate to 0.1 more accurate)``.

    Args:
        difference: of one quantity.
        in_brackets: whether the text stands in brackets, so that it has none itself.
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
