"""The clause on forgetting in the answers about one experiment."""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.study.arms.arm import Arm
from core.study.arms.pairs import paired_differences
from core.study.stats.measures import FORGETTING, FORGETTING_MASKED, value_text
from core.study.stats.words import more_or_less, span_text

NO_SOURCE = "Nothing was learnt on a source before this, so there is nothing whose forgetting could be measured."
"""Instead of forgetting, where a network that was brought is fine-tuned as it is."""


OWN_RATES = "Each setting is at its own rate, so a difference here compares rates as much as methods."
"""Under a table of forgetting, where settings have rates of their own."""


def rates_note(arms: Sequence[Arm]) -> str:
    """:data:`OWN_RATES` where it is true of these arms; empty where all have one rate."""
    return OWN_RATES if len({arm.learning_rate for arm in arms}) > 1 else ""


def forgetting_clause(arm: Arm, full: Arm) -> str:
    """Say how much more one arm forgot than full fine-tuning, and at which rates that was seen.

    Nothing is claimed of forgetting: the experiment's measure and margin are fixed before it begins, and this is
    another measure. The learning rate moves forgetting more than the method does, so a difference between two rates is
    a difference between two runs and not between two methods; :mod:`core.study.arms.frontier` compares at equal
    accuracy.

    Args:
        arm: any arm but full fine-tuning; the subject of the clause, as "it".
        full: full fine-tuning on the same base and task.

    Returns:
        A main clause without a capital and without a full stop; empty where forgetting was not measured, where the
        source is the target, or where fewer than two seeds can be compared.
    """
    if arm.spec.source is None:
        return ""  # nothing was learned before that could be measured
    # With classes left out, plain forgetting mostly shows which outputs the head now prefers.
    masked = arm.spec.is_split
    (difference,) = paired_differences([(arm, full)], FORGETTING_MASKED if masked else FORGETTING)
    if arm.spec.source == arm.spec.task or not math.isfinite(difference.interval.half_width):
        return ""
    among = ", judged among the source's classes" if masked else ""
    mine, other = arm.learning_rate, full.learning_rate
    at, than = f"at its rate of {mine:g}", f"than full fine-tuning at {other:g}"
    why = ", which compares rates as much as methods"
    if mine == other:
        at, than, why = f"at the same rate of {mine:g}", "than full fine-tuning", ""
    much, span = more_or_less(difference), span_text(difference.interval, difference.what)
    if difference.holds_zero:
        observed = value_text(difference.what, difference.interval.mean)
        rates = f"at {mine:g}" if mine == other else f"between its rate of {mine:g} and full fine-tuning's of {other:g}"
        return f"no difference in forgetting was seen {rates}{among} ({observed}, {span})"
    return f"{at} it was seen to forget {much} {than}{among} ({span}){why}"
