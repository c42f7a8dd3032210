"""Whether the adapter setting forgets more of what the base knew than full fine-tuning does.

Nothing is claimed of forgetting, which has no test: the learning rate often moves it more than the method does.
"""

from __future__ import annotations

import math

from core.answer.check import Check, Outcome
from core.results.arm import Arm
from core.results.intervals import MIN_SEEDS
from core.results.measures import FORGETTING, FORGETTING_MASKED
from core.rule.claims import Difference, size_text
from core.rule.place import Place
from core.rule.withheld import paired_differences


def check(found: Place) -> Check | None:
    """Fails where LoRA was seen to forget more, holds where less, and is open where these runs do not tell."""
    told, full = found.told, found.full
    if told is None or full is None or found.withheld or found.is_reported:
        return None
    difference = forgotten(told.arm, full)
    if difference is None:
        is_target = told.arm.setting.source == told.arm.setting.task
        return None if is_target else Check(Outcome.UNKNOWN, "Forgetting was not measured.")
    name, mean = told.arm.name, difference.interval.mean
    rates = "at one rate" if told.arm.learning_rate == full.learning_rate else "each at its own rate"
    if difference.holds_zero:
        return Check(Outcome.OPEN, f"No clear difference in forgetting ({rates}).", mean)
    word, outcome = ("more", Outcome.FAILS) if mean > 0 else ("less", Outcome.HOLDS)
    return Check(outcome, f"{name} forgot {size_text(difference)} {word} ({rates}){_at_equal(found)}.", mean)


def forgotten(arm: Arm, full: Arm) -> Difference | None:
    """Forgetting of one setting minus that of full fine-tuning; None where it says nothing."""
    if arm.setting.source is None or arm.setting.source == arm.setting.task:
        return None  # nothing was learned before that could be forgotten
    # With classes left out, plain forgetting mostly shows which outputs the head now prefers.
    (found,) = paired_differences([(arm, full)], FORGETTING_MASKED if arm.spec.is_split else FORGETTING)
    return found if math.isfinite(found.interval.half_width) else None


def _at_equal(found: Place) -> str:
    """What was seen at equal accuracy, at the highest that both reach."""
    if not found.at_equal or len(found.at_equal[0].values) < MIN_SEEDS:
        return ""
    highest = max(found.at_equal, key=lambda equal: equal.level)
    if not highest.leaves_out_zero:
        return f"; alike at equal {highest.measure.noun}"
    return f"; {'more' if highest.interval.mean > 0 else 'less'} at equal {highest.measure.noun}"
