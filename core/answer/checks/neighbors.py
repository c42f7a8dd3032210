"""Whether the claim also holds at the learning rates and numbers of epochs beside those chosen."""

from __future__ import annotations

from core.answer.check import Check, Outcome, names
from core.results.arm import Arm, all_arms
from core.rule.claims import size_text
from core.rule.place import Place
from core.rule.withheld import NextStep, paired_differences


def check(found: Place) -> Check | None:
    """Fails where the claim is not shown at neighbors, which is then no claim about methods; open where one was
    better on the test part. None without a claim and without such a one.
    """
    told, claim = found.told, found.claim
    if told is None or found.withheld:
        return None
    better = next(filter(None, (_better_tested(found, arm) for arm in found.compared)), "")
    if claim is None:
        return Check(Outcome.OPEN, better) if better else None
    if found.is_given or found.lacking:
        step = NextStep.RATES if found.step is NextStep.RATES else None
        return Check(
            Outcome.UNKNOWN,
            f"Neighboring rates of {names(found.lacking)} were not trained with every seed.",
            step=step,
        )
    if not claim.about_methods:
        return Check(Outcome.FAILS, f"This is not shown at the {told.neighbors}.")
    if better:
        return Check(Outcome.OPEN, better)
    return Check(Outcome.HOLDS, f"The {told.neighbors} agree.")


def _better_tested(found: Place, chosen: Arm) -> str:
    """That another rate or length of a setting's method and rank is better on the test part by more than the margin;
    empty where none is. The validation part chose, and to choose by the test part would be no fair estimate.
    """
    tried = [arm.finished_only for arm in all_arms(found.rows) if arm.finished and not arm.failed]
    own = next(arm for arm in tried if arm.key == chosen.key)
    alike = [arm for arm in tried if arm.setting.group[:-1] == own.setting.group[:-1] and arm is not own]
    sign = own.what().sign
    differences = paired_differences([(arm, own) for arm in alike], own.primary)
    ahead = [
        (sign * each.interval.mean, arm, each)
        for arm, each in zip(alike, differences, strict=True)
        if sign * each.interval.mean > found.margin and not each.holds_zero
    ]
    if not ahead:
        return ""
    _, best, difference = max(ahead, key=lambda one: one[0])
    epochs = f" for {best.setting.epochs} epochs" if best.setting.epochs != own.setting.epochs else ""
    return f"On the test part {names([best])} at {best.learning_rate:g}{epochs} was {size_text(difference)} better."
