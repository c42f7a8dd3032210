"""What is left of the difference where both sides train for equally many epochs; seen, and never tested."""

from __future__ import annotations

from core.answer.check import Check, Outcome
from core.rule.claims import size_text
from core.rule.place import Place


def check(found: Place) -> Check | None:
    """Open where the difference changes its sign or its interval holds 0; None where the chosen epochs are equal."""
    told = found.told
    if told is None or not found.at_equal_epochs:
        return None
    known = [(at.epochs, at.difference) for at in found.at_equal_epochs if at.difference is not None]
    if not known:
        return Check(Outcome.UNKNOWN, "The settings were not trained for equally many epochs.")
    measure = told.arm.setting.objective.primary
    sizes = [size_text(each) for _, each in known]
    sizes = [sizes[0], *(size.removesuffix(f" {measure.difference_unit}") for size in sizes[1:])]
    sides = [measure.better if each.is_better else measure.worse for _, each in known]
    is_one = len(set(sides)) == 1
    parts = [
        f"{size}{'' if is_one else f' {side}'} (after {epochs})"
        for size, side, (epochs, _) in zip(sizes, sides, known, strict=True)
    ]
    agrees = all(each.is_better is told.difference.is_better and not each.holds_zero for _, each in known)
    line = f"Equal epochs: {told.arm.name} {' and '.join(parts)}{f' {sides[0]}' if is_one else ''}."
    return Check(Outcome.HOLDS if agrees else Outcome.OPEN, line, known[-1][1].interval.mean)
