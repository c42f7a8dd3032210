"""Whether there are enough test examples, known singly, to show that a setting is good enough."""

from __future__ import annotations

from core.answer.check import Check, Outcome
from core.answer.design import examples_needed
from core.numbers import count_text
from core.rule.place import Place
from core.wording.tasks import examples_text, noun


def check(found: Place) -> Check | None:
    """Fails where "good enough" is out of reach with these examples, whatever the number of seeds."""
    told, full = found.told, found.full
    if told is None or full is None or found.withheld or len(told.difference.seeds) < 2:
        return None
    setting, margin = told.arm.setting, found.margin
    kind, measure, within = setting.learns, setting.objective.primary, setting.objective.primary.margin_text(margin)
    if told.crossed.examples < 2:
        return Check(Outcome.UNKNOWN, f"Outputs on single test {noun(kind)} are not known for all runs.")
    examples = examples_text(kind, told.crossed.examples, "test")
    if found.is_saturated:
        easy = "too easy, or too few," if told.is_easy(full) else "too few"
        return Check(Outcome.FAILS, f"{examples} are {easy} to tell the settings apart.", told.crossed.examples)
    if found.needs_examples and found.limits is not None:
        needed = examples_needed(found.limits, margin)
        line = f"{examples} are too few to show “within {within}”: about {count_text(needed)} would do."
        return Check(Outcome.FAILS, line, needed)
    reach = measure.amount_text(found.limits.floor, 1) if found.limits is not None and found.limits.floor else ""
    line = f"{examples} reliably show differences from {reach} on." if reach else f"{examples} are enough."
    return Check(Outcome.HOLDS, line, told.crossed.examples)
