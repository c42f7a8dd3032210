"""Checks against a control: something simpler that was trained beside full fine-tuning."""

from __future__ import annotations

from core.answer.check import Check, Outcome
from core.rule.claims import Difference, size_text
from core.rule.controls import is_clearly_better


def against(control: Difference | None, untried: str, holds: str, fails: str) -> Check:
    """Holds where full fine-tuning is clearly better than a control.

    Args:
        control: full fine-tuning minus the control; None where it was not trained.
        untried: the line where that is so.
        holds: the line where it holds, with ``{}`` for the size of the difference.
        fails: the line where it does not.
    """
    if control is None:
        return Check(Outcome.UNKNOWN, untried)
    mean = control.interval.mean
    if is_clearly_better(control):
        return Check(Outcome.HOLDS, holds.format(size_text(control)), mean)
    return Check(Outcome.FAILS, fails, mean)
