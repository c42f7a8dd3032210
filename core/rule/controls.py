"""What controls say of a comparison: whether fine-tuning the network gave anything, and whether the base did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.methods.head import HeadSpec
from core.methods.scratch import ScratchSpec
from core.numbers import capitalized, listed, percent
from core.objectives.classification import ACCURACY
from core.results.arm import Arm
from core.results.choice import winners
from core.results.epochs import common_seeds, most_epochs
from core.results.intervals import MIN_SEEDS, Interval
from core.results.length import can_be_longer
from core.results.measures import digits_of, ends_text, value_text
from core.results.results import Outcomes
from core.rule.balance import largest_class, unlearnt
from core.rule.claims import Difference
from core.rule.crossed import crossed
from core.rule.differences import differences_between, seen_difference
from core.rule.settled import all_settled, updates_text
from core.rule.tuning import name_in_sentence
from core.rule.withheld import NOT_YET, NextStep, Reason
from core.rule.words import off_text
from core.wording.tasks import examples_text

CURES = {
    NextStep.SETTINGS: "Try other learning rates before adding seeds.",
    NextStep.LONGER: "Train longer before adding seeds.",
    None: "Other learning rates were tried, and training {}: the network, its input, or the number of training or test "
    "examples may be the limit.",
}
"""What to do, by the next step; where there is none, with why training is not made longer."""


@dataclass(frozen=True, eq=False)
class Controls:
    """What tells beside a comparison whether it means anything."""

    unlearned: tuple[Arm, ...]
    """Those of the two settings that are not shown to be better than answers that need no input."""
    knows_trivial: bool
    """Whether it is known what such answers reach."""
    head: Difference | None
    """Full fine-tuning minus training only the head; None where that was not trained with two common seeds."""
    scratch: Difference | None
    """Full fine-tuning minus training from scratch, likewise."""


def controls_of(arms: Sequence[Arm], full: Arm, told: Arm, tested: Outcomes, trivial: Outcomes) -> Controls:
    """The controls of two settings.

    Args:
        arms: all settings of the comparison.
        full: full fine-tuning.
        told: the setting that the verdict would be about.
        tested: has the measure of each test example.
        trivial: has the same of the answers that need no input.
    """
    above = [(arm, _above_trivial(arm, tested, trivial)) for arm in (full, told)]
    return Controls(
        tuple(arm for arm, better in above if _is_unlearnt(arm, better)),
        all(better is not None or largest_class(arm.rows[0]) is not None for arm, better in above),
        _beside(HeadSpec.name(), arms, full, tested),
        _beside(ScratchSpec.name(), arms, full, tested),
    )


def unlearned_reason(
    found: Controls, arms: Sequence[Arm], full: Arm, told: Arm, tested: Outcomes, trivial: Outcomes, ends: Reason | None
) -> Reason | None:
    """Why nothing is said of two settings: one is not shown to be better than naming the most frequent class, a rate is
    at an end of those tried, or full fine-tuning is not shown to be better than training only the head.

    Args: see :func:`controls_of`; ends: that rates are at an end, which then says what to do; see
        :func:`core.rule.withheld.ends_reason`.
    """
    if short := found.unlearned:
        step, cure = (
            (ends.next_step, f"{capitalized(ends.text.removeprefix(NOT_YET))} {ends.more}")
            if ends
            else (_cure(arms, (full, told), short))
        )
        learned = [
            f"{capitalized(name_in_sentence(arm.name))} ({value_of(arm)}) is better than that."
            for arm in (full, told)
            if arm not in short
        ]
        who = f"{name_in_sentence(short[0].name)} ({value_of(short[0])}) does not clearly beat"
        if len(short) > 1:
            who = "neither setting clearly beats"
        values = listed([f"{name_in_sentence(arm.name)} {value_of(arm)}" for arm in short])
        reached = f"After {updates_text((full, told))}: {values}."
        more = (reached, _interval_words(short, tested, trivial), *learned, cure)
        return Reason(f"No verdict: {who} {trivial_words(full)}.", step, more=" ".join(filter(None, more)))
    if ends is not None:
        return ends
    if found.head is None or is_clearly_better(found.head):
        return None
    step, cure = _cure(arms, (full, told), [full])
    return Reason(
        "No verdict: full fine-tuning does not clearly beat training only the head.",
        step,
        more=f"After {updates_text((full, told))} it was {off_text(found.head)}. These runs do not tell what "
        f"fine-tuning the network gives. {cure}",
    )


def trivial_words(arm: Arm) -> str:
    """What an answer that needs no input is, as in ``always naming one class (33.0 %)``. Args: arm: of the task."""
    share = largest_class(arm.rows[0])
    return "answers that need no input" if share is None else f"always naming one class ({percent(share, 1)})"


def value_of(arm: Arm) -> str:
    """The mean of a setting on the test part: accuracy where its classes are known."""
    if largest_class(arm.rows[0]) is not None:
        return percent(arm.interval(ACCURACY.name).mean, 1)
    return value_text(arm.what(), arm.interval(arm.primary).mean, 1)


def _cure(arms: Sequence[Arm], compared: Sequence[Arm], short: Sequence[Arm]) -> tuple[NextStep | None, str]:
    """What may help where settings learned too little, and the same in words; ``short`` are those that did."""
    if any(sum(other.setting.group == arm.setting.group for other in arms) < 2 for arm in compared):
        return NextStep.SETTINGS, CURES[NextStep.SETTINGS]
    if not all(can_be_longer(most_epochs(arm)) for arm in compared):
        return None, CURES[None].format("was as long as an experiment may be")
    if all_settled(short):
        return None, CURES[None].format("for longer is projected to add little")
    return NextStep.LONGER, CURES[NextStep.LONGER]


def is_unlearnt(arm: Arm, tested: Outcomes, trivial: Outcomes) -> bool:
    """Whether the 95 % interval of what a setting is better than trivial answers, over seeds and test examples, does
    not lie above 0; with fewer than three seeds the one over test examples. Where examples are not known, over seeds
    alone, and with fewer than three of them the mean.
    """
    return _is_unlearnt(arm, _above_trivial(arm, tested, trivial))


def _is_unlearnt(arm: Arm, better: Interval | None) -> bool:
    """The same. Args: better: what the setting is better than trivial answers; see :func:`_above_trivial`."""
    if better is None:
        return bool(unlearnt([arm]))
    return (better.low if math.isfinite(better.low) else better.mean) <= 0


def _above_trivial(arm: Arm, tested: Outcomes, trivial: Outcomes) -> Interval | None:
    """What a setting is better than trivial answers, with its interval as of :func:`is_unlearnt`; None where that is
    not known of each test example.
    """
    pairs = [(tested(row), trivial(row)) for row in arm.finished.values()]
    known = [own - base for own, base in pairs if own is not None and base is not None and len(own) == len(base)]
    if len(known) < len(pairs) or not known:
        return None
    values = arm.what(arm.primary).sign * np.stack(known)
    # Two seeds tell next to nothing of others, and their examples tell chance from what was learned all the same.
    return crossed(values if len(known) >= MIN_SEEDS else values.mean(0)[:, np.newaxis]).interval()


def _interval_words(found: Sequence[Arm], tested: Outcomes, trivial: Outcomes) -> str:
    """What :func:`is_unlearnt` judges by, in a sentence; empty where the means say enough."""
    known = [each for arm in found if (each := _above_trivial(arm, tested, trivial))]
    if len(known) == len(found) and all(each.mean <= 0 for each in known):
        return ""
    few = any(len(arm.finished) < MIN_SEEDS for arm in found)
    if len(known) < len(found):
        own = ("interval", "does", "it is") if len(found) == 1 else ("intervals", "do", "they are")
        return "" if few else f"The 95 % {own[0]} over seeds {own[1]} not rule out that {own[2]} no better."
    counted_examples = min(len(values) for row in found[0].rows if (values := tested(row)) is not None)
    examples = examples_text(found[0].setting.learns, counted_examples, "test")
    spans, over = [], f"95 % interval over {'' if few else 'seeds and '}{examples} "
    for arm, better in zip(found, known, strict=True):
        what = arm.what().change
        low, high = sorted(arm.what().sign * end for end in (better.low, better.high))
        interval = Interval(arm.what().sign * better.mean, low, high, better.n)
        mean, ends = value_text(what, interval.mean, digits_of(interval, what)), ends_text(interval, what)
        spans.append(f"{mean} ({over}{ends or mean})" + (f" for {arm.name}" if len(found) > 1 else ""))
        over = ""
    return f"The difference from that is {listed(spans)}."


def _beside(kind: str, arms: Sequence[Arm], full: Arm, tested: Outcomes) -> Difference | None:
    """Full fine-tuning minus a control; None where it was not trained with two common seeds."""
    control = next((arm for arm in winners(arms) if arm.setting.method == kind), None)
    seeds = common_seeds([full, control]) if control is not None else ()
    if control is None or len(seeds) < 2:
        return None
    return seen_difference(full, control, seeds, differences_between(full, control, seeds, tested))


def is_clearly_better(difference: Difference) -> bool:
    """Whether the whole interval is on the better side."""
    return difference.is_better and not difference.holds_zero
