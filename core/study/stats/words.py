"""Differences, intervals and p-values in words, the same in every sentence."""

from __future__ import annotations

import math

from core.study.stats.claims import Difference, least_seeds
from core.study.stats.intervals import ERROR_RATE, MIN_SEEDS, Interval
from core.study.stats.measures import MEASURES, bounded, digits_of
from core.wording.numbers import NOTHING, count_text, number_text, signed_text


def p_text(p: float) -> str:
    """A p-value in a table, as in ``0.012`` or ``< 0.001``; a dash where nothing was tested."""
    if math.isnan(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else number_text(p, 3)


def p_words(p: float) -> str:
    """A p-value in a sentence, as in ``p = 0.012`` or ``p < 0.001``."""
    return f"p {p_text(p)}" if p < 0.001 else f"p = {p_text(p)}"


def span_text(interval: Interval) -> str:
    """An interval of points, as in ``95 % interval −1.20 to +0.30``."""
    if interval.low == interval.high:
        return "the same in every seed"
    digits, interval = digits_of(interval), bounded(interval, MEASURES["gain"])
    low, high = (signed_text(end, digits) for end in (interval.low, interval.high))
    return f"95 % interval {low} to {high}"


def more_or_less(difference: Difference, what: str) -> str:
    """A difference in points, as in ``1.20 points less accurate``."""
    side = "more" if difference.interval.mean > 0 else "less"
    return f"{number_text(abs(difference.interval.mean), digits_of(difference.interval))} points {side} {what}"


def off_text(difference: Difference) -> str:
    """A difference in accuracy with its interval, as in ``4.2 points less accurate (95 % interval 2.9 to 5.5)``."""
    interval = difference.interval
    digits = digits_of(interval)
    if not round(interval.mean, digits):
        return f"the same on average ({span_text(interval)})" if math.isfinite(interval.half_width) else "the same"
    words = more_or_less(difference, "accurate")
    if not math.isfinite(interval.half_width):
        return words
    if difference.holds_zero:
        return f"{words} ({span_text(interval)})"
    inside = bounded(interval, MEASURES["gain"])
    low, high = sorted((abs(inside.low), abs(inside.high)))
    if low == high:
        return f"{words} in every seed"
    return f"{words} (95 % interval {number_text(low, digits)} to {number_text(high, digits)})"


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
