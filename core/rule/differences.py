"""What is compared in an answer: every adapter setting minus full fine-tuning, by seed and test example."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.results.arm import Arm
from core.results.grid import are_neighbors, at_epochs, common_seeds, other_length
from core.results.results import Outcomes
from core.rule.candidate import Candidate
from core.rule.claims import Difference
from core.rule.family import Compared, Differences, crossed
from core.rule.tuning import name_in_sentence
from core.rule.withheld import paired_differences


def candidate_of(arm: Arm, full: Arm, arms: Sequence[Arm], seeds: Sequence[int], tested: Outcomes) -> Candidate:
    """A setting beside full fine-tuning over some seeds, and both at the neighbors of their learning rates and numbers
    of epochs among all settings that were tried; nothing is tested yet.
    """
    theirs, ours = (
        [
            each if _has(each, seeds) else None
            for each in (*neighbors(own, arms), *(other_length(own, more) for more in (False, True)))
        ]
        for own in (full, arm)
    )
    settings = tuple(each.key for each in (full, arm, *theirs, *ours) if each is not None)

    def between(one: Arm | None, other: Arm | None) -> Differences | None:
        return None if one is None or other is None else differences_between(one, other, seeds, tested)

    chosen = differences_between(arm, full, seeds, tested)
    compared = Compared(chosen, [between(arm, each) for each in theirs], [between(each, full) for each in ours])
    full_lacks, own_lacks = (lacks_neighbor(each, arms, seeds) for each in (full, arm))
    seen = seen_difference(arm, full, seeds, tested)
    return Candidate(arm, seen, compared, settings, full_lacks=full_lacks, own_lacks=own_lacks)


def seen_difference(arm: Arm, full: Arm, seeds: Sequence[int], tested: Outcomes) -> Difference:
    """The difference of two settings over some seeds, with its interval over test examples as well."""
    (found,) = paired_differences([(_of(arm, seeds), _of(full, seeds))], arm.primary)
    values = differences_between(arm, full, seeds, tested)
    if values.shape[1] < 2:
        return found
    both = crossed(values * found.what.sign).interval()
    shift = found.interval.mean - both.mean  # what results have rounded
    interval = replace(both, mean=both.mean + shift, low=both.low + shift, high=both.high + shift)
    return replace(found, interval=interval, examples=values.shape[1])


def differences_between(arm: Arm, other: Arm, seeds: Sequence[int], tested: Outcomes) -> Differences:
    """(S, N) the primary measure of a setting minus that of another one, positive where the setting is better; (S, 1)
    where it is not known of each test example of each run.
    """
    sign = arm.what(arm.primary).sign
    rows = [(tested(arm.finished[seed]), tested(other.finished[seed])) for seed in seeds]
    known = [(one, two) for one, two in rows if one is not None and two is not None]
    if len(known) == len(rows) and len({len(values) for pair in known for values in pair}) == 1:
        return sign * np.stack([one - two for one, two in known])
    ours, theirs = arm.by_seed(arm.primary), other.by_seed(arm.primary)
    return sign * np.array([[ours[seed] - theirs[seed]] for seed in seeds])


def neighbors(arm: Arm, arms: Iterable[Arm]) -> tuple[Arm | None, Arm | None]:
    """The same setting at the lower and at the higher neighbor of its learning rate, by
    :func:`core.results.grid.are_neighbors`; None where that was not tried.
    """
    rate = arm.learning_rate
    alike = [
        other
        for other in arms
        if other.setting.group == arm.setting.group
        and are_neighbors(other.learning_rate, rate)
        and arm.setting.differs_in_rate(other.setting)
    ]
    below = [other for other in alike if other.learning_rate < rate]
    above = [other for other in alike if other.learning_rate > rate]
    return (
        max(below, key=lambda other: other.learning_rate, default=None),
        min(above, key=lambda other: other.learning_rate, default=None),
    )


def lacks_neighbor(arm: Arm, arms: Iterable[Arm], seeds: Iterable[int]) -> bool:
    """Whether nothing is known of a setting at a neighbor of its learning rate: it was not trained there with these
    seeds, nor has it failed there, which makes the neighbor a wall.
    """
    wanted = set(seeds)
    return any(
        beside is None or not (beside.failed or wanted <= set(beside.finished)) for beside in neighbors(arm, arms)
    )


def _has(arm: Arm | None, seeds: Sequence[int]) -> bool:
    """Whether there is such a setting, which has finished these seeds and failed with none."""
    return arm is not None and not arm.failed and set(seeds) <= set(arm.finished)


def _of(arm: Arm, seeds: Iterable[int]) -> Arm:
    wanted = set(seeds)
    return replace(arm, rows=tuple(row for row in arm.finished_only.rows if row.seed in wanted))


@dataclass(frozen=True, eq=False)
class AtEpochs:
    """Both after one number of epochs, each at its best learning rate there."""

    epochs: int
    missing: tuple[str, ...]
    """Names of those that were not trained for as many."""
    difference: Difference | None
    """The setting minus full fine-tuning; None where one is missing or they share no seed."""


def at_equal_epochs(arm: Arm, full: Arm, tested: Outcomes) -> tuple[AtEpochs, ...]:
    """An adapter setting beside full fine-tuning at the fewer and at the more epochs of the two, as far as both were
    trained for as many; none where they have as many. It is described and never tested.
    """
    both = sorted({arm.setting.epochs, full.setting.epochs})
    return tuple(_at(epochs, arm, full, tested) for epochs in both) if len(both) > 1 else ()


def _at(epochs: int, arm: Arm, full: Arm, tested: Outcomes) -> AtEpochs:
    ours, theirs = at_epochs(arm, epochs), at_epochs(full, epochs)
    pairs = ((arm, ours), (full, theirs))
    missing = tuple(name_in_sentence(own.setting.label) for own, found in pairs if found is None)
    if ours is None or theirs is None or not (seeds := common_seeds([ours, theirs])):
        return AtEpochs(epochs, missing, None)
    return AtEpochs(epochs, (), seen_difference(ours, theirs, seeds, tested))
