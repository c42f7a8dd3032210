"""What controls say of a comparison: whether fine-tuning the network gave anything, and whether the base did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.methods.head import HeadSpec
from core.methods.scratch import ScratchSpec
from core.plan.course import can_be_longer
from core.study.arms.arm import Arm
from core.study.arms.balance import unlearnt, unlearnt_sentence
from core.study.arms.choice import common_seeds, winners
from core.study.arms.family import Tested, differences_between, seen_difference
from core.study.arms.withheld import NextStep, Reason
from core.study.stats.claims import Difference
from core.study.stats.crossed import crossed
from core.study.stats.intervals import MIN_SEEDS
from core.study.stats.words import off_text

CURES = {
    NextStep.SETTINGS: "try other learning rates before adding seeds",
    NextStep.LONGER: "train longer before adding seeds",
    None: "other learning rates and longer training were tried, so the network, its input or the number of training "
    "examples may be the limit",
}
"""What to do, by the next step, as the end of a sentence."""


def unlearned_reason(arms: Sequence[Arm], full: Arm, told: Arm, tested: Tested, trivial: Tested) -> Reason | None:
    """Why nothing is said of two settings: one is not shown to be better than naming the most frequent class, or full
    fine-tuning is not shown to be better than training only the head.

    Args:
        arms: all settings of the comparison.
        full: full fine-tuning.
        told: the setting that the verdict would be about.
        tested: has the measure of each test example.
        trivial: has the same of the answers that need no input.
    """
    step = _cure(arms, (full, told))
    if sentence := unlearnt_sentence([arm for arm in (full, told) if is_unlearnt(arm, tested, trivial)], CURES[step]):
        return Reason(f"No verdict: {sentence}", step)
    head = _beside(HeadSpec.name(), arms, full, tested)
    if head is None or _is_better(head):
        return None
    return Reason(
        f"No verdict: full fine-tuning is not shown to be better than training only the head; it was {off_text(head)}. "
        f"These runs do not tell what fine-tuning the network gives: {CURES[step]}.",
        step,
    )


def _cure(arms: Sequence[Arm], compared: Sequence[Arm]) -> NextStep | None:
    """What may help settings that learned too little; None where other rates and longer training were tried."""
    if any(sum(other.tuning_group == arm.tuning_group for other in arms) < 2 for arm in compared):
        return NextStep.SETTINGS
    can_be = all(can_be_longer(arm.spec.optim) and not arm.shorter for arm in compared)
    return NextStep.LONGER if can_be else None


def is_unlearnt(arm: Arm, tested: Tested, trivial: Tested) -> bool:
    """Whether the 95 % interval of what a setting is better than trivial answers, over seeds and test examples, does
    not lie above 0; with fewer than three seeds its mean. Where examples are not known, over seeds alone.
    """
    pairs = [(tested(run), trivial(run)) for run in arm.finished.values()]
    known = [own - base for own, base in pairs if own is not None and base is not None and len(own) == len(base)]
    if len(known) < len(pairs) or not known:
        return bool(unlearnt([arm]))
    found = crossed(arm.what(arm.primary).sign * np.stack(known))
    return (found.interval().low if len(known) >= MIN_SEEDS else found.mean) <= 0


def scratch_sentence(arms: Sequence[Arm], full: Arm, tested: Tested) -> str:
    """That the base was of no use, where training from scratch was as good as full fine-tuning; else empty."""
    scratch = _beside(ScratchSpec.name(), arms, full, tested)
    if scratch is None or _is_better(scratch):
        return ""
    return (
        f"Against training from scratch, full fine-tuning was {off_text(scratch)}: pretraining is not shown to be "
        "worth anything on this task."
    )


def _beside(kind: str, arms: Sequence[Arm], full: Arm, tested: Tested) -> Difference | None:
    """Full fine-tuning minus a control; None where it was not trained with two common seeds."""
    control = next((arm for arm in winners(arms) if arm.spec.kind == kind), None)
    seeds = common_seeds([full, control]) if control is not None else ()
    if control is None or len(seeds) < 2:
        return None
    return seen_difference(full, control, seeds, differences_between(full, control, seeds, tested))


def _is_better(difference: Difference) -> bool:
    """Whether the whole interval is on the better side."""
    return difference.is_better and not difference.holds_zero
