"""Formatting of numbers for people, the same on every page, in reports and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

NOTHING = "–"
"""Shown in place of a missing value."""

_MINUS = "−"


def _word(value: float | None) -> str | None:
    """Return what to write for a missing or non-finite value; None for an ordinary number."""
    if value is None:
        return NOTHING
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite"
    return None


def number_text(value: float | None, digits: int = 2) -> str:
    """Format a number with thousands separators, as in ``1,234.50``."""
    # Adding zero turns a rounded −0.00 into 0.00.
    return _word(value) or f"{round(value or 0.0, digits) + 0.0:,.{digits}f}".replace("-", _MINUS)


def exact_text(value: float) -> str:
    """A value of a setting, as in ``0.001``: in the short form only where that is exact, so that two different values
    never read alike.
    """
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def percent(value: float | None, digits: int = 2) -> str:
    """Format a percentage, as in ``96.40 %``."""
    return _word(value) or f"{number_text(value, digits)} %"


def points_text(value: float | None, digits: int = 2) -> str:
    """Format a difference of two percentages with its sign, as in ``−1.32 points``."""
    if word := _word(value):
        return word
    text = number_text(value, digits)
    return f"{'+' if round(value or 0.0, digits) > 0 else ''}{text} points"


def signed_text(value: float, digits: int = 2) -> str:
    """Format a difference with its sign, as in ``−0.31``; the title of the column or table has the unit."""
    return points_text(value, digits).removesuffix(" points")


def count_text(value: float | None) -> str:
    """Format a count, as in ``6,248``."""
    return number_text(value, 0)


def counted(count: int, thing: str) -> str:
    """Format a number of things, as in ``1 seed`` or ``1,200 runs``; ``thing`` takes an s where there are several."""
    return f"{count_text(count)} {thing}{'' if count == 1 else 's'}"


def bytes_text(value: float | None) -> str:
    """Format a size in decimal units, as in ``24.9 kB``."""
    if word := _word(value):
        return word
    size, units = float(value or 0.0), ["kB", "MB", "GB", "TB"]
    if abs(size) < 1000:
        return f"{count_text(size)} B"
    unit = ""
    # 999.95 would be rounded to 1,000.0, so it moves to the next unit.
    while abs(size) >= 999.95 and units:
        size, unit = size / 1000, units.pop(0)
    return f"{number_text(size, 1)} {unit}"


def seconds_text(value: float | None) -> str:
    """Format a duration, as in ``0.42 s``, ``12.3 s``, ``1 min 12 s`` or ``2 h 5 min``."""
    if word := _word(value):
        return word
    seconds = float(value or 0.0)
    if abs(seconds) < 9.995:
        return f"{number_text(seconds, 2)} s"
    if abs(seconds) < 59.95:
        return f"{number_text(seconds, 1)} s"
    if seconds < 3600 - 0.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min"


def range_text(low: float | None, high: float | None) -> str:
    """Format an expected duration as a range, as in ``5 to 10 s``, ``50 s to 2 min`` or ``under 0.1 s``.

    Ends have two significant digits, as more would claim to be exact. Without an upper end it is ``at least 5 min``;
    without a lower one it reads ``measuring …``.
    """
    if low is None:
        return "measuring …"
    if high is None:
        return f"at least {' '.join(_in_unit(low))}"
    if high < 0.095:
        return "under 0.1 s"
    (first, unit), (last, other) = _in_unit(low), _in_unit(high)
    if unit == other:
        return f"{first} to {last} {unit}" if first != last else f"about {first} {unit}"
    return f"{first} {unit} to {last} {other}"


def _in_unit(seconds: float) -> tuple[str, str]:
    """A duration with two significant digits, and its unit."""
    unit, size = ("s", 1.0) if seconds < 90 else ("min", 60.0) if seconds < 5400 else ("h", 3600.0)
    value = seconds / size
    rounded = float(f"{value:.2g}")
    return (f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}" if rounded >= 0.01 else "0.01"), unit


def left_text(low: float | None, high: float | None) -> str:
    """Format the time that is left, as in ``5 to 10 s left``, or without an upper end ``more than 5 min left: some
    runs are not timed yet``; None reads ``time left not known yet``.
    """
    if low is None:
        return "time left not known yet"
    if high is None:
        return f"more than {' '.join(_in_unit(low))} left: some runs are not timed yet"
    return f"{range_text(low, high)} left"


def forecast_text(low: float | None, high: float | None, took: float) -> str:
    """Format a forecast beside what came of it, as in ``estimated 5 to 10 s, took 7.02 s``."""
    return f"estimated {range_text(low, high)}, took {seconds_text(took)}"


def unbroken(text: str) -> str:
    """Replace spaces so that a narrow column does not split a number from its unit."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def times_text(ratio: float) -> str:
    """Format a ratio, as in ``21.8``: with one decimal, or two below 10."""
    return number_text(ratio, 1 if abs(ratio) >= 9.995 else 2)


def capitalized(text: str) -> str:
    """A text that begins with a capital letter; the other letters stay as they are."""
    return text[:1].upper() + text[1:]


def listed(words: list[str]) -> str:
    """Join words, as in ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds in words, as in ``seeds 0 to 9``."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    whole = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return f"seeds {seeds[0]} to {seeds[-1]}" if whole else f"seeds {listed([str(seed) for seed in seeds])}"
