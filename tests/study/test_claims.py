from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.study.stats.claims import Finding, Pair, differences_of, example_difference, falls_short_by_less
from core.study.stats.intervals import CLAIM_SEEDS, bca_interval, seeds_needed, t_interval
from core.study.stats.permutation import holm, min_pairs, sign_flip_p, win_probability

STEPS = st.lists(st.integers(-4, 4), min_size=1, max_size=10)
VALUES = st.lists(st.floats(-100, 100), min_size=3, max_size=12)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def most(rate: float, trials: int) -> float:
    """What a simulated rate stays below, with three standard errors to spare."""
    return rate + 3 * math.sqrt(rate * (1 - rate) / trials)


def pair_of(differences) -> Pair:
    return Pair("A", "B", dict(enumerate(differences)), dict.fromkeys(range(len(differences)), 0.0))


def difference_of(*differences):
    return differences_of([pair_of(values) for values in differences], "gain")[0]


@given(STEPS.filter(lambda steps: len(steps) > 1))
def test_sign_flips_are_scipys(steps):
    expected = stats.permutation_test((steps,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(steps) == pytest.approx(expected.pvalue)


@given(STEPS, st.floats(0.1, 10))
def test_ties_that_rounding_splits_are_still_ties(steps, unit):
    assert sign_flip_p([90 + unit * step - 90 for step in steps]) == sign_flip_p(steps)


@pytest.mark.parametrize("n", [1, 3, 5, 6, 12, 20])
def test_no_sample_gives_a_p_below_that_of_equal_signs(n):
    assert sign_flip_p([1.0 + i for i in range(n)]) == 2 / 2**n
    assert (min_pairs(0.05) <= n) == (2 / 2**n <= 0.05)


def test_random_signs_stand_in_where_there_are_too_many():
    values = np.random.default_rng(0).normal(0.3, 1, 40)
    assert sign_flip_p(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)
    assert sign_flip_p(values) == sign_flip_p(-values)
    assert sign_flip_p([1.0] * 40) == 1e-5


def test_holm_of_a_worked_example():
    # R: p.adjust(c(0.04, 0.01, 0.03, 0.02), "holm")
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
    first, missing = holm([0.02, math.nan])
    assert first == 0.04
    assert math.isnan(missing)


@given(P_VALUES)
def test_holm_rejects_no_less_than_bonferroni_and_keeps_the_order(p_values):
    adjusted = np.array(holm(p_values))
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(1, len(p_values) * np.array(p_values))).all()
    assert (np.diff(adjusted[np.argsort(p_values, kind="stable")]) >= 0).all()


def test_holm_keeps_false_alarms_among_ranks_that_share_one_full_arm_at_five_percent():
    rng, trials = np.random.default_rng(3), 800
    runs = rng.normal(95, 0.5, (trials, 5, 8))
    alarms = np.mean([min(holm([sign_flip_p(lora - full) for lora in ranks])) <= 0.05 for full, *ranks in runs])
    assert alarms <= most(0.05, trials)


@given(STEPS, STEPS)
def test_winning_is_mann_whitneys_u(a, b):
    expected = stats.mannwhitneyu(a, b).statistic / (len(a) * len(b))
    assert win_probability(a, b) == pytest.approx(expected)
    assert win_probability(b, a) == pytest.approx(1 - expected)


def test_nobody_wins_without_runs():
    assert math.isnan(win_probability([], [1.0]))
    assert math.isnan(win_probability([math.nan], [1.0]))


@given(VALUES, st.floats(-50, 50), st.sampled_from([0.01, 3.0, 1000.0]))
def test_a_bootstrap_interval_moves_with_the_values_and_stays_in_their_range(values, shift, scale):
    interval = bca_interval(values)
    assert min(values) - 1e-9 <= interval.low <= interval.high <= max(values) + 1e-9
    moved = bca_interval([value * scale + shift for value in values])
    assert (moved.low, moved.high) == pytest.approx(
        (interval.low * scale + shift, interval.high * scale + shift), abs=1e-4 * scale + 1e-6
    )


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [1.0, math.nan, 2.0, 3.0], [math.inf, 1.0, 2.0]])
def test_no_bootstrap_interval_is_made_up(values):
    interval = bca_interval(values)
    assert interval.n == len(values)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_values_that_are_alike_have_an_interval_of_no_width():
    assert bca_interval([90.1 - 90.0, 80.1 - 80.0, 0.1, 0.1, 0.1, 0.1]).half_width == 0
    assert difference_of([0.0] * 6).finding is Finding.NOT_SHOWN
    assert difference_of([0.3] * 5).finding is Finding.NOT_SHOWN
    assert difference_of([0.3] * 6).finding is Finding.A_HIGHER


@pytest.mark.parametrize(("n", "missed"), [(6, 0.09), (10, 0.07)])
def test_the_expanded_bootstrap_misses_about_as_seldom_as_it_says(n, missed):
    samples = np.random.default_rng(n).normal(0, 1, (800, n))
    intervals = [bca_interval(list(sample)) for sample in samples]
    assert np.mean([not i.low <= 0 <= i.high for i in intervals]) <= most(missed, len(samples))
    # As wide as Student's, which is right for normal values.
    ratio = [i.half_width / t_interval(list(sample)).half_width for i, sample in zip(intervals, samples, strict=True)]
    assert np.median(ratio) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("n", [3, 5, 6, 10])
