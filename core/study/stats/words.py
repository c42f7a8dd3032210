"""Differences, intervals and p-values in words, the same in every sentence."""

from __future__ import annotations

import math

from core.numbers import NOTHING, count_text, number_text
from core.objectives.measure import PLAIN_DIGITS
from core.study.stats.claims import Difference, least_seeds
from core.study.stats.intervals import ERROR_RATE, MIN_SEEDS, Interval
from core.study.stats.measures import Quantity, bare_text, bounded, digits_of, value_text


def p_text(p: float) -> str:
    """A p-value in a table, as in ``0.012`` or ``< 0.001``; a dash where nothing was tested."""
    if math.isnan(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else number_text(p, 3)


def p_words(p: float) -> str:
    """A p-value in a sentence, as in ``p = 0.012`` or ``p < 0.001``."""
    return f"p {p_text(p)}" if p < 0.001 else f"p = {p_text(p)}"


def span_text(interval: Interval, what: Quantity) -> str:
    """An interval of differences, as in ``95 % interval −1.20 to +0.30``. Args: what: the quantity that differs."""
    if interval.low == interval.high:
        return "the same in every seed"
    inside = bounded(interval, what.change)
    low, high = (bare_text(what.change, end, digits_of(interval, what.change)) for end in (inside.low, inside.high))
    return f"95 % interval {low} to {high}"


def size_text(difference: Difference) -> str:
    """The size of a difference without its sign, as in ``1.20 points``."""
    what = difference.what.change
    return value_text(what, abs(difference.interval.mean), digits_of(difference.interval, what)).removeprefix("+")


def more_or_less(difference: Difference) -> str:
    """How much was forgotten more, as in ``1.20 points more of the source``."""
    return f"{size_text(difference)} {'more' if difference.interval.mean > 0 else 'less'} of the source"


def off_text(difference: Difference) -> str:
    """A difference in a measure with its interval, as in ``4.2 points less accurate (95 % interval 2.9 to 5.5)``."""
    interval, what = difference.interval, difference.what
    digits = digits_of(interval, what.change)
    if not round(interval.mean, digits_shown(what, digits)):
        same = f"the same on average ({span_text(interval, what)})"
        return same if math.isfinite(interval.half_width) else "the same"
    words = f"{size_text(difference)} {side_words(difference)}"
    if not math.isfinite(interval.half_width):
        return words
    if difference.holds_zero:
        return f"{words} ({span_text(interval, what)})"
    inside = bounded(interval, what.change)
    low, high = sorted((abs(inside.low), abs(inside.high)))
    if low == high:
        return f"{words} in every seed"
    shown = digits_shown(what, digits)
    return f"{words} (95 % interval {number_text(low, shown)} to {number_text(high, shown)})"


def digits_shown(what: Quantity, digits: int) -> int:
    """Decimals that are written of a value, where a percentage would have ``digits``."""
    return digits if what.unit in ("%", "points") else digits + PLAIN_DIGITS


def side_words(difference: Difference) -> str:
    """The words for the side that a difference in a measure is on, as in ``less accurate``."""
    measure = difference.what.measure
    if measure is None:
        return "higher" if difference.interval.mean > 0 else "lower"
    return measure.better if difference.is_better else measure.worse


def seeds_line(seeds: int) -> str:
    """What a number of seeds can show, for a form."""
    if seeds < MIN_SEEDS:
        return f"Nothing can be claimed with fewer than {MIN_SEEDS} seeds."
    settings = math.floor(ERROR_RATE * 2 ** (seeds - 1))
    if not settings:
        return (
            f"At most “leaning” is possible: to show a difference takes {least_seeds(1)} seeds, "
            f"or {least_seeds(3)} for 2 or 3 ranks."
        )
    if settings == 1:
        return f"Can show a difference for 1 rank; for 2 or 3 it takes {least_seeds(3)} seeds."
    return f"Can show a difference for up to {count_text(settings)} ranks."
