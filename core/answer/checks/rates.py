"""Whether the learning rates of both sides were found, inside the range that was tried."""

from __future__ import annotations

from core.answer.check import Check, Outcome, names
from core.numbers import capitalized, listed
from core.rule.place import Place
from core.rule.tuning import name_in_sentence, rate_choices
from core.rule.withheld import NextStep


def check(found: Place) -> Check:
    """Fails where a chosen rate is the first or last of those tried; open where rates were given."""
    reported = found.is_reported
    if reported and not any(arm.validation for arm in found.compared):
        return Check(Outcome.UNKNOWN, "Learning rates were not chosen here: no validation measure is reported.")
    if given := [arm for arm in found.compared if arm.setting.label in found.rates.one]:
        each = " each" * (len(given) > 1)
        line = f"{capitalized(names(given))} had one given learning rate{each}, not tuned."
        return Check(Outcome.OPEN, line, step=None if reported else NextStep.RATES)
    keys = {arm.key for arm in found.compared}
    ends = [choice for choice in rate_choices(found.rows) if choice.arm.key in keys and choice.at_end]
    if ends:
        told = listed([f"{name_in_sentence(each.arm.setting.label)} {each.arm.learning_rate:g}" for each in ends])
        return Check(Outcome.FAILS, f"Best rates at an end of those tried: {told}.", step=NextStep.RATES)
    best = " and ".join(f"{arm.learning_rate:g}" for arm in found.compared)
    return Check(Outcome.HOLDS, f"Lower and higher learning rates than the best ({best}) were tried.")
