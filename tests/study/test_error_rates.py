"""That answers err no more often than the rule allows: the program of docs/measurements in short."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from scipy.special import bdtrik, ndtr

from core.results.intervals import ERROR_RATE
from core.rule.family import Crossed, crossed
from core.rule.spending import spent
from docs.measurements.error_rates import (
    ONE_SIDED,
    RATE_EFFECTS,
    SPREADS,
    TUNED_CLAIMS,
    TUNED_PARTS,
    TWO_SIDED,
    Found,
    analyzed,
    macro_f1_misses,
    main,
    on_new_examples,
    probable,
    shares,
    tuned,
    untuned,
)
from tests.conftest import some_of
from tests.soak.sizes import full_or_short

FEW_EXAMPLES = 8.2
"""Percent that intervals of macro-F1 miss where classes have three or four test examples, in 10,000 experiments."""


def most(percent: float, trials: int) -> float:
    """The rate of so many trials that chance exceeds as rarely as three standard errors, by the binomial distribution:
    of a rate of some tenths of a percent there are too few cases for a normal one.
    """
    return 100 * math.ceil(float(bdtrik(ndtr(3), trials, percent / 100))) / trials + 1e-9


def allowed(looks: Sequence[int], trials: int, part: float = TWO_SIDED) -> float:
    """The same of what looks may use together."""
    return most(100 * part * spent(max(looks)), trials)


@pytest.mark.parametrize("settings", [1, 3, 6])
def test_looks_together_show_what_is_not_there_as_seldom_as_they_may(settings: int) -> None:
    trials, patterns = full_or_short(2000, 200), [(8,), (8, 16, 32), range(6, 17)]
    drawn = untuned(np.random.default_rng(settings), settings, [*range(6, 17), 32], trials)
    found = shares(drawn, patterns, (TWO_SIDED, ONE_SIDED))
    for looks, (shown, within) in zip(patterns, found, strict=True):
        assert shown <= allowed(looks, trials)
        assert within <= allowed(looks, trials, ONE_SIDED)
    assert found.max() > 0


def test_probably_is_said_of_equal_methods_as_seldom_as_its_tests_reject() -> None:
    """Of one setting at a given rate: leaning rejects at 5 %, and what is seen with 8 seeds lies between two levels."""
    trials = full_or_short(10_000, 1000)
    three, any_of_few, _, eight, _, both = probable(np.random.default_rng(1), (0.0,), 1, trials)
    assert three <= most(5, trials)
    assert eight <= most(5 - 100 * spent(8), trials)
    assert 0 < three <= any_of_few
    assert 0 < eight <= both


@pytest.mark.parametrize(("rank", "examples"), [(16, 360), (16, 10_000), (1, 360)])
def test_other_test_examples_are_answered_for(rank: int, examples: int) -> None:
    trials = full_or_short(2000, 500)
    drawn = on_new_examples(np.random.default_rng(rank), SPREADS[rank], examples, (8, 16, 32), trials)
    patterns = [(8,), (16,), (8, 16, 32)]
    for looks, (percent,) in zip(patterns, shares(drawn, patterns, (TWO_SIDED,)), strict=True):
        assert percent <= allowed(looks, trials)


def test_mean_squares_are_drawn_as_an_analysis_finds_them() -> None:
    """Of arrays that are drawn value by value, and of the model; an analysis is the same from both."""
    rng, (S, N), (of_examples, of_seeds, of_rest) = np.random.default_rng(0), (8, 50), SPREADS[16]
    from_arrays, from_squares = [], []
    for _ in range(400):
        values = (
            of_examples * rng.normal(size=N) + of_seeds * rng.normal(size=(S, 1)) + of_rest * rng.normal(size=(S, N))
        )
        from_arrays.append(crossed(values))
        from_squares += [each for _, found in analyzed(rng, SPREADS[16], N, (S,), 1) for each in found]
    for name in ("ms_seed", "ms_example", "ms_rest", "p"):
        a, b = (np.array([getattr(each, name) for each in found]) for found in (from_arrays, from_squares))
        assert abs(a.mean() - b.mean()) <= 4 * math.hypot(a.std(), b.std()) / 20
    by_seed, by_example = values.mean(1, keepdims=True), values.mean(0)
    rest = values - by_seed - by_example + values.mean()
    squares = N * by_seed.var(ddof=1), S * by_example.var(ddof=1), (rest**2).sum() / ((S - 1) * (N - 1))
    same = Crossed(values.mean(), S, N, *squares)
    assert (same.p, same.df) == pytest.approx((crossed(values).p, crossed(values).df))


@pytest.mark.parametrize("effects", some_of(zip(RATE_EFFECTS), lambda effects: effects == "peaked"))
def test_tuned_methods_are_told_apart_in_at_most_five_percent(effects: str) -> None:
    trials = full_or_short(2000, 250)
    drawn = tuned(np.random.default_rng(1), RATE_EFFECTS[effects], (8, 16), trials)
    found = shares(drawn, [(8,), (16,), (8, 16)], TUNED_PARTS)
    by_claim = dict(zip(TUNED_CLAIMS, found.T, strict=True))
    assert (by_claim["differ, methods"] <= most(5.0, trials)).all()
    assert (by_claim["within, methods"] <= most(2.5, trials)).all()


@pytest.mark.parametrize(("examples", "nominal"), [(1000, 5.0), (360, FEW_EXAMPLES)])
def test_intervals_of_macro_f1_hold_for_other_seeds_and_examples(examples: int, nominal: float) -> None:
    trials = full_or_short(2000, 250)
    both, alone = macro_f1_misses(np.random.default_rng(examples), examples, 1.0, trials)
    assert both <= most(nominal, trials)
    assert alone > most(5.0, trials), "seeds alone know nothing of other examples"


def test_rules_that_err_more_often_are_found_out() -> None:
    """Looks that pay nothing for one another, spreads of seeds alone, and the chosen rates alone."""
    trials, rng = 300, np.random.default_rng(0)

    def unpaid(seeds: int, looks: object) -> float:
        return ERROR_RATE

    found = shares(untuned(rng, 3, range(6, 17), trials), [range(6, 17)], (TWO_SIDED,), unpaid)
    assert found[0, 0] > allowed(range(6, 17), trials)

    def seeds_alone() -> Iterator[Found]:
        for _ in range(trials):
            for n, (each,) in analyzed(rng, SPREADS[1], 360, (16,), 1):
                yield {n: (Crossed(each.mean, n, 1, each.ms_seed / 360, 0, 0).p,)}

    assert shares(seeds_alone(), [(16,)], (TWO_SIDED,))[0, 0] > allowed((16,), trials)
    (rates,) = shares(tuned(rng, RATE_EFFECTS["middle"], (16,), trials), [(16,)], TUNED_PARTS)
    by_claim = dict(zip(TUNED_CLAIMS, rates, strict=True))
    assert by_claim["differ, chosen rates"] > most(5.0, trials)


def test_the_program_prints_each_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--trials", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| ---") for line in lines) == 7
    assert [line for line in lines if line.startswith("| shown, settings: 3 |")]
