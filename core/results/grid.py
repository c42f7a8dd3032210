"""Learning rates and numbers of epochs: the grid that all tuning shares, and which of several is best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from core.results.arm import Arm, grouped
from core.results.row import Row
from core.run_spec import OptimSpec
from core.spec import bounds

STEP = 0.5
"""Distance of two neighbors on the grid, in powers of ten: half a decade."""

NEIGHBORING = 0.1
"""How far from :data:`STEP` two learning rates may be apart and still count as neighbors, as 0.001 and 0.003 do."""


def grid_rate(k: float) -> float:
    """The learning rate 10^(k/2), to three digits, as in 0.00316 for k = −5. All methods share this grid, so that a
    ratio of two best rates is not the ratio of the centers of two grids.
    """
    return float(f"{10 ** (k / 2):.3g}")


def is_point(k: float) -> bool:
    """Whether 10^(k/2) is a learning rate that :class:`core.run_spec.OptimSpec` takes."""
    highest = bounds(OptimSpec, "learning_rate").high or math.inf
    return 0 < grid_rate(k) <= highest


def are_neighbors(one: float, other: float) -> bool:
    """Whether two learning rates are next to each other on the grid, or as far apart as two points that are; a rate
    that is not known, 0, has no neighbors.
    """
    return one > 0 and other > 0 and abs(abs(math.log10(one / other)) - STEP) <= NEIGHBORING


def neighbors_of(rate: float) -> tuple[float, ...]:
    """The neighbors of a learning rate, ascending: the points of the grid beside it, or of one that is not on the grid
    the rates half a decade from it. Only what :class:`core.run_spec.OptimSpec` takes; none of a rate that is not known.
    """
    if not rate:
        return ()
    place = 2 * math.log10(rate)
    if grid_rate(round(place)) == rate:
        place = round(place)
    return tuple(grid_rate(k) for k in (place - 1, place + 1) if is_point(k))


SETTLED_DIGITS = 9
"""Decimals of a mean that count: what rounding alone tells apart is a tie."""


ByRate = Mapping[float, Mapping[int, float | None]]
"""Primary measure on the validation part by learning rate and seed, of runs that ended; None where one diverged."""


def mean_of(rate: float, seeds: Sequence[int], results: ByRate) -> float | None:
    """Mean over these seeds, of which the last digits do not count; None where one is missing or diverged."""
    values = [results.get(rate, {}).get(seed) for seed in seeds]
    known = [value for value in values if value is not None]
    return round(fmean(known), SETTLED_DIGITS) if known and len(known) == len(values) else None


def best_rate(rates: Iterable[float], seeds: Sequence[int], results: ByRate, sign: float) -> float | None:
    """The rate with the best mean over these seeds, of equal ones the lowest; None where none has them all."""
    means = {rate: sign * mean for rate in rates if (mean := mean_of(rate, seeds, results)) is not None}
    return max(sorted(means), key=means.__getitem__, default=None)


LONGER = 3
"""Factor between two numbers of epochs that are tried."""

MIN_EPOCHS = 10
"""Minimum number of epochs whose trend says something: fewer were not simulated."""


def third(epochs: int) -> int:
    """A third of a number of epochs, rounded, at least one."""
    return max(1, round(epochs / LONGER))


def is_third(fewer: int, more: int) -> bool:
    """Whether one number of epochs is about a third of another, as far as whole numbers can be."""
    return fewer < more and (more == LONGER * fewer or fewer == third(more))


def fewest_good(means: Mapping[int, float], margin: float, sign: float) -> int | None:
    """The number of epochs that is chosen: the fewest within half a margin of the best; None without any.

    Args:
        means: of the primary measure on the validation part, by number of epochs.
        margin: of the experiment.
        sign: 1 where a higher measure is better, −1 where a lower one is.
    """
    best = max((sign * mean for mean in means.values()), default=math.inf)
    good = [epochs for epochs, mean in means.items() if round(best - sign * mean - margin / 2, SETTLED_DIGITS) <= 0]
    return min(good, default=None)


def can_be_longer(epochs: int) -> bool:
    """Whether runs can take three times as many epochs."""
    return LONGER * epochs <= (bounds(OptimSpec, "epochs").high or math.inf)


def gain(row: Row, shorter: Row | None = None) -> float | None:
    """What three times the epochs would add to the primary measure on the validation part, positive where it gets
    better; None where that is not known.

    A constant learning rate: the trend of the run's own curve over the last two thirds of its epochs. A rate that
    decays belongs to its number of epochs: the difference from a run with a third of them. A run that stopped by its
    own patience stopped where its curve happened to be flat, which says nothing.

    Args:
        row: finished.
        shorter: of a learning rate that decays, a finished row of the same seed with a third of the epochs.
    """
    setting, objective = row.setting, row.objective
    if not row.has_result or setting.patience:
        return None
    if setting.decay == "constant":
        if setting.epochs < MIN_EPOCHS:
            return None
        known = row.trends.get(objective.validated)
    else:
        values = row.validated, shorter.validated if shorter is not None else None
        known = values[0] - values[1] if values[0] is not None and values[1] is not None else None
    return objective.primary.sign * known if known is not None and math.isfinite(known) else None


def at_chosen_epochs(arms: Sequence[Arm]) -> list[Arm]:
    """The arms of one base and task, each method and rank at the number of epochs that is chosen for it, with
    :attr:`Arm.tried`. Only numbers of epochs with the most seeds can be chosen: of others a search trained its first
    seeds.
    """
    found: list[Arm] = []
    for own in grouped(arms, lambda arm: (arm.setting.method, arm.setting.size)).values():
        by_epochs = grouped(sorted(own, key=_epochs), _epochs)
        if len(by_epochs) == 1:
            found += own
            continue
        best = {epochs: _best(alike) or alike[0] for epochs, alike in by_epochs.items()}
        most = max(_count(arm) for arm in best.values())
        whole = {epochs: arm for epochs, arm in best.items() if _count(arm) == most}
        seeds, objective = common_seeds(whole.values()), own[0].setting.objective
        known = {epochs: mean for epochs, arm in whole.items() if (mean := validated_mean(arm, seeds)) is not None}
        chosen = fewest_good(known, objective.margin, objective.primary.sign) or max(whole)
        found += [replace(arm, tried=best) for arm in by_epochs[chosen]]
    return found


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
    """What about three times the epochs (``longer``), or a third of them, reach beyond a setting on the validation
    part, positive where they are better; −∞ where training failed there, None where that was not tried.
    """
    other = other_length(arm, longer)
    if other is None:
        return None
    own = arm.tried[_epochs(arm)]
    here, there = (validated_mean(each, common_seeds([own, other])) for each in (own, other))
    if here is None or there is None:
        return float("-inf") if other.failed else None
    return arm.setting.objective.primary.sign * (there - here)


def other_length(arm: Arm, longer: bool) -> Arm | None:
    """The best setting with about three times the epochs (``longer``), or a third of them; None where that was not
    tried.
    """
    own = arm.setting.epochs
    return next((o for n, o in arm.tried.items() if (is_third(own, n) if longer else is_third(n, own))), None)


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


def _epochs(arm: Arm) -> int:
    return arm.setting.epochs
