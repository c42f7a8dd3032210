from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.study.stats.claims import Level, Pair, corrected, differences_of, example_difference, within_margin
from core.study.stats.intervals import bca_interval, seeds_needed, t_interval, t_p
from core.study.stats.measures import quantity
from core.study.stats.permutation import holm, min_pairs, sign_flip_p, win_probability
from tests.soak.sizes import full_or_short

STEPS = st.lists(st.integers(-4, 4), min_size=1, max_size=10)
VALUES = st.lists(st.floats(-100, 100), min_size=3, max_size=12)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def most(rate: float, trials: int) -> float:
    """What a simulated rate stays below, with three standard errors to spare."""
    return rate + 3 * math.sqrt(rate * (1 - rate) / trials)


def pair_of(differences) -> Pair:
    return Pair("A", "B", dict(enumerate(differences)), dict.fromkeys(range(len(differences)), 0.0))


def difference_of(*differences):
    return differences_of([pair_of(values) for values in differences], quantity("gain"))[0]


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
    assert difference_of([0.0] * 6).level is Level.OPEN
    assert difference_of([0.3] * 2).level is Level.OPEN
    assert difference_of([0.3] * 5).level is Level.LEANING
    assert difference_of([0.3] * 6).level is Level.SHOWN


@pytest.mark.parametrize(("n", "missed"), [(6, 0.09), (10, 0.07)])
def test_the_expanded_bootstrap_misses_about_as_seldom_as_it_says(n, missed):
    samples = np.random.default_rng(n).normal(0, 1, (full_or_short(800, 200), n))
    intervals = [bca_interval(list(sample)) for sample in samples]
    assert np.mean([not i.low <= 0 <= i.high for i in intervals]) <= most(missed, len(samples))
    # As wide as Student's, which is right for normal values.
    ratio = [i.half_width / t_interval(list(sample)).half_width for i, sample in zip(intervals, samples, strict=True)]
    assert np.median(ratio) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("effect", [0.8, 1.5, 3.0])
def test_the_seeds_that_are_asked_for_show_a_planted_difference_in_about_four_of_five_cases(effect):
    n = seeds_needed(np.array([-1.0, 1.0]) / math.sqrt(2) + effect)
    samples = np.random.default_rng(4).normal(effect, 1, (400, n))
    assert np.mean([difference_of(sample).level is Level.SHOWN for sample in samples]) >= 0.75


@given(STEPS.filter(lambda steps: len(set(steps)) > 1))
def test_the_t_test_is_scipys_and_agrees_with_its_interval(steps):
    p, interval = t_p(steps), t_interval(steps)
    assert p == pytest.approx(stats.ttest_1samp(steps, 0).pvalue)
    assert (p <= 0.05) == (not interval.low <= 0 <= interval.high) or p == pytest.approx(0.05)


def test_the_t_test_of_equal_differences():
    assert (t_p([0.3] * 4), t_p([0.0] * 4)) == (0, 1)
    assert t_p([90.1 - 90.0, 80.1 - 80.0, 0.1]) == 0
    assert math.isnan(t_p([1.0]))
    assert math.isnan(t_p([1.0, math.nan, 2.0]))


def test_a_claim_needs_both_tests():
    # The t test rejects at 8 seeds and the sign-flip test does not, or the other way round.
    only_sign = difference_of([0.1, 0.2, 0.1, 0.3, 0.2, 0.1, 0.2, 9.0])
    assert (sign_flip_p(only_sign.values), only_sign.level) == (2 / 2**8, Level.OPEN)
    assert t_p(only_sign.values) == only_sign.p > 0.05
    missing = difference_of([1.0, 1.1, 0.9, 1.2, 1.0, 0.8, math.nan])
    assert math.isnan(missing.p)
    assert missing.level is Level.OPEN
    difference = difference_of([1.0, 1.1, 0.9, 1.2, 1.0, 0.8])
    assert (difference.level, difference.p, difference.win) == (Level.SHOWN, 2 / 64, 1.0)


