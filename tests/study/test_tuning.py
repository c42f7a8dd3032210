from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.answer.lines import reason
from core.errors import SpecError
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.registry import METHODS
from core.plan.search import TuneSpec, rates_around, tuned_arms
from core.results.grid import grid_rate
from core.results.row import rows_of
from core.results.setting import setting_of
from core.rule.tuning import (
    choice_sentence,
    end_sentences,
    is_tuned,
    one_per_group,
    rate_choices,
    rates_tried,
    ratio_text,
)
from core.run_spec import OptimSpec, default_rate
from tests.study.samples import decided_on, make_arm_runs

GRID = [grid_rate(k) for k in range(-40, 1)]
PRIORS = sorted({default_rate(method) for method in METHODS})


@given(st.floats(1e-12, 1.0), st.integers(2, 9))
def test_rates_are_the_nearest_points_of_one_grid_and_within_bounds(prior, count):
    rates = rates_around(prior, count)
    assert len(set(rates)) == count
    assert list(rates) == sorted(set(rates) & set(GRID))
    assert all(OptimSpec.of(learning_rate=rate).learning_rate == rate for rate in rates)
    away = {rate: abs(math.log10(rate / prior)) for rate in GRID}
    # A grid point is written to three digits, which moves it by up to a thousandth of a decade.
    assert max(away[rate] for rate in rates) <= min(away[rate] for rate in GRID if rate not in rates) + 0.002


def test_a_point_of_the_grid_is_10_to_half_an_integer_to_three_digits():
    assert [grid_rate(k) for k in range(-7, 1)] == [0.000316, 0.001, 0.00316, 0.01, 0.0316, 0.1, 0.316, 1.0]


@pytest.mark.parametrize("count", range(2, 9))
@pytest.mark.parametrize("prior", GRID[20:36])
def test_of_two_points_equally_near_the_lower_is_taken(prior, count):
    rates = rates_around(prior, count)
    assert rates.index(prior) == count // 2


@pytest.mark.parametrize("count", [3, 5, 6])
def test_ratios_of_rates_of_any_two_methods_are_whole_steps_of_the_grid(count):
    tried = {rate for prior in PRIORS for rate in rates_around(prior, count)}
    steps = [2 * math.log10(a / b) for a in tried for b in tried]
    assert steps == pytest.approx([round(step) for step in steps], abs=0.01)
    assert {ratio_text(b / a) for a, b in pairwise(sorted(tried))} == {"3.2"}


@pytest.mark.parametrize("values", [{"rates": 1}, {"rates": 10}, {"span": 100.0}])
def test_a_budget_out_of_bounds_is_one_sentence(values):
    with pytest.raises(SpecError, match=r"\.$"):
        TuneSpec.of(**values)


def test_every_method_rank_and_control_gets_the_same_number_of_rates():
    kinds = [FullSpec(), LoRASpec.of(rank=1), LoRASpec.of(rank=4), HeadSpec()]
    tuned = tuned_arms([(OptimSpec.of(), kind) for kind in kinds], 3)
    assert len(set(tuned)) == len(tuned)
    for kind in kinds:
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
    full, lora = rate_choices(rows_of(runs))
    assert (full.arm.learning_rate, full.at_end, full.ratio) == (0.001, None, 1)
    assert (lora.arm.learning_rate, lora.at_end, lora.ratio) == (0.05, "highest", 50)
    sentence = choice_sentence([full, lora])
    assert "at 3 learning rates" in sentence
    assert "seeds 0 to 2" in sentence
    assert "LoRA's best rate is 50 times that of full fine-tuning." in sentence
    assert end_sentences([full, lora]) == [
        "0.05 is the highest learning rate tried for LoRA r=4: a better one may lie beyond it."
    ]


@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        ((0.001, 0.001), "LoRA's rate is that of full fine-tuning, at every rank."),
        ((0.001, 0.003), "LoRA's rate, as a multiple of that of full fine-tuning: 1 (LoRA r=1) and 3 (LoRA r=4)."),
    ],
)
def test_a_rate_of_one_times_another_is_said_in_words(rates, sentence):
    runs = make_arm_runs("full", [90.0] * 3, optim={"learning_rate": 0.001})
    for rank, rate in zip((1, 4), rates, strict=True):
        runs += make_arm_runs("lora", [90.0] * 3, rank=rank, optim={"learning_rate": rate})
    assert sentence in choice_sentence(rate_choices(rows_of(runs)))


