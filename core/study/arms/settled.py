"""Whether a setting has been trained well: whether longer training would change what is said of it.

A setting is settled where three times its epochs would make the mean of its primary measure on the validation part
better by less than half the margin, improving where they would make it better at all, and else it is not known. The
test is on the trend of each seed, :func:`core.store.curves.trends_of`, which holds for a constant learning rate: one
that decays belongs to its number of epochs. Where each run stopped by its own patience, it stopped where its curve
happened to be flat, which says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum

import numpy as np
from scipy.special import stdtrit

from core.numbers import count_text, listed
from core.study.arms.arm import Arm
from core.study.arms.tuning import name_in_sentence
from core.study.stats.intervals import ERROR_RATE, MIN_SEEDS

MIN_EPOCHS = 10
"""Minimum number of epochs whose trend says something: fewer were not simulated."""


class Course(StrEnum):
    """What longer training would do to a setting."""

    SETTLED = "settled"
    IMPROVING = "improving"
    UNKNOWN = "not known"


def course_of(arm: Arm) -> Course:
    """What longer training would do to a setting, by one-sided 95 % limits of its mean trend over the seeds."""
    optim, objective = arm.spec.optim, arm.spec.objective
    trends = _trends(arm)
    if len(trends) < MIN_SEEDS or optim.decay != "constant" or optim.patience or optim.epochs < MIN_EPOCHS:
        return Course.UNKNOWN
    mean, error = float(np.mean(trends)), float(np.std(trends, ddof=1)) / math.sqrt(len(trends))
    reach = float(stdtrit(len(trends) - 1, 1 - ERROR_RATE)) * error
    if mean + reach < objective.margin / 2:
        return Course.SETTLED
    return Course.IMPROVING if mean - reach > 0 else Course.UNKNOWN


def _trends(arm: Arm) -> list[float]:
    """The trend of the primary measure of each finished run, positive where it gets better; empty if one has none."""
    objective = arm.spec.objective
    known = [(run.result.trends or {}).get(objective.validated) for run in arm.finished.values() if run.result]
    found = [objective.primary.sign * trend for trend in known if trend is not None and math.isfinite(trend)]
    return found if len(found) == len(known) else []


def all_settled(arms: Iterable[Arm]) -> bool | None:
    """Whether all of these settings are settled; None where that is not known of one, and none is improving."""
    courses = {course_of(arm) for arm in arms}
    if Course.IMPROVING in courses:
        return False
    return True if courses == {Course.SETTLED} else None


def updates_of(arms: Iterable[Arm]) -> int:
    """Number of updates of the longest of these runs."""
    return max((run.result.steps for arm in arms for run in arm.finished.values() if run.result), default=0)


def course_sentences(arms: Sequence[Arm]) -> list[str]:
    """Whether longer training would change what is said of some settings."""
    by_course: dict[Course, list[str]] = {}
    for arm in arms:
        by_course.setdefault(course_of(arm), []).append(name_in_sentence(arm.name))
    if set(by_course) == {Course.SETTLED}:
        objective = arms[0].spec.objective
        half = objective.primary.amount_text(objective.margin / 2)
        return [f"Settled: with three times the epochs neither setting would be better by more than {half}."]
    found = []
    if improving := by_course.get(Course.IMPROVING):
        were = "was" if len(improving) == 1 else "were"
        found.append(
            f"After {count_text(updates_of(arms))} updates {listed(improving)} {were} still improving: this says which "
            "learns faster, not which ends higher. Train longer."
        )
    if unknown := by_course.get(Course.UNKNOWN):
        found.append(f"Whether longer training would change {listed(unknown)} is not known.")
    return found
