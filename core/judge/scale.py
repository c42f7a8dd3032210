"""The measure of a table of results: its unit, its direction and its margin."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from core.errors import JudgeError, printable
from core.judge.cells import plain
from core.judge.reading import Reading, known_name
from core.objectives.registry import measures_by_name
from core.results.scale import PERCENT, TEST, Scale

MAX_NAME = 60
"""Maximum number of characters of the name of a measure."""

Ask = Callable[..., None]
"""Adds a question: name of the field, text, options."""


def scale_of(column: str, values: Sequence[float], reading: Reading, ask: Ask) -> Scale | None:
    """What a measure's values mean; None where something has to be asked first.

    Args:
        column: its name in the table.
        values: all of them, finite.
        reading: what is known.
        ask: takes the questions.

    Raises:
        JudgeError: the answers contradict the values.
    """
    if not values:
        raise JudgeError(f"The column {printable(column)!r} has no numbers: no run has a result.")
    name = name_of(column)
    known = measures_by_name().get(name)
    title = known.title if known is not None else plain(column)[:MAX_NAME]
    higher = reading.better == "higher" if reading.better else None if known is None else known.higher_is_better
    low, high = min(values), max(values)
    span = f"lies between {low:g} and {high:g}"
    unit = reading.unit or ("plain" if known is not None and known.unit != "%" else "")
    shown = printable(column, MAX_NAME)
    if not unit and known is not None and not 0 <= low <= high <= 1.0:
        unit = "%"  # more than a fraction can be
    elif not unit and known is not None and not {*values} <= {0.0, 1.0}:
        unit = "fraction"
    if not unit:
        fits = ("%", "fraction", "plain") if low >= 0 and high <= 1 else ("%", "plain")
        ask("unit", f"{shown} {span}, and its unit is not known.", fits if low >= 0 and high <= PERCENT else ("plain",))
    if higher is None:
        ask("better", f"Whether higher or lower values of {shown} are better is not known.", ("higher", "lower"))
    if unit in ("%", "fraction") and not 0 <= low <= high <= (1 if unit == "fraction" else PERCENT):
        raise JudgeError(f"{shown} {span}, which is no {'fraction of 1' if unit == 'fraction' else 'percentage'}.")
    within = reading.within if reading.within is not None else None if known is None else known.margin
    if within is None:
        ask("within", f"The margin of {shown} is not known: how much worse than the reference is still good enough.")
    if unit in ("%", "fraction") and within is not None and within > PERCENT:
        raise JudgeError(f"The margin is in points, and at most {PERCENT:g}, not {within:g}.")
    if not unit or higher is None or within is None:
        return None
    factor = PERCENT if unit == "fraction" else 1.0
    part = reading.evaluated or TEST
    title = title if part == TEST else f"Validation {known.noun if known is not None else name}"
    return Scale(name, title, "" if unit == "plain" else "%", higher, within, part, factor)


def name_of(column: str) -> str:
    """The name of a measure from that of its column, without the part that it is of."""
    bare = re.sub(r"^(test|eval|predict|validation|val)_", "", known_name(column))
    return re.sub(r"[^a-z0-9]+", "_", bare).strip("_")[:MAX_NAME] or "measure"