@pytest.mark.parametrize(
    ("values", "level"), [([1.0, 1.2, 0.9], "leaning"), ([1.0, 1.2, -0.1], "open"), ([1.0, 1.1], "open")]
)
def test_few_seeds_lean_where_all_agree_and_t_rejects(values, level):
    assert difference_of(values).level == level
    assert difference_of([-value for value in values]).level == level


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 6), (2, 7), (3, 7), (4, 8), (6, 8), (7, 9), (12, 9)])
def test_leaning_ends_where_sign_flips_can_reject(comparisons, seeds):
    values = [1.0 + 0.01 * i for i in range(12)]
    levels = {n: difference_of(*[values[:n]] * comparisons).level for n in range(2, 12)}
    assert levels == {n: "open" if n < 3 else "leaning" if n < seeds else "shown" for n in range(2, 12)}


def test_comparing_more_takes_more_seeds():
    values = [1.0, 1.1, 0.9, 1.2, 1.0, 0.8]
    for many, least in ((1, 6), (2, 7), (12, 9)):
        difference = difference_of(*[values] * many)
        assert difference.least_seeds == least
        assert (difference.level is Level.SHOWN) == (many == 1)
        assert difference.seeds_needed >= least
    # One sign of nine differs: too much for twelve comparisons, though nine seeds mostly show so large a difference.
    nearly = [2.5, 2.6, 2.4, 2.5, 2.7, 2.3, 2.5, 2.6, -0.1]
    assert difference_of(*[nearly] * 12).seeds_needed == 10


@pytest.mark.parametrize("seeds", [3, 5, 6, 8])
def test_within_a_margin_is_told_from_falling_short_by_it(seeds):
    samples = np.random.default_rng(seeds).normal(-1, 0.5, (1000, seeds))
    differences = [difference_of(sample) for sample in samples]
    rate = np.mean([within_margin([d], 1.0)[0] is not Level.OPEN for d in differences])
    assert rate <= most(0.025, len(samples))
    claimed = Level.LEANING if seeds < 6 else Level.SHOWN
    assert np.mean([within_margin([d], 4.0)[0] is claimed for d in differences]) >= 0.95


def test_margins_are_tested_in_a_fixed_sequence_without_correction():
    good, bad = difference_of([0.0] * 7), difference_of([-1.0] * 7)
    assert within_margin([good, good, bad, good], 0.5) == ["shown", "shown", "open", "open"]
    assert within_margin([good] * 20, 0.5) == ["shown"] * 20
    assert within_margin([difference_of([0.0] * 4), good], 0.5) == ["leaning", "leaning"]
    assert within_margin([difference_of([0.0] * 2)], 0.5) == ["open"]
    assert within_margin([], 0.5) == []


def test_two_networks_that_are_right_on_the_same_examples_do_not_differ():
    right = np.arange(500) % 3 > 0
    found = example_difference(right, right)
    assert (found.interval.mean, found.interval.low, found.interval.high, found.p) == (0, 0, 0, 1)
    assert not found.shown


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
    assert found.shown
    assert example_difference(b, a).interval.high < 0


def test_examples_raise_no_more_than_five_percent_false_alarms():
    rng, trials = np.random.default_rng(6), 500
    alarms = 0
    for _ in range(trials):
        hard = rng.random(400)
        alarms += example_difference(rng.random(400) > hard, rng.random(400) > hard).shown
    assert alarms / trials <= most(0.05, trials)


def test_examples_must_be_the_same_for_both():
    with pytest.raises(ValueError, match="same test examples"):
        example_difference([True], [True, False])
    assert not example_difference([], []).shown


def test_several_pairs_of_networks_are_corrected_together():
    """One of four pairs would be shown alone and is not shown among them; none of the counts changes."""
    right, same = [True] * 108 + [False] * 8, [True] * 100 + [False] * 16
    few = [True] * 7 + [False] * 109
    alone = [example_difference(right, same)] + [example_difference(few, [*few[1:], False])] * 3
    assert alone[0].shown
    assert alone[0].p == pytest.approx(2 / 2**8)
    together = corrected(alone)
    assert [found.p for found in together] == pytest.approx(holm([found.p for found in alone]))
    assert [found.shown for found in together] == [True, False, False, False]
    seven = [True] * 106 + [False] * 10
    close = [example_difference(seven, same), *alone[1:]]
    assert close[0].shown
    assert not corrected(close)[0].shown
    assert [replace(found, p=0.0, shown=False) for found in corrected(close)] == [
        replace(found, p=0.0, shown=False) for found in close
    ]
    assert corrected([]) == []
