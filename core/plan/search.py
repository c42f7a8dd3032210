"""The search for learning rates: the grid that all tuning shares, and which of its points one method at one size tries.

It knows nothing of runs and of the store: results go in, and what is wanted comes out. What is wanted only grows, so it
can be asked again after every result, by whoever is there, and after a kill between two stages.

Three points around the prior are trained with the first seeds. While the best mean on the validation part is at an end
of what was tried, the next point beyond it is tried, up to :data:`MOST` in all. Then the best point and its neighbors
are trained with all seeds, and while all seeds prefer another point, its neighbors are, too. A point at which a seed
diverged is a wall: nothing is tried beyond it, and the best point beside it counts as one between others. So does an
end that is only as good as the next point: where nothing is learned at any rate, lower ones are not tried one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Self

from pydantic import Field, model_validator

from core.networks.network import NetworkSpec
from core.plan.experiment import Recipe
from core.results.grid import ByRate, best_rate, grid_rate, is_point, mean_of
from core.spec import Spec


class TuneSpec(Spec):
    """Which learning rates each method tries: those that a search finds, or a given number around its own."""

    rates: int | None = Field(
        None,
        ge=2,
        le=9,
        title="Learning rates per method",
        description="How many each method tries, the same number for all. Empty for a search, which adds rates until "
        "the best lies between two others.",
    )
    longer: int = Field(
        0,
        ge=0,
        le=3,
        title="Train longer",
        description="How many times a search may triple the number of epochs: while a method gets better by half a "
        "margin, its rates are searched for again with three times as many.",
    )
    shorter: int = Field(
        2,
        ge=0,
        le=2,
        exclude_if=lambda shorter: shorter == 2,  # as in versions without it
        title="Train shorter",
        description="How many times a search may train for a third of the epochs: while a method is as good within "
        "half a margin.",
    )

    @model_validator(mode="after")
    def _longer_is_for_searches(self) -> Self:
        if self.longer and self.rates is not None:
            raise ValueError("Only a search trains longer by itself: leave the number of rates out.")
        return self


def default_search(network: type[NetworkSpec] | NetworkSpec) -> TuneSpec:
    """How the learning rates of a network's methods are found, where nobody says otherwise."""
    return TuneSpec.of(longer=network.longer)


def rates_around(prior: float, count: int) -> tuple[float, ...]:
    """The points of the grid that are nearest a learning rate on a logarithmic scale, ascending.

    Args:
        prior: the rate at which the method is trained without tuning; it need not be on the grid.
        count: how many; of two points equally near, the lower comes first.

    Returns:
        Only rates that :class:`core.run_spec.OptimSpec` takes: near a bound there are more of them on the other side.
    """
    return tuple(grid_rate(k) for k in points_around(prior, count))


def points_around(prior: float, count: int) -> tuple[int, ...]:
    """The same as exponents k of :func:`grid_rate`."""
    place = 2 * math.log10(prior)
    nearest = round(place)
    if grid_rate(nearest) == prior:
        place = nearest
    candidates = range(nearest - count, nearest + count + 1)
    allowed = [k for k in candidates if is_point(k)]
    return tuple(sorted(sorted(allowed, key=lambda k: (abs(k - place), k))[:count]))


def tuned_arms(arms: Iterable[Recipe], rates: int) -> list[Recipe]:
    """Every arm at the rates of the grid that are nearest its own; the same number for each."""
    return [
        (optim.but(learning_rate=rate), method)
        for optim, method in arms
        for rate in rates_around(optim.learning_rate, rates)
    ]


FIRST_POINTS = 3
"""Number of points that a search begins with."""

MOST = 9
"""Maximum number of points that a search tries."""

SEARCH_SEEDS = 3
"""Number of seeds, the first ones of those planned, with which points are compared before all seeds are trained."""


def search_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds of a search among those that are planned. Args: seeds: in their order."""
    return tuple(seeds[:SEARCH_SEEDS])


def wanted(
    prior: float, first: Sequence[int], seeds: Sequence[int], results: ByRate, sign: float
) -> dict[float, tuple[int, ...]]:
    """The learning rates that are to be trained, as far as the results so far tell, with the seeds of each.

    Args:
        prior: learning rate at which the method is trained without a search.
        first: seeds of the search; see :func:`search_seeds`.
        seeds: all seeds that are planned.
        results: of this method and size.
        sign: 1 where a higher measure is better, −1 where a lower one is.
    """
    found = {grid_rate(k): tuple(first) for k in _compared(prior, first, results, sign)}
    centre = _center(found, first, results, sign)
    if centre is None or not all(_has_ended(rate, first, results) for rate in found):
        return found
    walls = {rate for rate in found if None in [results[rate][seed] for seed in first]}
    whole = _with_all_seeds(centre, set(found), walls, seeds, results, sign)
    return {rate: tuple(seeds) if rate in whole else tuple(first) for rate in sorted({*found, *whole})}


def _compared(prior: float, first: Sequence[int], results: ByRate, sign: float) -> list[int]:
    """The points that are compared with the first seeds, ascending: with the next one, while one is needed."""
    points = list(points_around(prior, FIRST_POINTS))
    while all(_has_ended(grid_rate(k), first, results) for k in points) and len(points) < MOST:
        best = _center([grid_rate(k) for k in points], first, results, sign)
        if best is None or best == grid_rate(points[0]):
            beyond = points[0] - 1
        elif best == grid_rate(points[-1]):
            beyond = points[-1] + 1
        else:
            break
        if not is_point(beyond):
            break
        points = sorted([*points, beyond])
    return points


def _with_all_seeds(
    centre: float, tried: set[float], walls: set[float], seeds: Sequence[int], results: ByRate, sign: float
) -> set[float]:
    """The best point and its neighbors; while all seeds prefer another one of these, its neighbors, too."""
    points = {k: grid_rate(k) for k in range(-40, 1)}
    place = next(k for k, rate in points.items() if rate == centre)
    known, whole = set(tried), set[float]()
    while True:
        around = [points[k] for k in (place - 1, place, place + 1) if k in points]
        around = [rate for rate in around if rate in known or len(known) < MOST]
        new = set(around) - walls - whole
        known |= new
        whole |= new
        best = _center(whole, seeds, results, sign)
        if not new or best is None or not all(_has_ended(rate, seeds, results) for rate in whole):
            return whole
        place = next(k for k, rate in points.items() if rate == best)


def _has_ended(rate: float, seeds: Sequence[int], results: ByRate) -> bool:
    return set(seeds) <= results.get(rate, {}).keys()


def _center(rates: Iterable[float], seeds: Sequence[int], results: ByRate, sign: float) -> float | None:
    """The best of these rates; the second lowest where the lowest is only as good."""
    lowest, *others = sorted(rates)
    best = best_rate([lowest, *others], seeds, results, sign)
    if best != lowest or not others:
        return best
    means = [mean_of(rate, seeds, results) for rate in (lowest, others[0])]
    return others[0] if means[0] == means[1] else best
