"""The search for learning rates: what it tries follows from results alone, and ends with a best rate between others."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.plan.search import FIRST_POINTS, MOST, points_around, search_seeds, wanted
from core.results.grid import grid_rate

SEEDS = tuple(range(5))
FIRST = search_seeds(SEEDS)
PLACES = {grid_rate(k): k for k in range(-40, 1)}

Value = Callable[[int, int], float | None]
"""The measure of a seed at a point of the grid; None where it diverges."""


def peaked(peak: int, wall: int, noise: int = 0) -> Value:
    """A curve that falls by a point per step from its peak, and diverges from some point on."""

    def value(k: int, seed: int) -> float | None:
        random_part = random.Random(f"{noise} {k} {seed}").uniform(-1, 1) if noise else 0.0
        return None if k >= wall else 80 - abs(k - peak) + random_part

    return value


def searched(prior: int, value: Value, seeds: tuple[int, ...] = SEEDS, shuffled: int = 0) -> dict[int, tuple[int, ...]]:
    """Points and seeds that a search has trained in the end, one result after the other."""
    results: dict[float, dict[int, float | None]] = {}
    asked: dict[float, tuple[int, ...]] = {}
    turn = random.Random(shuffled)
    while True:
        before, asked = asked, wanted(grid_rate(prior), FIRST, seeds, results, 1)
        assert all(set(own) <= set(asked[rate]) for rate, own in before.items()), "what is wanted only grows"
        left = [(rate, seed) for rate, own in asked.items() for seed in own if seed not in results.get(rate, {})]
        if not left:
            return {PLACES[rate]: own for rate, own in asked.items()}
        rate, seed = turn.choice(left) if shuffled else left[0]
        results.setdefault(rate, {})[seed] = value(PLACES[rate], seed)


@pytest.mark.parametrize("peak", range(-13, 1))
def test_the_best_rate_lies_between_others_with_all_seeds(peak: int) -> None:
    found = searched(-5, peaked(peak, wall=5))
    whole = {k for k, seeds in found.items() if seeds == SEEDS}
    assert len(found) <= MOST
    if peak < -11:  # the ninth point is the last one
        assert (min(found), len(found)) == (-12, MOST)
    else:
        assert whole == {k for k in (peak - 1, peak, peak + 1) if k <= 0}
        assert {seeds for k, seeds in found.items() if k not in whole} <= {FIRST}


def test_a_search_begins_around_the_prior_and_stops_at_once_where_the_middle_is_best() -> None:
    assert points_around(grid_rate(-5), FIRST_POINTS) == (-6, -5, -4)
    assert searched(-5, peaked(-5, wall=5)) == dict.fromkeys((-6, -5, -4), SEEDS)


@pytest.mark.parametrize(("wall", "peak"), [(-4, -4), (-3, -4), (-5, -2)])
def test_a_point_at_which_a_seed_diverges_is_a_wall(wall: int, peak: int) -> None:
    found = searched(-5, peaked(peak, wall))
    best = min(peak, wall - 1)
    assert max(found) == max(wall, -4), "nothing is tried beyond it"
    assert {k for k, seeds in found.items() if seeds == SEEDS} == {best - 1, best}


def test_no_lower_rates_are_tried_where_the_lowest_is_only_as_good_as_the_next() -> None:
    """As where nothing is learned at any rate, and all answers are those of the most frequent class."""
    assert searched(-5, lambda k, seed: 42.0) == dict.fromkeys((-6, -5, -4), SEEDS)
    below = searched(-5, lambda k, seed: 42.0 if k < -5 else 40.0 + k)
    assert {k for k, seeds in below.items() if seeds == SEEDS} == {-7, -6, -5}, "the plateau begins at −6"


def test_where_every_seed_diverges_lower_rates_are_tried() -> None:
    found = searched(-5, peaked(-9, wall=-7))
    assert {k for k, seeds in found.items() if seeds == SEEDS} == {-10, -9, -8}
    nothing = searched(-5, peaked(0, wall=-40))
    assert (len(nothing), set(nothing.values())) == (MOST, {FIRST})


def test_the_point_that_all_seeds_prefer_gets_neighbors_with_all_seeds_too() -> None:
    def value(k: int, seed: int) -> float:
        peak = -5 if seed in FIRST else -3
        return 80 - (1 if seed in FIRST else 5) * abs(k - peak)

    found = searched(-5, value)
    assert {k for k, seeds in found.items() if seeds == SEEDS} == {-6, -5, -4, -3, -2}


@given(st.integers(-12, 0), st.integers(-12, 3), st.integers(-12, 3), st.integers(1, 10**6))
def test_the_order_of_results_changes_nothing(prior: int, peak: int, wall: int, noise: int) -> None:
    value = peaked(peak, wall, noise)
    found = searched(prior, value)
    assert found == searched(prior, value, shuffled=noise)
    assert set(points_around(grid_rate(prior), FIRST_POINTS)) <= set(found)
    assert len(found) <= MOST
    means = {
        k: math.fsum(value(k, seed) or -math.inf for seed in SEEDS) for k, seeds in found.items() if seeds == SEEDS
    }
    best = max(means, key=means.__getitem__, default=None)
    if best is not None and len(found) < MOST and math.isfinite(means[best]):
        for beside in (best - 1, best + 1):
            there = found.get(beside)
            is_wall = there is not None and any(value(beside, seed) is None for seed in there)
            assert beside > 0 or is_wall or there == SEEDS


@given(st.integers(-8, -2), st.integers(1, 10**6))
def test_more_seeds_keep_what_was_trained(peak: int, noise: int) -> None:
    value = peaked(peak, 5, noise)
    few, many = searched(-5, value), searched(-5, value, tuple(range(9)))
    # What the first seeds have compared, they have compared whatever follows.
    assert {k for k, seeds in few.items() if seeds == FIRST} <= set(many)
