"""Whether fine-tuning the network is better than training only its head."""

from __future__ import annotations

from core.answer.check import Check
from core.answer.control import against
from core.rule.place import Place


def check(found: Place) -> Check | None:
    """Fails where full fine-tuning is not clearly better; not measured where no head was trained beside."""
    if found.controls is None or found.is_reported:
        return None
    return against(
        found.controls.head,
        "Training only the head was not tried.",
        "Full fine-tuning beats training only the head by {}.",
        "Full fine-tuning does not clearly beat training only the head.",
    )
