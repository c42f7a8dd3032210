"""Intervals and p-values over seeds and test examples, and their correction for several tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr, stdtrit

from core.results.intervals import t_interval
from core.rule.claims import win_probability
from core.rule.family import crossed, holm, t_p

VALUES = st.sampled_from([-100.0, 0.0, 100.0])
SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=7)
TABLES = arrays(np.float64, SHAPES, elements=VALUES) | arrays(np.float64, SHAPES, elements=VALUES | st.just(np.nan))


@given(arrays(np.float64, st.tuples(st.integers(2, 6), st.integers(2, 12)), elements=VALUES))
def test_mean_squares_are_those_of_an_analysis_of_variance(table: NDArray[np.float64]) -> None:
    S, N = table.shape
    found = crossed(table)
    # By explicit sums over cells, as in a textbook.
    grand = sum(table[s][i] for s in range(S) for i in range(N)) / (S * N)
    rows, columns = [sum(table[s]) / N for s in range(S)], [sum(table[:, i]) / S for i in range(N)]
    ms_seed = N * sum((row - grand) ** 2 for row in rows) / (S - 1)
    ms_example = S * sum((column - grand) ** 2 for column in columns) / (N - 1)
    rest = sum((table[s][i] - rows[s] - columns[i] + grand) ** 2 for s in range(S) for i in range(N))
    ms_rest = rest / ((S - 1) * (N - 1))
    assert (found.ms_seed, found.ms_example, found.ms_rest) == pytest.approx((ms_seed, ms_example, ms_rest), abs=1e-9)
    half = t_interval(rows).half_width
    if ms_example - ms_rest > 1e-9 * ms_example:
        var = (ms_seed + ms_example - ms_rest) / (S * N)
        terms = ms_seed**2 / (S - 1) + ms_example**2 / (N - 1) + ms_rest**2 / ((S - 1) * (N - 1))
        df = max((var * S * N) ** 2 / terms, min(S, N) - 1)
        half = stdtrit(df, 0.975) * math.sqrt(var)
    assert found.interval().mean == pytest.approx(grand, abs=1e-9)
    assert found.interval().half_width == pytest.approx(half, abs=1e-6)


@given(TABLES)
def test_it_rejects_exactly_where_the_interval_excludes_zero_and_never_fails(table: NDArray[np.float64]) -> None:
    found = crossed(table)
    if table.shape[0] < 2 or not table.size or not np.isfinite(table).all():
        assert math.isnan(found.interval().low)
        assert math.isnan(found.p)
        return
    low, high = found.interval().low, found.interval().high
    assert (found.p <= 0.05) == (not low <= 0 <= high)


@pytest.mark.parametrize(("seeds", "examples"), [(3, 5), (8, 40), (20, 10)])
def test_both_agree_where_seeds_and_examples_vary(seeds: int, examples: int) -> None:
    rng, rejected = np.random.default_rng(seeds), []
    for _ in range(100):
        table = rng.normal(rng.uniform(0, 2), 1, (seeds, examples)) + rng.normal(0, rng.uniform(0, 3), examples)
        table += rng.normal(0, 1, (seeds, 1))
        found = crossed(table)
        low, high = found.interval().low, found.interval().high
        rejected.append(found.p <= 0.05)
        assert rejected[-1] == (not low <= 0 <= high)
    assert 10 < sum(rejected) < 90


def test_spreads_are_those_of_which_a_table_was_made() -> None:
    by_seed, by_example = np.array([[1.0], [4.0], [-5.0]]), np.array([2.0, -3.0, 0.5, 0.5])
    spreads = (by_seed.std(ddof=1), by_example.std(ddof=1), 0)
    assert crossed(7 + by_seed + by_example).spreads == pytest.approx(spreads, abs=1e-6)


@pytest.mark.parametrize(("seeds", "images", "seed"), [(3, 200, 0.15), (10, 100, 0.1), (6, 200, 0.3)])
def test_it_holds_for_other_seeds_and_other_images(seeds: int, images: int, seed: float) -> None:
    """Of two probit models that answer right or wrong."""
    rng, own, rest, gap, trials = np.random.default_rng(1), 0.3, 0.3, 0.2, 1000
    both = rng.standard_normal((trials, 1, images))
    right = [
        both
        + mean
        + own * rng.standard_normal((trials, 1, images))
        + seed * rng.standard_normal((trials, seeds, 1))
        + rest * rng.standard_normal((trials, seeds, images))
        > 0
        for mean in (1 + gap, 1)
    ]
    total = math.sqrt(1 + own**2 + seed**2 + rest**2)
    truth = 100 * (ndtr((1 + gap) / total) - ndtr(1 / total))
    intervals = [crossed(100.0 * (a.astype(int) - b)).interval() for a, b in zip(*right, strict=True)]
    missed = sum(not each.low <= truth <= each.high for each in intervals)
    assert stats.binom.ppf(0.001, trials, 0.035) <= missed <= stats.binom.ppf(0.999, trials, 0.06)


def test_one_value_everywhere_leaves_no_doubt() -> None:
    for value, p in ((100.0, 0), (0.1 + 0.2 - 0.3, 1)):
        found = crossed(np.full((4, 9), value))
        assert (found.interval().low, found.interval().high) == pytest.approx((value, value))
        assert found.p == p


def test_images_can_reverse_what_seeds_agree_on() -> None:
    # Every seed gets the same three images of four right that the other method gets wrong, and the reverse for one.
    table = 100.0 * np.tile([1, 1, 1, -1, 0, 0, 0, 0], (6, 1))
    assert t_p([float(np.mean(row)) for row in table]) == 0
    assert crossed(table).p > 0.05
    assert crossed(table).interval().low < 0 < crossed(table).interval().high
    with pytest.raises(ValueError, match="two dimensions"):
        crossed(table[0])


def test_a_weighted_mean_enters_by_its_linearization() -> None:
    """As a loss per byte: with w of mean 1, each example counts w · (value − mean) + mean, whatever its length."""
    rng, examples, missed = np.random.default_rng(2), 300, 0
    for _ in range(300):
        weights = np.exp(rng.normal(0, 1, examples))
        weights /= weights.mean()
        values = rng.normal(0, 1, (8, 1)) + rng.normal(0, 4, examples) + rng.normal(0, 4, (8, examples))
        means = (weights * values).mean(1, keepdims=True)
        each = weights * (values - means) + means
        np.testing.assert_allclose(each.mean(1), means[:, 0])
        interval = crossed(each).interval()
        missed += not interval.low <= 0 <= interval.high
    assert missed / 300 <= 0.068 + 3 * (0.068 * 0.932 / 300) ** 0.5


STEPS = st.lists(st.integers(-4, 4), min_size=2, max_size=10)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


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
