"""Whether both sides are better than the network was before fine-tuning; of measures that do not say it alone."""

from __future__ import annotations

from core.answer.check import Check, Outcome
from core.answer.gain import gain_of
from core.rule.place import Place
from core.rule.tuning import name_in_sentence


def check(found: Place) -> Check | None:
    """Fails where a setting is worse than the base on average; None for percentages, which say enough alone."""
    gains = [gain_of(arm) for arm in found.compared]
    known = [gain for gain in gains if gain is not None]
    if len(known) < len(gains):
        return None
    measure = found.compared[0].setting.objective.primary
    parts = []
    for arm, gain in zip(found.compared, known, strict=True):
        amount = measure.amount_text(gain).removesuffix(f" {measure.difference_unit}")
        parts.append(f"{name_in_sentence(arm.name)} {'−' * (gain < 0)}{amount}")
    outcome = Outcome.HOLDS if min(known) > 0 else Outcome.FAILS
    return Check(outcome, f"Gain over the base in {measure.noun}: {', '.join(parts)}.", min(known))
