"""Whether training for longer, or for less long, would change the claim."""

from __future__ import annotations

from core.answer.check import Check, Outcome, names
from core.numbers import capitalized
from core.results.arm import Arm
from core.results.grid import gained
from core.rule.place import About, Place
from core.rule.settled import Course, by_course, updates_text
from core.rule.withheld import NextStep

UNKNOWN = "What longer training would bring is not known."


def check(found: Place) -> Check:
    """Fails where a setting was still improving, or did better with fewer epochs."""
    arms = found.compared
    courses = by_course(arms)
    step = found.step
    step = step if step in (NextStep.LONGER, NextStep.EPOCHS) and not found.is_reported else None
    if set(courses) == {Course.SETTLED}:
        return Check(Outcome.HOLDS, _settled(arms))
    if over := courses.get(Course.OVERTRAINED):
        line = f"{capitalized(names(over))} did better on validation with a third of the epochs."
        return Check(Outcome.FAILS, line, step=step)
    if found.holds_on:
        where = " at these rates" if found.about is About.RATES else ""
        return Check(Outcome.HOLDS, f"Tripling the epochs should not change this{where}.")
    if improving := courses.get(Course.IMPROVING):
        were = "was" if len(improving) == 1 else "were"
        most = "" if found.can_be_longer else ", the most allowed"
        line = f"{capitalized(names(improving))} {were} still improving after {updates_text(improving)}{most}."
        return Check(Outcome.FAILS, line, step=step)
    return Check(Outcome.UNKNOWN, UNKNOWN, step=step)


def _settled(arms: list[Arm]) -> str:
    """How it is known that all settings are settled."""
    objective = arms[0].setting.objective
    half = objective.primary.amount_text(objective.margin / 2)
    if not all(gained(arm, longer=True) is not None for arm in arms):
        return f"Three times the epochs are projected to add at most {half}."
    if all(gained(arm, longer=False) is not None for arm in arms):
        return f"Neither three times nor a third of the epochs is better by {half}."
    return f"Three times the epochs is not better by {half}; a third was not tried."
