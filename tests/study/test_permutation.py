"""Sign-flip tests of several settings at once, Holm's correction, and the probability to win."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from core.study.stats.permutation import MAX_EXACT, holm, joint_p, win_probability

STEPS = st.lists(st.integers(-4, 4), min_size=2, max_size=10)
SETTINGS = arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(2, 6)), elements=st.sampled_from(range(-4, 5)))
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(STEPS)
def test_the_test_of_one_setting_is_scipys(steps: list[int]) -> None:
    for upper, side in ((False, "two-sided"), (True, "greater")):
        expected = stats.permutation_test(
            (steps,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative=side
        )
        assert joint_p(np.array([steps], float), upper) == pytest.approx(expected.pvalue)


def closed(x: NDArray[np.float64], upper: bool) -> NDArray[np.float64]:
    """For each setting the largest p-value of all sets of settings that it is in, by all assignments of signs."""
    m, n = x.shape
    scaled = x / np.maximum(np.sqrt((x**2).sum(1, keepdims=True)), 1e-300)
    sums = np.array([scaled @ signs for signs in product((1, -1), repeat=n)])  # the observed one first
    sums = sums if upper else np.abs(sums)
    found = np.zeros(m)
    for subset in (list(own) for size in range(1, m + 1) for own in combinations(range(m), size)):
        largest = sums[:, subset].max(1)
        found[subset] = np.maximum(found[subset], np.mean(largest >= largest[0] - 1e-9))
    return found


@example(np.array([[4.0, 0, 0], [2, 1, -1]]), False)  # what comes later has less than its forerunner by itself
@given(SETTINGS, st.booleans())
def test_the_joint_test_steps_down_as_the_closed_test_of_all_sets_does(x: NDArray[np.float64], upper: bool) -> None:
    found = joint_p(x, upper)
    assert found == pytest.approx(closed(x, upper))
    assert (found >= 2.0 ** -(x.shape[1] - (not upper))).all()


@given(SETTINGS, st.floats(0.1, 10))
def test_ties_that_rounding_splits_are_still_ties(x: NDArray[np.float64], unit: float) -> None:
    assert joint_p(90 + unit * x - 90) == pytest.approx(joint_p(x))


@pytest.mark.parametrize("n", [2, 7, 8, MAX_EXACT])
def test_equal_signs_have_the_least_p_value_for_any_number_of_settings(n: int) -> None:
    x = np.random.default_rng(n).uniform(0.1, 2, (6, n))
    assert (joint_p(x) == 2.0 ** (1 - n)).all()
    assert (joint_p(x, upper=True) == 2.0**-n).all()
    assert (joint_p(-x, upper=True) == 1).all()


def test_random_signs_stand_in_where_there_are_too_many() -> None:
    x = np.random.default_rng(0).normal(0.3, 1, (1, 40))
    assert joint_p(x)[0] == pytest.approx(stats.ttest_1samp(x[0], 0).pvalue, abs=0.01)
    assert joint_p(x, upper=True)[0] == pytest.approx(joint_p(x)[0] / 2, abs=0.003)
    assert joint_p(x) == joint_p(-x)
    assert joint_p(np.ones((1, 40))) == 1e-5, "the observed signs count as one of the draws"


def test_holm_of_a_worked_example() -> None:
    # R: p.adjust(c(0.04, 0.01, 0.03, 0.02), "holm")
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
    first, missing = holm([0.02, math.nan])
    assert first == 0.04
    assert math.isnan(missing)


@given(P_VALUES)
def test_holm_rejects_no_less_than_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = np.array(holm(p_values))
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(1, len(p_values) * np.array(p_values))).all()
    assert (np.diff(adjusted[np.argsort(p_values, kind="stable")]) >= 0).all()


@given(STEPS, STEPS)
def test_winning_is_mann_whitneys_u(a: list[int], b: list[int]) -> None:
    expected = stats.mannwhitneyu(a, b).statistic / (len(a) * len(b))
    assert win_probability(a, b) == pytest.approx(expected)
    assert win_probability(b, a) == pytest.approx(1 - expected)


def test_nobody_wins_without_runs() -> None:
    assert math.isnan(win_probability([], [1.0]))
    assert math.isnan(win_probability([math.nan], [1.0]))