def at_rates(method, rates, **settings):
    """Three seeds at each rate; the higher the rate, the better, if validation ranks them."""
    found = []
    for place, rate in enumerate(rates):
        ranked = {"validation_accuracy": 80.0 + place} | settings
        found += make_arm_runs(method, [90.0] * 3, optim={"learning_rate": rate}, **ranked)
    return found


@pytest.mark.parametrize("method", ["full", "lora"])
def test_where_nothing_ranks_the_settings_none_is_said_to_be_chosen_or_best(method):
    rates = {"full": (0.001, 0.002), "lora": (0.003, 0.006)}
    runs = [
        run
        for name, tried in rates.items()
        for run in at_rates(name, tried, **({"validation_accuracy": None} if name == method else {}))
    ]
    choices = rate_choices(rows_of(runs))
    assert [c.ranked for c in choices] == [c.arm.spec.kind != method for c in choices]
    assert len(one_per_group(choices)) == 2
    sentence = choice_sentence(choices)
    name = {"full": "full fine-tuning", "lora": "LoRA r=4"}[method]
    nothing = f"Nothing ranks the settings of {name}, so none was chosen there."
    assert nothing in sentence
    assert choice_sentence([choice for choice in choices if not choice.ranked]) == nothing
    assert "at 2 learning rates" in sentence
    assert "best rate" not in sentence
    other = next(c for c in choices if c.ranked)
    assert end_sentences(choices) == [
        f"{other.arm.learning_rate:g} is the highest learning rate tried for {other.arm.spec.label}: a better one may "
        "lie beyond it."
    ]


def test_what_is_said_of_the_rates_tried_names_their_epochs_where_other_numbers_were_trained():
    def tried(rates, epochs):
        found = [run for name in ("full", "lora") for run in at_rates(name, rates)]
        return [replace(run, spec=run.spec.but(optim=run.spec.optim.but(epochs=epochs))) for run in found]

    short, long = tried((0.001, 0.002, 0.004), 30), tried((0.001, 0.002), 90)
    for runs, words in ((short, ""), ([*short, *long], " with 30 epochs")):
        choices = rate_choices(rows_of(runs))
        assert [choice.tried for choice in choices] == [(0.001, 0.002, 0.004)] * 2
        assert choice_sentence(choices).startswith(f"Each setting was trained{words} at 3 learning rates; ")
        end = f"0.004 is the highest learning rate tried for LoRA r=4{words}: a better one may lie beyond it."
        assert end in end_sentences(choices)
        assert f"above 0.004{words} (full fine-tuning and LoRA r=4)" in reason(decided_on(rows_of(runs)))


def test_a_rate_is_called_best_only_where_both_sides_had_several():
    several, one = at_rates("full", (0.001, 0.002)), at_rates("lora", (0.01,))
    assert "LoRA's rate is 5 times that of full fine-tuning." in choice_sentence(rate_choices(rows_of(several + one)))
    more = at_rates("lora", (0.005, 0.01))
    assert "LoRA's best rate is 5 times that of full fine-tuning." in choice_sentence(
        rate_choices(rows_of(several + more))
    )


def test_each_method_and_rank_is_told_apart_by_how_many_rates_it_had():
    runs = at_rates("full", (0.001, 0.002)) + at_rates("lora", (0.01,)) + at_rates("lora", (0.01, 0.02), rank=8)
    tried = rates_tried(map(setting_of, (run.spec for run in runs)))
    assert (tried.several, tried.one) == (("Full", "LoRA r=8"), ("LoRA r=4",))


def test_an_experiment_is_tuned_where_something_was_tried_in_several_ways():
    one = make_arm_runs("full", [90.0]) + make_arm_runs("lora", [90.0]) + make_arm_runs("lora", [90.0], rank=8)
    assert not is_tuned(map(setting_of, (run.spec for run in one)))
    assert is_tuned(
        map(setting_of, (run.spec for run in one + make_arm_runs("lora", [90.0], optim={"learning_rate": 0.02})))
    )
    # A control is no second way of full fine-tuning.
    assert not is_tuned(
        map(setting_of, (run.spec for run in one + make_arm_runs("full", [90.0], spec={"method": "scratch"})))
    )


def test_tuning_favours_no_method_where_both_are_alike():
    rng, trials, won = np.random.default_rng(7), 300, 0
    for _ in range(trials):
        best = [max(rng.normal(95, 0.5, (5, 6)).mean(axis=1)) for _ in range(2)]
        won += best[0] > best[1]
    assert abs(won / trials - 0.5) <= 3 * math.sqrt(0.25 / trials)
