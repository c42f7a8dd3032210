"""What fine-tuning gained over the base, of measures that do not say it alone."""

from __future__ import annotations

from statistics import fmean

from core.numbers import capitalized
from core.results.arm import Arm
from core.results.measures import GAIN
from core.rule.tuning import name_in_sentence


def gain_of(arm: Arm) -> float | None:
    """What a setting gained over its base on average; None of percentages, and where not every seed tells."""
    gains = arm.finished_only.values(GAIN)
    is_known = bool(gains) and len(gains) == len(arm.finished)
    return fmean(gains) if is_known and arm.setting.objective.primary.unit != "%" else None


def gain_sentence(arm: Arm) -> str:
    """The same where one method alone was trained, as in ``LoRA r=4 went from 1.02 before fine-tuning to 0.90.``"""
    gain, measure = gain_of(arm), arm.setting.objective.primary
    if gain is None:
        return ""
    reached = arm.tested.mean
    before, after = measure.text(reached - measure.sign * gain), measure.text(reached)
    return f"{capitalized(name_in_sentence(arm.name))} went from {before} before fine-tuning to {after}."
