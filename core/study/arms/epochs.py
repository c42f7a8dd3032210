"""The number of epochs that the validation part chooses for each method and rank, among those that it was trained for.

The rule is that of plans, :func:`core.plan.budget.fewest_good`: the fewest epochs within half a margin of the best,
each at its own best rate, over the seeds of the search. Only numbers of epochs with the most seeds can be chosen: of
the others a search has trained its first seeds alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from core.plan.budget import fewest_good, is_third
from core.plan.search import SETTLED_DIGITS
from core.study.arms.arm import Arm, grouped


def at_chosen_epochs(arms: Sequence[Arm]) -> list[Arm]:
    """The arms of each method and rank at the number of epochs that is chosen for it, each with :attr:`Arm.tried`.

    Args:
        arms: on one base and task.
    """
    found: list[Arm] = []
    for own in grouped(arms, _method).values():
        found += own if len({_epochs(arm) for arm in own}) == 1 else _at_chosen(own)
    return found


def _at_chosen(arms: Sequence[Arm]) -> list[Arm]:
    """The same of one method and rank."""
    by_epochs = grouped(sorted(arms, key=_epochs), _epochs)
    able = {epochs: [arm for arm in own if arm.finished and not arm.failed] for epochs, own in by_epochs.items()}
    seeds = {epochs: max((len(arm.finished) for arm in own), default=0) for epochs, own in able.items()}
    most = max(seeds.values())
    whole = {epochs for epochs, count in seeds.items() if count == most}
    shared = common_seeds(arm for own in able.values() for arm in own)
    shared = shared or common_seeds(arm for epochs in whole for arm in able[epochs])
    best = {epochs: _best(own, shared) or by_epochs[epochs][0] for epochs, own in able.items()}
    objective = arms[0].spec.objective
    known = {epochs: mean for epochs, arm in best.items() if (mean := validated_mean(arm, shared)) is not None}
    among = (known, {epochs: mean for epochs, mean in known.items() if epochs in whole})
    picked = [fewest_good(means, objective.margin, objective.primary.sign) for means in among]
    chosen = next((epochs for epochs in picked if epochs in whole), max(whole))
    return [replace(arm, tried=best, searched=shared) for arm in by_epochs[chosen]]


def _best(able: Iterable[Arm], seeds: Sequence[int]) -> Arm | None:
    """The best of these settings over some seeds; None where none has a value for all of them."""
    means = [(mean, arm) for arm in able if (mean := validated_mean(arm, seeds)) is not None]
    worth = [(round(arm.spec.objective.primary.sign * mean, SETTLED_DIGITS), arm) for mean, arm in means]
    return max(worth, key=lambda pair: pair[0], default=(0.0, None))[1]


def gained(arm: Arm, longer: bool) -> float | None:
    """What about three times the epochs of a setting reach beyond it on the validation part, or a third of them,
    positive where they are better; −∞ where training failed there, None where that was not tried.

    Args:
        arm: as :func:`at_chosen_epochs` gives it.
        longer: whether three times as many are meant.
    """
    other = longer_of(arm) if longer else shorter_of(arm)
    if other is None:
        return None
    here, there = (validated_mean(each, arm.searched) for each in (arm.tried[_epochs(arm)], other))
    if here is None or there is None:
        return float("-inf") if other.failed else None
    return arm.spec.objective.primary.sign * (there - here)


def shorter_of(arm: Arm) -> Arm | None:
    """The best setting with about a third of the epochs; None where that was not tried."""
    return next((other for epochs, other in arm.tried.items() if is_third(epochs, _epochs(arm))), None)


def longer_of(arm: Arm) -> Arm | None:
    """The best setting with about three times the epochs; None where that was not tried."""
    return next((other for epochs, other in arm.tried.items() if is_third(_epochs(arm), epochs)), None)


def most_epochs(arm: Arm) -> int:
    """The most epochs that the method and size of a setting were trained for."""
    return max([_epochs(arm), *arm.tried])


def common_seeds(arms: Iterable[Arm]) -> tuple[int, ...]:
    """Seeds that all of these settings have finished; ascending."""
    found = [set(arm.finished) for arm in arms]
    return tuple(sorted(set.intersection(*found))) if found else ()


def validated_mean(arm: Arm, seeds: Iterable[int]) -> float | None:
    """Mean of the primary measure on the validation part over these seeds; None where one is unknown."""
    values = [arm.finished[seed].validated if seed in arm.finished else None for seed in seeds]
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _method(arm: Arm) -> tuple[str, Any]:
    """The method of an arm, and its size such as the rank."""
    return arm.spec.kind, arm.spec.method.size


def _epochs(arm: Arm) -> int:
    return arm.spec.optim.epochs
