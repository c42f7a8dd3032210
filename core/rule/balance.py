"""Macro-F1 and the share of the largest class, in sentences: what accuracy alone does not say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.numbers import listed, percent
from core.objectives.classification import ACCURACY, LARGEST_CLASS, MACRO_F1
from core.results.arm import Arm
from core.results.intervals import MIN_SEEDS
from core.results.measures import value_text
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


def unlearnt_sentence(found: Sequence[Arm], why: str = "") -> str:
    """That these arms are not shown to have learned anything, without a full stop. Args: why: that is so."""
    share, have = largest_class(found[0].rows[0]), "has" if len(found) == 1 else "have"
    what = "to be better than answers that need no input"
    if share is not None:
        what = f"to have learned more than always naming one class, right in up to {percent(share, 1)} of cases"
    return f"{listed([_with_value(arm) for arm in found])} {have} not been shown {what}{why}"


def learnt_sentence(arm: Arm) -> str:
    """That an arm is better, after :func:`unlearnt_sentence` of the one beside it, without a full stop."""
    return f"{_with_value(arm)} is better than that"


def _with_value(arm: Arm) -> str:
    """An arm with its mean, as in ``LoRA r=4 (8.1 %)``; accuracy where its classes are known."""
    if largest_class(arm.rows[0]) is not None:
        return f"{arm.name} ({percent(arm.interval(ACCURACY.name).mean, 1)})"
    return f"{arm.name} ({value_text(arm.what(), arm.interval(arm.primary).mean, 1)})"


def macro_f1_sentence(arms: Sequence[Arm]) -> str:
    """Macro-F1 of each arm, and the share of the largest class; empty for runs of earlier versions."""
    known = [arm for arm in arms if arm.setting.objective.has_classes and arm.values(MACRO_F1.name)]
    if not known:
        return ""
    values = [f"{arm.label} {arm.spread(MACRO_F1.name)}" for arm in known]
    share = share_sentence(known[0].rows[0], known[0].setting.learns)
    return f"Macro-F1, the mean of the F1 scores of all classes: {listed(values)}. {share}".strip()
