"""What tells beside a comparison whether it means anything: trivial answers, controls, and the test examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.methods.head import HeadSpec
from core.methods.scratch import ScratchSpec
from core.numbers import capitalized, count_text, listed, number_text, percent
from core.objectives.classification import ACCURACY, LARGEST_CLASS
from core.results.arm import Arm
from core.results.choice import winners
from core.results.grid import can_be_longer, common_seeds, most_epochs
from core.results.intervals import MIN_SEEDS, Interval
from core.results.measures import digits_of, ends_text, value_text
from core.results.results import Outcomes
from core.results.row import Row
from core.rule.claims import Difference, off_text
from core.rule.differences import seen_difference
from core.rule.family import crossed
from core.rule.settled import all_settled, updates_text
from core.rule.tuning import name_in_sentence
from core.rule.withheld import NOT_YET, NextStep, Reason
from core.wording.tasks import examples_text, noun

MIN_IMAGES = 1000
"""Number of test images below which a page warns that other images may give other differences."""


@dataclass(frozen=True)
class ImageFacts:
    """What the number of test images, and of their classes, means for an accuracy."""

    images: int
    classes: int
    chance: float
    """Percent that the best guess without looking reaches: the share of the largest class."""
    worth: float
    """Points of accuracy that one image is worth; infinite without images."""
    kind: str = "image"
    """What the data consist of; see :func:`core.wording.tasks.noun`."""

    @property
    def sentence(self) -> str:
        """Number of images, what one is worth, and the chance level."""
        if not self.images:
            return f"There are no test {noun(self.kind)}."
        even = math.isclose(self.chance * self.classes, 100)
        guess = f"Guessing among {self.classes} classes" if even else "Always naming the most frequent class"
        # Two significant digits, and at least two decimals.
        worth = number_text(self.worth, max(2, 1 - math.floor(math.log10(self.worth))))
        return (
            f"{examples_text(self.kind, self.images, 'test')}: one is worth {worth} points. "
            f"{guess} reaches {percent(self.chance, 1)}."
        )

    @property
    def warning(self) -> str:
        """Why a difference may not hold for other images; empty from :data:`MIN_IMAGES` on."""
        if self.images >= MIN_IMAGES:
            return ""
        return (
            f"There are only {examples_text(self.kind, self.images, 'test')}. Intervals over seeds hold for these "
            f"{noun(self.kind)}; with fewer than {count_text(MIN_IMAGES)}, other {noun(self.kind)} may give a "
            "noticeably different result."
        )


def image_facts(labels: Sequence[int] | NDArray[np.integer], kind: str = "image") -> ImageFacts:
    """State what the test images of a task can tell. Args: labels: (n,) true labels; kind: what the data consist of."""
    counts = np.unique(np.asarray(labels), return_counts=True)[1]
    images = int(counts.sum())
    if not images:
        return ImageFacts(0, 0, math.nan, math.inf, kind)
    return ImageFacts(images, len(counts), 100 * int(counts.max()) / images, 100 / images, kind)


def largest_class(row: Row) -> float | None:
    """Percent of the test part that is of its most frequent class; None for runs of earlier versions."""
    return row.measures.get(LARGEST_CLASS)


def share_sentence(row: Row, kind: str) -> str:
    """What share of the test part the largest class has, of data of a kind; empty for runs of earlier versions."""
    share = largest_class(row)
    if share is None:
        return ""
    return f"The largest class has {percent(share, 1)} of the test {noun(kind)}."


def misleading_sentence(row: Row) -> str:
    """Why accuracy misleads on the task of a run of this lab; empty where it does not.

    It does where always naming the largest class is right more often than not because the classes are not balanced:
    that class has more than half of the test part, and more than 1.5 times its share of 100 / k percent. That is 75 %
    of two classes, and 50 % of three or more.
    """
    share, spec = largest_class(row), row.setting.spec
    if share is None or spec is None:
        return ""
    classes = len(spec.task.classes) if spec.task.classes is not None else spec.network.num_classes
    if share <= max(50.0, UNBALANCED * 100 / classes):
        return ""
    return (
        f"Accuracy misleads here: {percent(share, 1)} of the test {noun(row.setting.learns)} are of "
        "one class, so always naming it would be that accurate. Macro-F1 counts every class alike."
    )


UNBALANCED = 1.5
"""How many times its share among equally frequent classes the largest class must have for accuracy to mislead."""


@dataclass(frozen=True, eq=False)
class Controls:
    """What tells beside a comparison whether it means anything."""

    unlearned: tuple[Arm, ...]
    """Those of the two settings that are not shown to be better than answers that need no input."""
    above: tuple[Interval | None, ...]
    """What each of these is better than such answers; None where that is not known of each test example."""
    knows_trivial: bool
    """Whether it is known what such answers reach."""
    head: Difference | None
    """Full fine-tuning minus training only the head; None where that was not trained with two common seeds."""
    scratch: Difference | None
    """Full fine-tuning minus training from scratch, likewise."""


def controls_of(arms: Sequence[Arm], full: Arm, told: Arm, tested: Outcomes, trivial: Outcomes) -> Controls:
    """The controls of full fine-tuning and the setting that the verdict would be about, among all of a comparison;
    ``trivial`` has the outcomes of answers that need no input.
    """
    above = [(arm, _above_trivial(arm, tested, trivial)) for arm in (full, told)]
    short = [(arm, better) for arm, better in above if _falls_short(arm, better)]
    return Controls(
        tuple(arm for arm, _ in short),
        tuple(better for _, better in short),
        all(better is not None or largest_class(arm.rows[0]) is not None for arm, better in above),
        _beside(HeadSpec.name(), arms, full, tested),
        _beside(ScratchSpec.name(), arms, full, tested),
    )


def unlearned_reason(
    found: Controls, arms: Sequence[Arm], full: Arm, told: Arm, tested: Outcomes, ends: Reason | None
) -> Reason | None:
    """Why nothing is said of two settings: one is not shown to be better than naming the most frequent class, a rate is
    at an end of those tried, or full fine-tuning is not shown to be better than training only the head.

    Args: see :func:`controls_of`; ends: that rates are at an end, which then says what to do; see
        :func:`core.rule.withheld.ends_reason`.
    """
    if short := found.unlearned:
        if ends:
            step, cure = ends.next_step, capitalized(ends.text.removeprefix(NOT_YET))
        else:
            step, cure = _cure(arms, (full, told), short)
        who = f"{name_in_sentence(short[0].name)} ({value_of(short[0])}) does not clearly beat"
        if len(short) > 1:
            who = "neither setting clearly beats"
        values = listed([f"{name_in_sentence(arm.name)} {value_of(arm)}" for arm in short])
        reached = f"After {updates_text((full, told))}: {values}."
        more = (reached, _interval_words(found, tested), cure)
        return Reason(f"No verdict: {who} {trivial_words(full)}.", step, more=" ".join(filter(None, more)))
    if ends is not None or found.head is None or is_clearly_better(found.head):
        return ends
    step, cure = _cure(arms, (full, told), [full])
    return Reason(
        "No verdict: full fine-tuning does not clearly beat training only the head.",
        step,
        more=f"After {updates_text((full, told))} it was {off_text(found.head)}. {cure}".rstrip(),
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
    """What may help where settings learned too little, and a sentence where no button does it.

    Args:
        arms: all of the comparison.
        compared: the two settings.
        short: those that learned too little.
    """
    is_reported = compared[0].rows[0].run is None
    if any(sum(other.setting.group == arm.setting.group for other in arms) < 2 for arm in compared):
        return NextStep.SETTINGS, "Try other learning rates before adding seeds." if is_reported else ""
    if not all(can_be_longer(most_epochs(arm)) for arm in compared):
        why = "was as long as an experiment may be"
    elif all_settled(short):
        why = "for longer is projected to add little"
    else:
        return NextStep.LONGER, "Train longer before adding seeds." if is_reported else ""
    return None, (
        f"Other learning rates were tried, and training {why}: the network, its input, or the number of training or "
        "test examples may be the limit."
    )


def is_unlearnt(arm: Arm, tested: Outcomes, trivial: Outcomes) -> bool:
    """Whether the 95 % interval of what a setting is better than trivial answers, over seeds and test examples, does
    not lie above 0; with fewer than three seeds the one over test examples. Where examples are not known, the interval
    of its accuracy over seeds is compared with the share of the largest class, and with fewer than three the mean.
    """
    return _falls_short(arm, _above_trivial(arm, tested, trivial))


def _falls_short(arm: Arm, better: Interval | None) -> bool:
    """The same. Args: better: what the setting is better than trivial answers; see :func:`_above_trivial`."""
    if better is not None:
        return (better.low if math.isfinite(better.low) else better.mean) <= 0
    share = largest_class(arm.rows[0])
    if share is None:  # an earlier version, or an objective without classes
        return False
    accuracy = arm.interval(ACCURACY.name)
    return (accuracy.low if accuracy.n >= MIN_SEEDS else accuracy.mean) <= share


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


def _interval_words(controls: Controls, tested: Outcomes) -> str:
    """By what the settings that learned too little were judged, in a sentence; empty where the means say enough."""
    found, known = controls.unlearned, [each for each in controls.above if each is not None]
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
    return seen_difference(full, control, seeds, tested)


def is_clearly_better(difference: Difference) -> bool:
    """Whether the whole interval is on the better side."""
    return difference.is_better and not difference.holds_zero
