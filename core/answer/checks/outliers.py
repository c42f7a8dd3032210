"""Whether few runs decide: some far from the others of their setting, or a median that differs from the mean."""

from __future__ import annotations

import numpy as np

from core.answer.check import Check, Outcome
from core.results.arm import Arm
from core.results.measures import digits_of, value_text
from core.results.row import Row
from core.rule.claims import MIN_RUNS, outlying
from core.rule.place import Place


def check(found: Place) -> Check | None:
    """Fails where a run lies far off or the median of the differences is outside the interval of their mean."""
    told = found.told
    if told is None:
        return None
    if far := far_off(found):
        arm, row = far[0]
        more = f", and {len(far) - 1} more" if len(far) > 1 else ""
        value = row.measures[arm.primary]
        told_value = value_text(arm.what(arm.primary), value or 0.0)
        return Check(
            Outcome.FAILS, f"{arm.name}, seed {row.seed}, is far off with {told_value}{more}: look at it.", value
        )
    interval, what = told.difference.interval, told.difference.what.change
    median = float(np.round(np.median(told.difference.values), 9))  # equal differences have rounding errors
    if median < round(interval.low, 9) or median > round(interval.high, 9):
        text = value_text(what, median, digits_of(interval, what))
        return Check(Outcome.FAILS, f"The median difference, {text}, is outside the interval of the mean.", median)
    if min(len(arm.finished) for arm in found.compared) < MIN_RUNS:
        return Check(Outcome.UNKNOWN, f"Fewer than {MIN_RUNS} seeds cannot reveal an outlier.")
    return Check(Outcome.HOLDS, "No run is far from the others of its setting.")


def far_off(found: Place) -> list[tuple[Arm, Row]]:
    """Rows that lie far from the others of their setting: further than seeds do, and than so few test examples allow;
    see :func:`core.rule.claims.outlying`.
    """
    told = found.told
    if told is None or found.reason:
        return []
    examples, measure = told.crossed.examples, told.arm.setting.objective.primary
    least = 2 * measure.margin  # 1 point of accuracy
    return [
        (arm, arm.finished[seed])
        for arm in found.compared
        for seed in outlying(arm.by_seed(arm.primary), least, measure.limits, examples if examples > 1 else None)
    ]
