"""The clause on forgetting in the answers about one experiment."""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.study.arms.arm import Arm
from core.study.arms.pairs import paired_differences
from core.study.stats.claims import Level
from core.study.stats.measures import FORGETTING, FORGETTING_MASKED, value_text
from core.study.stats.words import more_or_less, span_text

NO_SOURCE = "Nothing was learnt on a source before this, so there is nothing whose forgetting could be measured."
"""Instead of forgetting, where a network that was brought is fine-tuned as it is."""


OWN_RATES = "Each setting is at its own rate, so a difference here compares rates as much as methods."
"""Under a table of forgetting, where settings have rates of their own."""


def rates_note(arms: Sequence[Arm]) -> str:
    """:data:`OWN_RATES` where it is true of these arms; empty where all have one rate."""
    return OWN_RATES if len({arm.learning_rate for arm in arms}) > 1 else ""


def forgetting_clause(lora: Arm, full: Arm, others: Sequence[Arm] = ()) -> str:
    """Say how much more one arm forgot than full fine-tuning, and at which rates that was seen.

    The learning rate moves forgetting more than the method does, so a difference between two rates is a difference
    between two runs and not between two methods; :mod:`core.study.arms.frontier` compares at equal accuracy.

    Args:
        lora: any arm but full fine-tuning; the subject of the clause, as "it".
        full: full fine-tuning on the same base and task.
        others: all adapter settings that the table of forgetting compares with full fine-tuning: the claim is corrected
            for them, so that the clause says no more than the table does.

    Returns:
        A main clause without a capital and without a full stop; empty where forgetting was not measured, where the
        source is the target, or where fewer than two seeds can be compared.
    """
    if lora.spec.source is None:
        return ""  # nothing was learnt before that could be measured
    # With classes left out, plain forgetting mostly shows which outputs the head now prefers.
    masked = lora.spec.is_split
    together = [lora, *(arm for arm in others if arm.key != lora.key)]
    name = FORGETTING_MASKED if masked else FORGETTING
    difference = paired_differences([(arm, full) for arm in together], name)[0]
    interval = difference.interval
    if lora.spec.source == lora.spec.task or not math.isfinite(interval.half_width):
        return ""
    among = ", judged among the source's classes" if masked else ""
    mine, other = lora.learning_rate, full.learning_rate
    at, than = f"at its rate of {mine:g}", f"than full fine-tuning at {other:g}"
    why = ", which compares rates as much as methods"
    if mine == other:
        at, than, why = f"at the same rate of {mine:g}", "than full fine-tuning", ""
    much, span = more_or_less(difference), span_text(interval, difference.what)
    if difference.level is Level.SHOWN:
        return f"{at} it forgot {much} {than}{among} ({span}){why}"
    if difference.holds_zero:
        observed = value_text(difference.what, interval.mean)
        rates = f"at {mine:g}" if mine == other else f"between its rate of {mine:g} and full fine-tuning's of {other:g}"
        return f"no difference in forgetting is shown {rates}{among} (observed {observed}, {span})"
    return f"{at} it was seen to forget {much} {than}{among} ({span}, not yet a claim){why}"
