"""The number of epochs that the validation part chooses for each method and rank, among those that it was trained for.

The rule is that of plans, :func:`core.results.length.fewest_good`: the fewest epochs within half a margin of the best,
each at its own best rate. Only numbers of epochs with the most seeds can be chosen, over which they are compared: of
the others a search has trained its first seeds alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from core.results.arm import Arm, grouped
from core.results.length import fewest_good, is_third
from core.results.rates import SETTLED_DIGITS


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
    best = {epochs: _best(own) or own[0] for epochs, own in by_epochs.items()}
    most = max(_count(arm) for arm in best.values())
    whole = {epochs: arm for epochs, arm in best.items() if _count(arm) == most}
    seeds, objective = common_seeds(whole.values()), arms[0].setting.objective
    known = {epochs: mean for epochs, arm in whole.items() if (mean := validated_mean(arm, seeds)) is not None}
    chosen = fewest_good(known, objective.margin, objective.primary.sign) or max(whole)
    return [replace(arm, tried=best) for arm in by_epochs[chosen]]


def _best(arms: Iterable[Arm]) -> Arm | None:
    """The best of the settings that have the most seeds; None where none has a value for all of them."""
    able = [arm for arm in arms if _count(arm)]
    able = [arm for arm in able if _count(arm) == max(map(_count, able))]
    seeds = common_seeds(able)
    means = [(mean, arm) for arm in able if (mean := validated_mean(arm, seeds)) is not None]
    worth = [(round(arm.setting.objective.primary.sign * mean, SETTLED_DIGITS), arm) for mean, arm in means]
    return max(worth, key=lambda pair: pair[0], default=(0.0, None))[1]


def _count(arm: Arm) -> int:
    """Number of its seeds; none count where one has failed."""
    return 0 if arm.failed else len(arm.finished)


def gained(arm: Arm, longer: bool) -> float | None:
    """What about three times the epochs of a setting reach beyond it on the validation part, or a third of them,
    positive where they are better, over the seeds that both have; −∞ where training failed there, None where that was
    not tried.

    Args:
        arm: as :func:`at_chosen_epochs` gives it.
        longer: whether three times as many are meant.
    """
    other = longer_of(arm) if longer else shorter_of(arm)
    if other is None:
        return None
    own = arm.tried[_epochs(arm)]
    here, there = (validated_mean(each, common_seeds([own, other])) for each in (own, other))
    if here is None or there is None:
        return float("-inf") if other.failed else None
    return arm.setting.objective.primary.sign * (there - here)


def shorter_of(arm: Arm) -> Arm | None:
    """The best setting with about a third of the epochs; None where that was not tried."""
    return next((other for epochs, other in arm.tried.items() if is_third(epochs, _epochs(arm))), None)


def longer_of(arm: Arm) -> Arm | None:
    """The best setting with about three times the epochs; None where that was not tried."""
    return next((other for epochs, other in arm.tried.items() if is_third(_epochs(arm), epochs)), None)


def at_epochs(arm: Arm, epochs: int) -> Arm | None:
    """A setting, or the best of its method and size with another number of epochs; None where that was not trained."""
    if epochs == _epochs(arm):
        return arm
    other = arm.tried.get(epochs)
    return None if other is None or not other.finished else replace(other.finished_only, tried=arm.tried)


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
    return arm.setting.method, arm.setting.size


def _epochs(arm: Arm) -> int:
    return arm.setting.epochs
