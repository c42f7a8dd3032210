"""Whether fine-tuning the network is better than training only its head."""

from __future__ import annotations

from core.answer.check import Check, Outcome
from core.rule.controls import is_clearly_better
from core.rule.place import Place
from core.rule.words import size_text


def check(found: Place) -> Check | None:
    """Fails where full fine-tuning is not clearly better; not measured where no head was trained beside."""
    if found.controls is None or found.is_reported:
        return None
    head = found.controls.head
    if head is None:
        return Check(Outcome.UNKNOWN, "Training only the head was not tried.")
    size, mean = size_text(head), head.interval.mean
    if is_clearly_better(head):
        return Check(Outcome.HOLDS, f"Full fine-tuning beats training only the head by {size}.", mean)
    return Check(Outcome.FAILS, "Full fine-tuning does not clearly beat training only the head.", mean)
