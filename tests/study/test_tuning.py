from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SpecError
from core.spec import CONTROL_RATES, LEARNING_RATES, LoRASpec, OptimSpec
from core.study.arms.choice import chosen_arms
from core.study.arms.tuning import (
    TuneSpec,
    choice_sentence,
    end_sentences,
    is_tuned,
    rate_choices,
    rates_around,
    tuned_arms,
)
from tests.study.samples import make_arm_runs

BUDGETS = st.builds(TuneSpec, rates=st.integers(2, 9), span=st.floats(4, 10_000))


@given(st.floats(1e-6, 1.0), BUDGETS)
def test_rates_are_as_many_as_asked_evenly_spaced_and_within_bounds(centre, tune):
    rates = rates_around(centre, tune)
    assert len(set(rates)) == tune.rates
    assert all(OptimSpec.of(learning_rate=rate).learning_rate == rate for rate in rates)
    # To two digits, so a step is right to a few percent.
    steps = [math.log(b / a) for a, b in pairwise(rates)]
    assert steps == pytest.approx([math.log(tune.span) / (tune.rates - 1)] * (tune.rates - 1), abs=0.11)


@pytest.mark.parametrize("centre", [*LEARNING_RATES.values(), *CONTROL_RATES.values()])
def test_an_odd_number_of_rates_holds_the_default_itself(centre):
    assert rates_around(centre, TuneSpec.of())[2] == centre


@pytest.mark.parametrize("values", [{"rates": 1}, {"rates": 10}, {"span": 1.0}, {"span": math.nan}])
def test_a_budget_out_of_bounds_is_one_sentence(values):
    with pytest.raises(SpecError, match=r"\.$"):
        TuneSpec.of(**values)


def test_every_method_rank_and_control_gets_the_same_number_of_rates():
    arms = [
        (OptimSpec.of(), None),
        (OptimSpec.of(), LoRASpec.of(rank=1)),
        (OptimSpec.of(), LoRASpec.of(rank=4)),
        (OptimSpec.of(), "head"),
    ]
    tuned = tuned_arms(arms, TuneSpec.of(rates=3))
    assert len(set(tuned)) == len(tuned)
    for _, kind in arms:
        assert len({optim.learning_rate for optim, of in tuned if of == kind}) == 3


def test_validation_chooses_the_rates_and_the_test_part_does_not():
    runs = []
    for method, rate, tested, validated in (
        ("full", 0.0001, 99.0, 60.0),
        ("full", 0.001, 90.0, 80.0),
        ("full", 0.01, 99.0, 70.0),
        ("lora", 0.0005, 99.0, 60.0),
        ("lora", 0.005, 90.0, 65.0),
        ("lora", 0.05, 89.0, 80.0),
    ):
        runs += make_arm_runs(method, [tested] * 3, optim={"learning_rate": rate}, validation_accuracy=validated)
    full, lora = rate_choices(runs)
    assert (full.arm.learning_rate, full.at_end, full.ratio) == (0.001, None, 1)
    assert (lora.arm.learning_rate, lora.at_end, lora.ratio) == (0.05, "highest", 50)
    sentence = choice_sentence([full, lora])
    assert "at 3 learning rates" in sentence
    assert "seeds 0 to 2" in sentence
    assert "LoRA's best rate is 50 times that of full fine-tuning." in sentence
    assert end_sentences([full, lora]) == [
        "0.05 is the highest learning rate tried for LoRA r=4: a better one may lie beyond it."
    ]


def test_a_rate_that_fails_for_some_seeds_is_not_chosen():
    whole = make_arm_runs("full", [90.0, 90.0, 90.0], optim={"learning_rate": 0.001}, validation_accuracy=80.0)
    lucky = make_arm_runs("full", [99.0, 99.0], optim={"learning_rate": 0.01}, validation_accuracy=99.0)
    (chosen,) = chosen_arms(whole + lucky)
    assert chosen.learning_rate == 0.001


def test_an_experiment_is_tuned_where_something_was_tried_in_several_ways():
    one = make_arm_runs("full", [90.0]) + make_arm_runs("lora", [90.0]) + make_arm_runs("lora", [90.0], rank=8)
    assert not is_tuned(run.spec for run in one)
    assert is_tuned(run.spec for run in one + make_arm_runs("lora", [90.0], optim={"learning_rate": 0.02}))
    # A control is no second way of full fine-tuning.
    assert not is_tuned(run.spec for run in one + make_arm_runs("full", [90.0], spec={"control": "scratch"}))


def test_tuning_favours_no_method_where_both_are_alike():
    rng, trials, won = np.random.default_rng(7), 300, 0
    for _ in range(trials):
        best = [max(rng.normal(95, 0.5, (5, 6)).mean(axis=1)) for _ in range(2)]
        won += best[0] > best[1]
    assert abs(won / trials - 0.5) <= 3 * math.sqrt(0.25 / trials)
