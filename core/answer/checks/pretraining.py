"""Whether the base is worth anything on the task: full fine-tuning against a network from random weights."""

from __future__ import annotations

from core.answer.check import Check
from core.answer.control import against
from core.rule.place import Place


def check(found: Place) -> Check | None:
    """Fails where full fine-tuning is not clearly better than training from scratch."""
    if found.controls is None or found.is_reported:
        return None
    return against(
        found.controls.scratch,
        "Training from scratch was not tried.",
        "Pretraining is worth {} on this task.",
        "Pretraining is not shown to be worth anything on this task.",
    )
