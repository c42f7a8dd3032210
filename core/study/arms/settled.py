"""Whether a setting has been trained well: whether longer training would change what is said of it.

A setting is settled where three times its epochs would make the mean of its primary measure on the validation part
better by less than half the margin, improving where they would make it better at all, and else it is not known. The
test is on what each seed would gain, :func:`core.plan.course.gain`.

A difference holds on where it would still be there with three times the epochs, if each seed of both settings gained
that much. That can be known of settings which are not settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from statistics import fmean

from core.numbers import count_text, listed
from core.plan.course import gain
from core.study.arms.arm import Arm
from core.study.arms.tuning import name_in_sentence
from core.study.stats.claims import Difference
from core.study.stats.intervals import ERROR_RATE, MIN_SEEDS, t_interval


class Course(StrEnum):
    """What longer training would do to a setting."""

    SETTLED = "settled"
    IMPROVING = "improving"
    UNKNOWN = "not known"


def course_of(arm: Arm) -> Course:
    """What longer training would do to a setting; not known where it is not known of each of its finished runs."""
    found = list(gains_of(arm).values())
    return course_by(found, arm.spec.objective.margin) if len(found) == len(arm.finished) else Course.UNKNOWN


def course_by(gains: Sequence[float], margin: float) -> Course:
    """What longer training would do, by one-sided 95 % t limits of the mean of what the seeds would gain.

    Args:
        gains: of each seed, positive where it gets better.
        margin: of the experiment.
    """
    if len(gains) < MIN_SEEDS:
        return Course.UNKNOWN
    limits = t_interval(gains, 2 * ERROR_RATE)
    if limits.high < margin / 2:
        return Course.SETTLED
    return Course.IMPROVING if limits.low > 0 else Course.UNKNOWN


def gains_of(arm: Arm) -> dict[int, float]:
    """What three times the epochs would add, by seed, of the finished runs of which it is known."""
    found = {seed: gain(run, arm.shorter.get(seed)) for seed, run in arm.finished.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def was_no_better(arms: Iterable[Arm]) -> bool:
    """Whether training longer was tried and is not shown to have made any of these settings better on the validation
    part: of what the seeds gained over a third of the epochs the one-sided 95 % t limit is not above 0; with fewer than
    three seeds their mean. False where nothing was trained for a third of the epochs.
    """
    gained = [found for arm in arms if (found := _gained(arm))]
    lows = [t_interval(own, 2 * ERROR_RATE).low if len(own) >= MIN_SEEDS else fmean(own) for own in gained]
    return bool(lows) and max(lows) <= 0


def is_in_vain(arms: Sequence[Arm]) -> bool:
    """The same of settings whose own trends do not say whether more of it would help."""
    return all_settled(arms) is None and was_no_better(arms)


def _gained(arm: Arm) -> list[float]:
    """By how much each seed that was trained for a third of the epochs, too, is better on the validation part."""
    values = [(run.validated, arm.shorter[seed].validated) for seed, run in arm.finished.items() if seed in arm.shorter]
    sign = arm.spec.objective.primary.sign
    return [sign * (own - before) for own, before in values if own is not None and before is not None]


def holds_on(difference: Difference, arm: Arm, full: Arm, margin: float | None = None) -> bool | None:
    """Whether a difference would be there with three times the epochs: the 95 % t interval of its values, each with
    what its seed would gain, excludes 0 on the same side. None where too few gains are known.

    Args:
        difference: of the primary measure, the setting minus full fine-tuning.
        arm: the setting.
        full: full fine-tuning.
        margin: how much worse it may be, where it is to stay within that; None where it is to stay better, or worse.
    """
    ours, theirs, sign = gains_of(arm), gains_of(full), difference.what.sign
    by_seed = dict(zip(difference.seeds, difference.values, strict=True))
    if not set(by_seed) <= ours.keys() & theirs.keys() or len(by_seed) < MIN_SEEDS:
        return None
    longer = t_interval([sign * value + ours[seed] - theirs[seed] + (margin or 0.0) for seed, value in by_seed.items()])
    return longer.high < 0 if margin is None and not difference.is_better else longer.low > 0


def all_settled(arms: Iterable[Arm]) -> bool | None:
    """Whether all of these settings are settled; None where that is not known of one, and none is improving."""
    courses = {course_of(arm) for arm in arms}
    if Course.IMPROVING in courses:
        return False
    return True if courses == {Course.SETTLED} else None


def updates_of(arms: Iterable[Arm]) -> int:
    """Number of updates of the longest of these runs."""
    return max((run.result.steps for arm in arms for run in arm.finished.values() if run.result), default=0)


def updates_text(arms: Iterable[Arm]) -> str:
    """The length of the longest of these runs in words, as in ``1,200 updates``."""
    updates = updates_of(arms)
    return f"{count_text(updates)} updates" if updates else "the training reported,"


def course_sentences(arms: Sequence[Arm], holds: bool | None = None, at_rates: bool = False) -> list[str]:
    """Whether longer training would change what is said of some settings.

    Args:
        arms: the settings.
        holds: what :func:`holds_on` says of their difference; None also where nothing is said of it.
        at_rates: whether what is said of them holds at their learning rates alone.
    """
    by_course: dict[Course, list[str]] = {}
    for arm in arms:
        by_course.setdefault(course_of(arm), []).append(name_in_sentence(arm.name))
    if set(by_course) == {Course.SETTLED}:
        objective = arms[0].spec.objective
        half = objective.primary.amount_text(objective.margin / 2)
        names = listed([name for own in by_course.values() for name in own])
        return [f"Settled: three times the epochs are projected to add at most {half} to {names}."]
    if holds:
        where = " at these learning rates" if at_rates else ""
        return [f"The difference is projected to remain with three times the epochs{where}."]
    found = []
    if improving := by_course.get(Course.IMPROVING):
        were = "was" if len(improving) == 1 else "were"
        start = f"After {updates_text(arms)} {listed(improving)} {were} still improving"
        found.append(f"{start}: this says which learns faster, not which ends higher.")
    if unknown := by_course.get(Course.UNKNOWN):
        found.append(f"Whether longer training would change {listed(unknown)} is not known.")
    return found
