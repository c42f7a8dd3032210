"""The share of the largest class: what accuracy alone does not say."""

from __future__ import annotations

from collections.abc import Iterable

from core.numbers import percent
from core.objectives.classification import ACCURACY, LARGEST_CLASS
from core.results.arm import Arm
from core.results.intervals import MIN_SEEDS
from core.results.row import Row
from core.wording.tasks import noun

HALF = 50.0
"""Percent of the test part: where the largest class has no more, naming it is wrong as often as it is right."""

UNBALANCED = 1.5
"""How many times its share among equally frequent classes the largest class must have."""


def misleading_share(classes: int) -> float:
    """Share of the largest class, in percent, above which accuracy misleads on a task of so many classes.

    Always naming that class is then right more often than not, and that is because the classes are not balanced: it has
    more than 1.5 times its share of 100 / k. That is 75 % of two classes, which have about 50 % each when balanced,
    and 50 % of three or more.
    """
    return max(HALF, UNBALANCED * 100 / classes)


def largest_class(row: Row) -> float | None:
    """Percent of the test part that is of its most frequent class; None for runs of earlier versions."""
    return row.measures.get(LARGEST_CLASS)


def share_sentence(row: Row, kind: str) -> str:
    """What share of the test part the largest class has; empty for runs of earlier versions.

    Args:
        row: which tells the share.
        kind: of the run's data.
    """
    share = largest_class(row)
    if share is None:
        return ""
    return f"The largest class has {percent(share, 1)} of the test {noun(kind)}."


def misleading_sentence(row: Row) -> str:
    """Why accuracy misleads on the task of a run of this lab; empty up to :func:`misleading_share`."""
    share, spec = largest_class(row), row.setting.spec
    if share is None or spec is None:
        return ""
    classes = len(spec.task.classes) if spec.task.classes is not None else spec.network.num_classes
    if share <= misleading_share(classes):
        return ""
    return (
        f"Accuracy misleads here: {percent(share, 1)} of the test {noun(row.setting.learns)} are of "
        "one class, so always naming it would be that accurate. Macro-F1 counts every class alike."
    )


def unlearnt(arms: Iterable[Arm]) -> list[Arm]:
    """The arms of which it is not shown that they have learned more than to name the most frequent class.

    The 95 % interval of their accuracy over seeds does not lie above the share of that class; with fewer than
    :data:`core.results.intervals.MIN_SEEDS` seeds, the mean does not. Runs of earlier versions do not tell.
    """
    found = []
    for arm in arms:
        share = largest_class(arm.rows[0])
        if share is None:  # an earlier version, or an objective without classes
            continue
        accuracy = arm.interval(ACCURACY.name)
        if (accuracy.low if accuracy.n >= MIN_SEEDS else accuracy.mean) <= share:
            found.append(arm)
    return found
