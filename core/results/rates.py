"""The grid of learning rates that all tuning shares, and which of several rates is best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from core.run_spec import OptimSpec
from core.spec import bounds

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