@pytest.mark.parametrize("quantum", [0.0, 100 / 360])
def test_false_alarms_stay_within_five_percent(n, quantum):
    # Accuracies of a small test part come in steps.
    rng, trials = np.random.default_rng(n), 800
    runs = rng.normal(95, 0.5, (trials, 2, n))
    if quantum:
        runs = np.round(runs / quantum) * quantum
    alarms = np.mean([difference_of(a - b).finding is not Finding.NOT_SHOWN for a, b in runs])
    assert alarms <= (most(0.05, trials) if n >= CLAIM_SEEDS else 0)


@pytest.mark.parametrize("effect", [0.8, 1.5, 3.0])
def test_the_seeds_that_are_asked_for_show_a_planted_difference_in_about_four_of_five_cases(effect):
    n = seeds_needed(np.array([-1.0, 1.0]) / math.sqrt(2) + effect)
    samples = np.random.default_rng(4).normal(effect, 1, (400, n))
    assert np.mean([difference_of(sample).finding is Finding.A_HIGHER for sample in samples]) >= 0.75


def test_a_claim_needs_the_interval_as_well_as_the_test():
    odd = difference_of([1.9, 1.1, -1.1, -0.1, 1.8, 0.9, 0.6, 1.0, 1.3, -0.1])
    assert odd.p < 0.05
    assert odd.interval.low < 0
    assert odd.finding is Finding.NOT_SHOWN
    missing = difference_of([1.0, 1.1, 0.9, 1.2, 1.0, 0.8, math.nan])
    assert math.isnan(missing.p)
    assert missing.finding is Finding.NOT_SHOWN
    difference = difference_of([1.0, 1.1, 0.9, 1.2, 1.0, 0.8])
    assert (difference.finding, difference.p, difference.win) == (Finding.A_HIGHER, 2 / 64, 1.0)


def test_comparing_more_takes_more_seeds():
    values = [1.0, 1.1, 0.9, 1.2, 1.0, 0.8]
    for many, least in ((1, 6), (2, 7), (12, 9)):
        difference = difference_of(*[values] * many)
        assert difference.min_seeds == least
        assert (difference.finding is Finding.A_HIGHER) == (many == 1)
        assert difference.seeds_needed >= least
    # One sign of nine differs: too much for twelve comparisons, though nine seeds mostly show so large a difference.
    nearly = [2.5, 2.6, 2.4, 2.5, 2.7, 2.3, 2.5, 2.6, -0.1]
    assert difference_of(*[nearly] * 12).seeds_needed == 10


def test_falling_short_by_less_than_a_margin_is_told_from_falling_short_by_it():
    samples = np.random.default_rng(5).normal(-1, 0.5, (600, 8))
    differences = [difference_of(sample) for sample in samples]
    # One-sided: half of five percent.
    assert np.mean([falls_short_by_less([d], 1.0)[0] for d in differences]) <= most(0.025, len(samples))
    assert np.mean([falls_short_by_less([d], 2.0)[0] for d in differences]) >= 0.95
    assert falls_short_by_less([difference_of([0.0] * 5), difference_of([0.0] * 7)], 0.5) == [False, True]
    assert falls_short_by_less([], 0.5) == []


def test_two_networks_that_are_right_on_the_same_examples_do_not_differ():
    right = np.arange(500) % 3 > 0
    found = example_difference(right, right)
    assert (found.interval.mean, found.interval.low, found.interval.high, found.p) == (0, 0, 0, 1)
    assert found.finding is Finding.NOT_SHOWN


def test_the_example_difference_of_a_worked_example():
    # Of 200 examples 25 are right only by a and 9 only by b: (25 − 9) / 200, variance (34/200 − 0.08²) / 200.
    a = np.array([True] * 25 + [False] * 9 + [True] * 166)
    b = np.array([False] * 25 + [True] * 9 + [True] * 166)
    found = example_difference(a, b)
    assert (found.only_a, found.only_b, found.interval.mean) == (25, 9, 8.0)
    assert found.p == pytest.approx(stats.binomtest(9, 34).pvalue)
    deviation = 100 * math.sqrt((34 / 200 - 0.08**2) / 200)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (8 - 1.96 * deviation, 8 + 1.96 * deviation), abs=0.51
    )
    assert found.finding is Finding.A_HIGHER
    assert example_difference(b, a).finding is Finding.B_HIGHER


def test_examples_raise_no_more_than_five_percent_false_alarms():
    rng, trials = np.random.default_rng(6), 500
    alarms = 0
    for _ in range(trials):
        hard = rng.random(400)
        alarms += example_difference(rng.random(400) > hard, rng.random(400) > hard).finding is not Finding.NOT_SHOWN
    assert alarms / trials <= most(0.05, trials)


def test_examples_must_be_the_same_for_both():
    with pytest.raises(ValueError, match="same test examples"):
        example_difference([True], [True, False])
    assert example_difference([], []).finding is Finding.NOT_SHOWN
