"""Macro-F1 and the share of the largest class, in sentences: what accuracy alone does not say."""

from __future__ import annotations

from collections.abc import Sequence

from core.store.record import Result
from core.study.arms.arm import Arm
from core.study.stats.measures import MEASURES, spread_text
from core.wording.examples import noun
from core.wording.numbers import listed, percent

MISLEADING = 50.0
"""Share of the largest class, in percent, above which accuracy misleads: always naming that class is then right more
often than not."""


def share_sentence(result: Result | None, kind: str) -> str:
    """What share of the test part the largest class has; empty for runs of earlier versions.

    Args:
        result: of a run, which tells the share.
        kind: of the run's data.
    """
    if result is None or result.largest_class is None:
        return ""
    return f"The largest class has {percent(result.largest_class, 1)} of the test {noun(kind)}."


def misleading_sentence(result: Result | None, kind: str) -> str:
    """Why accuracy misleads on this task; empty where no class has more than :data:`MISLEADING` percent."""
    if result is None or result.largest_class is None or result.largest_class <= MISLEADING:
        return ""
    return (
        f"Accuracy misleads here: {percent(result.largest_class, 1)} of the test {noun(kind)} are of one class, so "
        "always naming it would be that accurate. Macro-F1 counts every class alike."
    )


def unlearnt_sentence(arms: Sequence[Arm]) -> str:
    """Which arms are no more accurate than always naming the largest class.

    Empty if every arm is more accurate than that, and for runs of earlier versions.
    """
    result = arms[0].runs[0].result if arms else None
    if result is None or result.largest_class is None:
        return ""
    share = result.largest_class
    found = [arm.name for arm in arms if arm.values("accuracy") and arm.interval("accuracy").mean <= share]
    if not found:
        return ""
    are, they = ("is", "it") if len(found) == 1 else ("are", "they")
    return (
        f"{listed(found)} {are} no more accurate than always naming the largest class ({percent(share, 1)}), so these "
        f"runs do not show what {they} can learn: train longer, or at another rate."
    )


def macro_f1_sentence(arms: Sequence[Arm]) -> str:
    """Macro-F1 of each arm, and the share of the largest class; empty for runs of earlier versions."""
    known = [arm for arm in arms if arm.values("macro_f1")]
    if not known:
        return ""
    values = [f"{arm.label} {spread_text(arm.interval('macro_f1'), MEASURES['macro_f1'])}" for arm in known]
    share = share_sentence(known[0].runs[0].result, known[0].spec.network.learns)
    return f"Macro-F1, the mean of the F1 scores of all classes: {listed(values)}. {share}".strip()
