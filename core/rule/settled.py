"""Whether a setting has been trained well: whether another number of epochs would change what is said of it.

A setting is settled where neither three times its epochs nor a third of them are better on the validation part by more
than half the margin, as far as they were tried. What three times as many would add where they were not tried is bounded
by what each seed would gain, :func:`core.results.grid.gain`. A difference holds on where it would still be there with
three times the epochs, which can be known of settings that are not settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from core.numbers import count_text
from core.results.arm import Arm, grouped
from core.results.grid import SETTLED_DIGITS, at_epochs, gain, gained, other_length
from core.results.intervals import ERROR_RATE, MIN_SEEDS, t_interval
from core.rule.claims import Difference

FEW_UPDATES = 50
"""Below this number a network has hardly moved from its base; what is still improving there has to train longer before
more seeds tell anything."""


class Course(StrEnum):
    """What another number of epochs would do to a setting."""

    SETTLED = "settled"
    IMPROVING = "improving"
    OVERTRAINED = "better with fewer epochs"
    UNKNOWN = "not known"


def course_of(arm: Arm) -> Course:
    """What another number of epochs would do to a setting; not known where it was not tried, and is not known of each
    of its finished runs.
    """
    if _is_better(arm, longer=False):
        return Course.OVERTRAINED
    if (is_better := _is_better(arm, longer=True)) is not None:
        return Course.IMPROVING if is_better else Course.SETTLED
    found = list(gains_of(arm).values())
    return course_by(found, arm.setting.objective.margin) if len(found) == len(arm.finished) else Course.UNKNOWN


def by_course(arms: Iterable[Arm]) -> dict[Course, list[Arm]]:
    """Settings by what another number of epochs would do to them; without courses that none has."""
    return grouped(arms, course_of)


def course_by(gains: Sequence[float], margin: float) -> Course:
    """What longer training would do, by one-sided 95 % t limits of the mean of what the seeds would gain; not known
    with fewer than three.
    """
    if len(gains) < MIN_SEEDS:
        return Course.UNKNOWN
    limits = t_interval(gains, 2 * ERROR_RATE)
    if limits.high < margin / 2:
        return Course.SETTLED
    return Course.IMPROVING if limits.low > 0 else Course.UNKNOWN


def gains_of(arm: Arm) -> dict[int, float]:
    """What three times the epochs would add, by seed, of the finished runs of which it is known."""
    third = other_length(arm, longer=False)
    before = {} if third is None else third.finished
    found = {seed: gain(row, before.get(seed)) for seed, row in arm.finished.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def has_better_epochs(arm: Arm) -> bool:
    """Whether another number of epochs was tried and is better by more than half the margin, so that it would be chosen
    if it was trained with all seeds.
    """
    return any(_is_better(arm, longer) for longer in (False, True))


def _is_better(arm: Arm, longer: bool) -> bool | None:
    """Whether three times the epochs, or a third of them, are better by more than half the margin; None where that was
    not tried.
    """
    found = gained(arm, longer)
    return None if found is None else found > arm.setting.objective.margin / 2 + 10**-SETTLED_DIGITS


def holds_on(difference: Difference, arm: Arm, full: Arm, margin: float | None = None) -> bool | None:
    """Whether a difference would be there with three times the epochs: the 95 % t interval of its values, each with
    what its seed would gain, excludes 0 on the same side. Where the two have different numbers of epochs, both are read
    at the more of them. None where too few gains are known, or one was not trained for as many.

    Args:
        difference: of the primary measure, the setting minus full fine-tuning.
        arm: the setting.
        full: full fine-tuning.
        margin: how much worse it may be, where it is to stay within that; None where it is to stay better, or worse.
    """
    most, seeds = max(arm.setting.epochs, full.setting.epochs), difference.seeds
    own, other = at_epochs(arm, most), at_epochs(full, most)
    if own is None or other is None or len(seeds) < MIN_SEEDS:
        return None
    (ours, theirs), (a, b) = ((read(own), read(other)) for read in (gains_of, lambda each: each.by_seed(arm.primary)))
    if not all(set(seeds) <= known.keys() for known in (ours, theirs, a, b)):
        return None
    sign = difference.what.sign
    longer = t_interval([sign * (a[seed] - b[seed]) + ours[seed] - theirs[seed] + (margin or 0.0) for seed in seeds])
    return longer.high < 0 if margin is None and not difference.is_better else longer.low > 0


def all_settled(arms: Iterable[Arm]) -> bool | None:
    """Whether all of these settings are settled; None where that is not known of one, and of none that it is not."""
    courses = {course_of(arm) for arm in arms}
    if courses & {Course.IMPROVING, Course.OVERTRAINED}:
        return False
    return True if courses == {Course.SETTLED} else None


def updates_of(arms: Iterable[Arm]) -> int:
    """Number of updates of the longest of these runs."""
    return max((row.steps for arm in arms for row in arm.finished.values()), default=0)


def has_hardly_begun(arm: Arm) -> bool:
    """Whether a setting had so few updates that its results say little of the method, and may still improve."""
    return 0 < updates_of([arm]) < FEW_UPDATES and course_of(arm) in (Course.IMPROVING, Course.UNKNOWN)


def updates_text(arms: Iterable[Arm]) -> str:
    """The length of the longest of these runs in words, as in ``1,200 updates``."""
    updates = updates_of(arms)
    return f"{count_text(updates)} updates" if updates else "the training reported"
