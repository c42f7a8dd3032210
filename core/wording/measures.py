"""How values of measures are written for people, by the unit of the measure."""

from __future__ import annotations

from core.objectives.measure import Measure
from core.store.record import Run
from core.wording.numbers import number_text, percent, points_text

PLAIN_DIGITS = 2
"""Decimals that a value without a unit has beyond those of a percentage: losses are near one."""


def measured_text(measure: Measure, value: float | None, digits: int = 2) -> str:
    """Format a value of a measure, as in ``97.31 %`` or ``0.2214``; ``digits`` is for percentages."""
    if measure.unit == "%":
        return percent(value, digits)
    text = number_text(value, digits + PLAIN_DIGITS)
    return f"{text} {measure.unit}" if measure.unit else text


def changed_text(measure: Measure, value: float | None, digits: int = 2) -> str:
    """Format a difference of two values of a measure with its sign, as in ``−1.32 points`` or ``+0.0310``."""
    if measure.unit == "%":
        return points_text(value, digits)
    text = measured_text(measure, value, digits)
    return f"+{text}" if value is not None and value > 0 and not text.startswith("0.0000") else text


def score_text(run: Run, digits: int = 2) -> str:
    """The primary measure of a run on the test part, as in ``97.31 %``; a dash before it has a result."""
    return measured_text(run.spec.objective.primary, run.score, digits)
