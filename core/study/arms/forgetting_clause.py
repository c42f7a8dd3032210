"""The clause on forgetting in the answers about one experiment."""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.results.arm import Arm
from core.results.measures import FORGETTING, FORGETTING_MASKED, value_text
from core.rule.claims import Difference
from core.rule.compared import paired_differences
from core.rule.frontier import EqualAccuracy, equal_clause
from core.rule.words import more_or_less, size_span_text, span_text
from core.run_spec import RunSpec
from core.wording.tasks import task_text

NO_SOURCE = "Nothing was learned on a source before this, so there is nothing whose forgetting could be measured."
"""Instead of forgetting, where a network that was imported is fine-tuned as it is."""

UNMEASURED = "Forgetting was not measured: Home and Fine-tune ask before the start on which texts it is to be."
"""The same of a language model, which could be measured on any texts."""


def no_source(spec: RunSpec) -> str:
    """Why forgetting was not measured where a network was fine-tuned as it was imported."""
    return NO_SOURCE if spec.has_new_head else UNMEASURED


def source_note(spec: RunSpec) -> str:
    """What stands for the source of an imported network, in a sentence; empty where a base has learned the source."""
    if spec.source is None or not spec.is_direct:
        return ""
    what = task_text(spec.source, spec.objective)
    return f"The source is {what}: the network is measured on it as it was imported, and after fine-tuning."


OWN_RATES = (
    "Each setting is at its learning rate and learned the target to its own degree, so a difference here compares "
    "rates as much as methods."
)
"""Under a table of forgetting with several settings."""

AS_MUCH = "which compares rates as much as methods"
"""The same in a sentence, also of two settings at one rate, which need not suit both."""


def rates_note(arms: Sequence[Arm], is_answered: bool = False) -> str:
    """:data:`OWN_RATES` where there are settings to compare; else empty.

    Args:
        arms: in the table.
        is_answered: whether another table below has them at equal accuracy.
    """
    open_ = "" if is_answered else " Where both learned equally much it may be another one."
    return f"{OWN_RATES}{open_}" if len(arms) > 1 else ""


def forgetting_clause(arm: Arm, full: Arm, equal: Sequence[EqualAccuracy] = ()) -> str:
    """Say how much more one arm forgot than full fine-tuning, and at which rates that was seen.

    Nothing is claimed of forgetting: the experiment's measure and margin are fixed before it begins, and this is
    another measure. The learning rate moves forgetting more than the method does, so a difference between two rates is
    a difference between two runs and not between two methods, whether the rates are two or one: the clause says so, and
    what was seen at equal accuracy.

    Args:
        arm: any arm but full fine-tuning; the subject of the clause.
        full: full fine-tuning on the same base and task.
        equal: of :func:`core.rule.frontier.equal_to_full`; none where curves are not at hand.

    Returns:
        A main clause without a capital and without a full stop; empty where forgetting was not measured, where the
        source is the target, or where fewer than two seeds can be compared.
    """
    difference = _difference(arm, full)
    if difference is None:
        return ""
    among = ", judged among the source's classes" if arm.spec.is_split else ""
    mine, other = arm.learning_rate, full.learning_rate
    rates = f"at learning rates {mine:g} and {other:g}" if mine != other else f"at the same learning rate {mine:g}"
    if difference.holds_zero:
        observed = value_text(difference.what, difference.interval.mean)
        span = span_text(difference.interval, difference.what)
        seen, found = "no difference from full fine-tuning was seen", f"{observed}, {span}"
    else:
        seen = f"{arm.name} was seen to forget {more_or_less(difference)} than full fine-tuning"
        found = size_span_text(difference.interval, difference.what)
    return f"{seen} {rates}{among} ({found}), {_why(arm, equal)}"


def forgetting_in_short(arm: Arm, full: Arm, equal: Sequence[EqualAccuracy] = ()) -> str:
    """The same in a few words, as in ``LoRA r=4 was seen to forget 7.7 points more of the source than full fine-tuning,
    each at its own learning rate, which compares rates as much as methods.``
    """
    difference = _difference(arm, full)
    if difference is None:
        return ""
    is_one = arm.learning_rate == full.learning_rate
    rates = f"both at learning rate {arm.learning_rate:g}" if is_one else "each at its own learning rate"
    seen = f"{arm.name} was seen to forget {more_or_less(difference)} than full fine-tuning"
    if difference.holds_zero:
        seen = "No difference in forgetting of the source was seen"
    return f"{seen}, {rates}, {_why(arm, equal)}."


def _why(arm: Arm, equal: Sequence[EqualAccuracy]) -> str:
    """What a difference between two settings compares, and what was seen of theirs at equal accuracy."""
    return "; ".join(filter(None, [AS_MUCH, equal_clause(equal, arm.name)]))


def _difference(arm: Arm, full: Arm) -> Difference | None:
    """Forgetting of one arm minus that of full fine-tuning; None where it says nothing."""
    if arm.setting.source is None or arm.setting.source == arm.setting.task:
        return None  # nothing was learned before that could be forgotten
    # With classes left out, plain forgetting mostly shows which outputs the head now prefers.
    (found,) = paired_differences([(arm, full)], FORGETTING_MASKED if arm.spec.is_split else FORGETTING)
    return found if math.isfinite(found.interval.half_width) else None
