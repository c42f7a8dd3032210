"""How often the rule makes a false claim, and how often it finds a real difference.

``python -m tests.study.test_false_alarms`` prints the table of ``docs/statistics.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from core.study.arms.verdict import verdict
from core.study.stats.claims import Level, Pair, differences_of
from core.study.stats.measures import quantity
from tests.soak.sizes import full_or_short
from tests.study.samples import make_arm_runs, measured, within

Values = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, int], Values]
"""Draws the accuracies of ``(trials, 2 arms, n seeds)`` whose means do not differ."""

SEEDS = [3, 4, 5, 6, 7, 8, 10]
EFFECT = 1.46
"""Difference over the standard deviation of differences at which power is measured."""

POWER = {3: 30, 4: 50, 5: 60, 6: 57, 8: 92, 10: 98}
"""Percent of comparisons with this effect that are called different, by number of seeds."""


def normal(rng: np.random.Generator, trials: int, n: int) -> Values:
    return rng.normal(95, 0.5, (trials, 2, n))


def small_test_part(rng: np.random.Generator, trials: int, n: int) -> Values:
    return np.round(normal(rng, trials, n) * 3.6) / 3.6  # 360 images


def skewed(rng: np.random.Generator, trials: int, n: int) -> Values:
    return 96 - rng.exponential(0.5, (trials, 2, n))


def unequal_spreads(rng: np.random.Generator, trials: int, n: int) -> Values:
    return 95 + rng.normal(0, 1, (trials, 2, n)) * np.array([1.0, 3.0])[:, None]


def failing_runs(rng: np.random.Generator, trials: int, n: int) -> Values:
    """One arm whose runs fail by 10 points in 5 % of cases; the other lower by the mean of that."""
    values = normal(rng, trials, n)
    values[:, 0] -= 10 * (rng.random((trials, n)) < 0.05)
    values[:, 1] -= 0.5
    return values


def skewed_one_sided(rng: np.random.Generator, trials: int, n: int) -> Values:
    """One arm with skewed, one with normal noise, of equal mean."""
    values = normal(rng, trials, n)
    values[:, 0] = 96 - rng.exponential(1.0, (trials, n))
    return values


BOUNDED: list[Draw] = [normal, small_test_part, skewed, unequal_spreads]
UNBOUNDED: list[Draw] = [failing_runs, skewed_one_sided]


def levels(values: Values) -> list[Level]:
    """The level of each trial's difference, tested alone."""
    found = []
    for a, b in values:
        (difference,) = differences_of([Pair("A", "B", dict(enumerate(a)), dict(enumerate(b)))], quantity("accuracy"))
        found.append(difference.level)
    return found


def claimed(values: Values) -> float:
    """Share of trials that are called different, at any level."""
    return float(np.mean([level is not Level.OPEN for level in levels(values)]))


def most(rate: float, trials: int) -> float:
    """The bound that a rate exceeds by chance about once in 1,000 times."""
    return rate + 3.1 * math.sqrt(rate * (1 - rate) / trials)


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("draw", BOUNDED)
def test_equal_arms_are_called_different_in_at_most_five_percent(draw, n):
    trials = full_or_short(1000, 300)
    assert claimed(draw(np.random.default_rng(n), trials, n)) <= most(0.05, trials)


@pytest.mark.parametrize("n", [3, 6, 7, 8])
def test_no_adapter_of_three_is_called_different_in_more_than_five_percent(n):
    rng, trials, alarms = np.random.default_rng(n), full_or_short(500, 200), 0
    for _ in range(trials):
        full, *ranks = rng.normal(95, 0.5, (4, n))
        pairs = [Pair("A", "B", dict(enumerate(rank)), dict(enumerate(full))) for rank in ranks]
        alarms += any(difference.level is not Level.OPEN for difference in differences_of(pairs, quantity("accuracy")))
    assert alarms / trials <= most(0.05, trials)


@pytest.mark.parametrize("n", [4, 8])
def test_equal_tuning_keeps_false_claims_at_five_percent(n):
    rng, trials, alarms = np.random.default_rng(n), full_or_short(200, 80), 0
    for _ in range(trials):
        runs = []
        for method in ("full", "lora"):
            for rate in (0.001, 0.01, 0.1):
                # What training came to shows in both parts; each part adds noise of its own.
                network = rng.normal(95, 0.4, n)
                tested, validated = network + rng.normal(0, 0.15, n), network + rng.normal(0, 0.25, n)
                made = make_arm_runs(method, tested.tolist(), optim={"learning_rate": rate})
                runs += [with_validation(run, value) for run, value in zip(made, validated, strict=True)]
        alarms += verdict(within(runs, 0.0)).best.difference.level is not Level.OPEN
    assert alarms / trials <= most(0.05, trials)


def with_validation(run, value):
    return replace(run, result=measured(run.result, validation_accuracy=float(value)))


@pytest.mark.parametrize(("n", "power"), POWER.items())
def test_a_real_difference_is_found_as_often_as_the_docs_say(n, power):
    trials = full_or_short(600, 300)
    values = np.random.default_rng(n).normal(0, 1, (trials, 2, n)) / math.sqrt(2)
    values[:, 0] += EFFECT
    assert claimed(values) >= power / 100 - 3.1 * math.sqrt(0.25 / trials)


def main(trials: int = 4000) -> None:
    """Print false claims and power as a Markdown table."""
    print("| | " + " | ".join(f"n = {n}" for n in SEEDS) + " |")
    print("| --- |" + " --- |" * len(SEEDS))
    for draw in [*BOUNDED, *UNBOUNDED]:
        rates = [claimed(draw(np.random.default_rng(n), trials, n)) for n in SEEDS]
        print(f"| called different, {draw.__name__.replace('_', ' ')} | ", end="")
        print(" | ".join(f"{100 * rate:.1f}" for rate in rates) + " |")
    powers = []
    for n in SEEDS:
        values = np.random.default_rng(n).normal(0, 1, (trials, 2, n)) / math.sqrt(2)
        values[:, 0] += EFFECT
        powers.append(claimed(values))
    print("| power at d/s = 1.46 | " + " | ".join(f"{100 * power:.0f}" for power in powers) + " |")
    looks = [(8, 16), (8, 16, 32)]
    for stages in looks:
        values = normal(np.random.default_rng(0), trials, stages[-1])
        found = [levels(values[:, :, :n]) for n in stages]
        alarms = np.mean([any(level is Level.SHOWN for level in trial) for trial in zip(*found, strict=True)])
        print(f"\nLooks at {', '.join(map(str, stages))} seeds: {100 * alarms:.1f} % false claims.")


if __name__ == "__main__":
    main()
