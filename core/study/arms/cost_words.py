"""What the setting of a verdict costs beside full fine-tuning, in sentences."""

from __future__ import annotations

from core.numbers import bytes_text, count_text, counted, times_text
from core.results.arm import Arm
from core.results.measures import EACH
from core.rule.place import Place
from core.rule.tuning import reference_name
from core.study.arms.forgetting_clause import forgetting_clause


def costs(verdict: Place) -> str:
    """What the setting of the verdict costs beside full fine-tuning: parameters, storage, forgetting; else empty."""
    told, full = verdict.told, verdict.full
    if told is None or full is None or verdict.reason or not (full.trained and told.arm.trained):
        return ""
    arm, many, few = told.arm, full.trained, told.arm.trained
    ratio = f"{times_text(many / few)} times fewer" if few < many else f"{times_text(few / many)} times as many"
    trains = f"{arm.name} trains {ratio} parameters ({count_text(few)} instead of {count_text(many)})."
    forgot = forgetting_clause(arm, full, verdict.at_equal)
    return " ".join(filter(None, [trains, _stored(arm, full), f"Forgetting: {forgot}." if forgot else ""]))


def _stored(arm: Arm, full: Arm) -> str:
    """What an adapter setting takes to store, its base counted, and from how many customers on that is less."""
    if not arm.values("adapter_bytes"):
        return ""
    base, whole = arm.bytes_for(0), full.bytes_for(1)
    each = arm.bytes_for(1) - base
    less = "more for any number of customers"
    if each < whole:
        less = f"less from {counted(int(base // (whole - each)) + 1, 'customer')} on"
    return (
        f"{EACH}, {arm.name} is stored as one base of {bytes_text(base)} and {bytes_text(each)} for each customer, "
        f"{reference_name(full)} as {bytes_text(whole)} for each: {arm.name} takes {less}."
    )
