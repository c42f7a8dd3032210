"""Runs that lie far from the others of their setting, which each verdict names, and medians that differ from means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.results.arm import Arm
from core.results.measures import Quantity, bare_text, digits_of, value_text
from core.results.row import Row
from core.rule.candidate import Candidate
from core.rule.claims import outlying
from core.rule.place import Place


def outliers(verdict: Place) -> list[tuple[Arm, Row]]:
    """The rows that lie far from the others of their setting: further than seeds do, and than so few test examples
    allow; see :func:`core.rule.claims.outlying`.
    """
    told = verdict.told
    if told is None or verdict.reason:
        return []
    examples, limits = told.crossed.examples, told.arm.setting.objective.primary.limits
    return [
        (arm, arm.finished[seed])
        for arm in verdict.compared
        for seed in outlying(arm.by_seed(arm.primary), limits, examples if examples > 1 else None)
    ]


def outlier_sentence(arm: Arm, row: Row) -> str:
    """That a row of an arm lies far from its others, and why to look at it."""
    what, values = arm.what(arm.primary), arm.by_seed(arm.primary)
    value = values.pop(row.seed)
    return (
        f"{arm.name} reached {value_text(what, value)} with seed {row.seed}, far from its other seeds "
        f"({_range_text(what, list(values.values()))}): look at that run, because the tests "
        "assume that runs do not fail now and then."
    )


def median_sentence(candidate: Candidate) -> str:
    """The median of the seeds' differences where it lies outside the interval of their mean; else empty."""
    interval, what = candidate.difference.interval, candidate.difference.what.change
    median = float(np.round(np.median(candidate.difference.values), 9))  # equal differences have rounding errors
    if not (median < round(interval.low, 9) or median > round(interval.high, 9)):
        return ""
    told = f"{value_text(what, median, digits_of(interval, what))}, outside the interval of the mean"
    return f"The median of the seeds' differences is {told}: some seeds are far from the others."


def _range_text(what: Quantity, values: Sequence[float]) -> str:
    """From the lowest to the highest of these values, as in ``35.00 to 36.00 %``; one value where they read alike."""
    low, high = min(values), max(values)
    is_one = bare_text(what, low) == bare_text(what, high)
    return value_text(what, high) if is_one else f"{bare_text(what, low)} to {value_text(what, high)}"
