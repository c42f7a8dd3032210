"""Differences of two settings over seeds, and of two networks over test examples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.results.intervals import t_interval
from core.results.measures import quantity
from core.rule.claims import Difference, difference_of
from core.rule.family import holm, t_p
from core.rule.networks import corrected, example_difference

STEPS = st.lists(st.integers(-4, 4), min_size=2, max_size=10)


def most(rate: float, trials: int) -> float:
    """What a simulated rate stays below, with three standard errors to spare."""
    return rate + 3 * math.sqrt(rate * (1 - rate) / trials)


def difference(left: dict[int, float], right: dict[int, float], name: str = "accuracy") -> Difference:
    return difference_of("A", "B", left, right, quantity(name))


def test_a_difference_is_over_the_seeds_that_both_have() -> None:
    found = difference({0: 91.0, 1: 92.0, 2: 94.0, 7: 0.0}, {2: 91.0, 1: 91.0, 0: 90.5, 9: 100.0})
    assert (found.seeds, found.values) == ((0, 1, 2), (0.5, 1.0, 3.0))
    assert found.interval == t_interval([0.5, 1.0, 3.0])
    assert (found.holds_zero, found.is_better, found.examples) == (True, True, 0)
    assert found.win == (2 + 3 + 3 + 0) / 16, "over all runs, paired or not"


def test_which_side_is_better_is_up_to_the_measure() -> None:
    low, high = dict(enumerate([0.1, 0.2, 0.15])), dict(enumerate([0.9, 0.8, 0.85]))
    for name, is_better, win in (("accuracy", False, 0.0), ("loss", True, 1.0), ("forgetting", False, 0.0)):
        found = difference(low, high, name)
        assert (found.is_better, found.win, found.holds_zero) == (is_better, win, False)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan, 2.0]])
def test_what_has_no_interval_is_not_told_from_zero(values: list[float]) -> None:
    found = difference(dict(enumerate(values)), dict.fromkeys(range(len(values)), 0.0))
    assert math.isnan(found.interval.low)
    assert found.holds_zero


@given(STEPS.filter(lambda steps: len(set(steps)) > 1))
def test_the_t_test_is_scipys_and_agrees_with_its_interval(steps: list[int]) -> None:
    p, interval = t_p(steps), t_interval(steps)
    assert p == pytest.approx(stats.ttest_1samp(steps, 0).pvalue)
    assert (p <= 0.05) == (not interval.low <= 0 <= interval.high) or p == pytest.approx(0.05)


def test_the_t_test_of_equal_differences() -> None:
    assert (t_p([0.3] * 4), t_p([0.0] * 4)) == (0, 1)
    assert t_p([90.1 - 90.0, 80.1 - 80.0, 0.1]) == 0
    assert math.isnan(t_p([1.0]))
    assert math.isnan(t_p([1.0, math.nan, 2.0]))


def test_two_networks_that_are_right_on_the_same_examples_do_not_differ() -> None:
    right = np.arange(500) % 3 > 0
    found = example_difference(right, right)
    assert (found.interval.mean, found.interval.low, found.interval.high, found.p) == (0, 0, 0, 1)
    assert not found.is_told


def test_the_example_difference_of_a_worked_example() -> None:
    # Of 200 examples 25 are right only by a and 9 only by b: (25 − 9) / 200, variance (34/200 − 0.08²) / 200.
    a = np.array([True] * 25 + [False] * 9 + [True] * 166)
    b = np.array([False] * 25 + [True] * 9 + [True] * 166)
    found = example_difference(a, b)
    assert (found.only_a, found.only_b, found.interval.mean) == (25, 9, 8.0)
    assert found.p == pytest.approx(stats.binomtest(9, 34).pvalue)
    half = 196 * math.sqrt((34 / 200 - 0.08**2) / 200)
    assert (found.interval.low, found.interval.high) == pytest.approx((8 - half, 8 + half), abs=0.51)
    assert found.is_told
    assert example_difference(b, a).interval.high < 0


def test_examples_raise_no_more_than_five_percent_false_alarms() -> None:
    rng, trials = np.random.default_rng(6), 500
    alarms = 0
    for _ in range(trials):
        hard = rng.random(400)
        alarms += example_difference(rng.random(400) > hard, rng.random(400) > hard).is_told
    assert alarms / trials <= most(0.05, trials)


def test_examples_must_be_the_same_for_both() -> None:
    with pytest.raises(ValueError, match="same test examples"):
        example_difference([True], [True, False])
    assert not example_difference([], []).is_told


def test_several_pairs_of_networks_are_corrected_together() -> None:
    """One of four pairs would be shown alone and is not shown among them; none of the counts changes."""
    right, same = [True] * 108 + [False] * 8, [True] * 100 + [False] * 16
    few = [True] * 7 + [False] * 109
    alone = [example_difference(right, same)] + [example_difference(few, [*few[1:], False])] * 3
    assert alone[0].is_told
    assert alone[0].p == pytest.approx(2 / 2**8)
    together = corrected(alone)
    assert [found.p for found in together] == pytest.approx(holm([found.p for found in alone]))
    assert [found.is_told for found in together] == [True, False, False, False]
    seven = [True] * 106 + [False] * 10
    close = [example_difference(seven, same), *alone[1:]]
    assert close[0].is_told
    assert not corrected(close)[0].is_told
    counts, before = ([replace(found, p=0.0) for found in each] for each in (corrected(close), close))
    assert counts == before
    assert corrected([]) == []
