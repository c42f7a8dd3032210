"""The grid of learning rates that all tuning shares, and how many of its points a method tries.

How rates are found is in :mod:`core.plan.search`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Self

from pydantic import Field, model_validator

from core.networks.network import NetworkSpec
from core.plan.experiment import Setting
from core.run_spec import OptimSpec
from core.spec import Spec, bounds


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


STEP = 0.5
"""Distance of two neighbors on the grid, in powers of ten: half a decade."""

NEIGHBORING = 0.1
"""How far from :data:`STEP` two learning rates may be apart and still count as neighbors, as 0.001 and 0.003 do."""


def grid_rate(k: float) -> float:
    """The learning rate 10^(k/2), to three digits, as in 0.00316 for k = −5: of a whole k a point of the grid for all
    tuning.

    All methods share the grid, so that a ratio of two best rates is not the ratio of the centres of two grids.
    """
    return float(f"{10 ** (k / 2):.3g}")


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


def is_point(k: int) -> bool:
    """Whether the point 10^(k/2) is a learning rate that :class:`core.run_spec.OptimSpec` takes."""
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
    highest = bounds(OptimSpec, "learning_rate").high or math.inf
    return tuple(beside for k in (place - 1, place + 1) if 0 < (beside := grid_rate(k)) <= highest)


def tuned_arms(arms: Iterable[Setting], rates: int) -> list[Setting]:
    """Every arm at the rates of the grid that are nearest its own; the same number for each."""
    return [
        (optim.but(learning_rate=rate), method)
        for optim, method in arms
        for rate in rates_around(optim.learning_rate, rates)
    ]
