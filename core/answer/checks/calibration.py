"""Whether the adapter setting's probabilities are as good as those of full fine-tuning."""

from __future__ import annotations

import math

from core.answer.check import Check, Outcome
from core.objectives.classification import CALIBRATION_ERROR
from core.rule.claims import size_text
from core.rule.place import Place
from core.rule.withheld import paired_differences


def check(found: Place) -> Check | None:
    """Fails where LoRA was seen to be worse calibrated, holds where better, and is open where these runs do not tell.

    None where there are no probabilities, and for runs of versions that did not measure it.
    """
    told, full, name = found.told, found.full, CALIBRATION_ERROR.name
    if told is None or full is None or name not in full.setting.objective.all_measures:
        return None
    if not all(arm.values(name) for arm in (full, told.arm)):
        return None
    (difference,) = paired_differences([(told.arm, full)], name)
    mean = difference.interval.mean
    if not math.isfinite(difference.interval.half_width) or difference.holds_zero:
        return Check(Outcome.OPEN, "No clear difference in calibration (ECE).", mean)
    word, outcome = ("worse", Outcome.FAILS) if mean > 0 else ("better", Outcome.HOLDS)
    return Check(outcome, f"{told.arm.name}'s probabilities are {size_text(difference)} {word} calibrated (ECE).", mean)
