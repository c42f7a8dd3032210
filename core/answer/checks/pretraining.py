"""Whether the base is worth anything on the task: full fine-tuning against a network from random weights."""

from __future__ import annotations

from core.answer.check import Check, Outcome
from core.rule.controls import is_clearly_better
from core.rule.place import Place
from core.rule.words import size_text


def check(found: Place) -> Check | None:
    """Fails where full fine-tuning is not clearly better than training from scratch."""
    if found.controls is None or found.is_reported:
        return None
    scratch = found.controls.scratch
    if scratch is None:
        return Check(Outcome.UNKNOWN, "Training from scratch was not tried.")
    mean = scratch.interval.mean
    if is_clearly_better(scratch):
        return Check(Outcome.HOLDS, f"Pretraining is worth {size_text(scratch)} on this task.", mean)
    return Check(Outcome.FAILS, "Pretraining is not shown to be worth anything on this task.", mean)
