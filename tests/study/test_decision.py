from __future__ import annotations

import math

import numpy as np
import pytest

from core.errors import SpecError
from core.study.arms.arm import arms_of
from core.study.arms.storage import bytes_for_customers
from core.study.report.decision import DecisionSpec, cheapest_within
from tests.study.samples import make_arm_runs


def runs_with(full, **lora):
    runs = make_arm_runs("full", list(full))
    for rank, values in lora.items():
        runs += make_arm_runs("lora", list(values), rank=int(rank[1:]))
    return runs


SPREAD = np.array([0.1, -0.1, 0.05, -0.05, 0.02, -0.02, 0.08, -0.08, 0.03, -0.03])


def test_the_cheapest_of_those_within_the_margin_is_chosen():
    runs = runs_with(95 + SPREAD, r1=93 + SPREAD[::-1], r4=94.8 + SPREAD[::-1], r16=95 + SPREAD[::-1])
    decision = cheapest_within(runs, 0.5)
    assert [candidate.arm.lora.rank for candidate in decision.candidates] == [1, 4, 16]
    assert [candidate.holds for candidate in decision.candidates] == [False, True, True]
    assert decision.choice.arm.lora.rank == 4
    assert decision.sentence.startswith(
        "The cheapest setting within 0.5 points of full fine-tuning at 95 % is LoRA r=4, which trains 6,248 parameters "
        "instead of 136,074: its accuracy is 0.20 points below it (95 % interval "
    )
    assert "95 % interval" in decision.second_sentence
    assert cheapest_within(runs, 5).choice.arm.lora.rank == 1
    assert cheapest_within(runs, 0.05).choice is None
    assert "No setting is shown to be within 0.05 points" in cheapest_within(runs, 0.05).sentence


def test_the_setting_that_is_told_of_where_none_is_within_the_margin_is_the_best_on_validation():
    runs = make_arm_runs("full", list(95 + SPREAD))
    for rank, validation, tested in ((1, 91.0, 92.0), (4, 93.0, 91.0), (16, 92.0, 94.0)):
        runs += make_arm_runs("lora", list(tested + SPREAD[::-1]), rank=rank, validation_accuracy=validation)
    head = make_arm_runs("full", list(90 + SPREAD), spec={"control": "head"}, trainable_parameters=2570)
    decision = cheapest_within(runs + head, 0.05)
    assert decision.closest.arm.lora.rank == 4
    assert "; the best on the validation part, LoRA r=4, is 4.00 points below it" in decision.sentence
    assert cheapest_within(runs[:10] + head, 0.05).closest.arm.spec.control == "head"


@pytest.mark.parametrize("seeds", [1, 3, 5, 6])
def test_too_few_seeds_make_no_decision_and_say_how_many_it_takes(seeds):
    decision = cheapest_within(runs_with([95.0] * seeds, r1=[95.0] * seeds, r4=[95.0] * seeds), 1.0)
    assert decision.choice is None
    assert "comparing 2 settings takes at least 7." in decision.sentence


def test_a_single_setting_is_not_spoken_of_as_several():
    decision = cheapest_within(runs_with([95.0] * 3, r4=[95.0] * 3), 1.0)
    assert decision.sentence.endswith("with 3 seeds: comparing 1 setting takes at least 6.")


def test_without_full_fine_tuning_there_is_no_answer():
    assert "no answer yet" in cheapest_within(make_arm_runs("lora", [90.0] * 8), 1.0).sentence
    assert cheapest_within([], 1.0).second_sentence == ""


def test_controls_may_be_the_answer_but_not_one_that_trains_as_much():
    runs = make_arm_runs("full", list(95 + SPREAD)) + make_arm_runs("lora", list(95 + SPREAD[::-1]))
    for control, trained in (("head", 2570), ("scratch", 136_074)):
        runs += make_arm_runs("full", list(95 + SPREAD[::-1]), spec={"control": control}, trainable_parameters=trained)
    decision = cheapest_within(runs, 0.5)
    assert [candidate.arm.label for candidate in decision.candidates] == ["Head only", "LoRA r=4"]
    assert "is head only, which trains 2,570 parameters" in decision.sentence
    assert decision.full.spec.control is None


def test_a_setting_that_falls_short_by_the_margin_is_seldom_called_within_it():
    rng, trials = np.random.default_rng(8), 300
    # All three lie exactly at the margin: what is claimed of any of them is a false alarm.
    runs = rng.normal(0, 0.4, (trials, 4, 8))
    alarms = np.mean(
        [
            cheapest_within(runs_with(95 + f, r1=94 + a, r4=94 + b, r16=94 + c), 1.0).choice is not None
            for f, a, b, c in runs
        ]
    )
    assert alarms <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


@pytest.mark.parametrize("margin", [-0.1, 11.0, math.nan])
def test_a_margin_out_of_bounds_is_one_sentence(margin):
    with pytest.raises(SpecError, match="Margin must be"):
        DecisionSpec.of(within=margin)


def test_storage_of_a_worked_example():
    full, lora = arms_of(make_arm_runs("full", [90.0]) + make_arm_runs("lora", [90.0]))
    assert bytes_for_customers(full, 100) == 100 * 545_000
    assert bytes_for_customers(lora, 100) == 545_000 + 100 * 24_900
    (head,) = arms_of(make_arm_runs("full", [90.0], spec={"control": "head"}, trainable_parameters=2570))
    assert bytes_for_customers(head, 10) == 545_000 + 10 * 4 * 2570
    (scratch,) = arms_of(make_arm_runs("full", [90.0], spec={"control": "scratch"}))
    assert bytes_for_customers(scratch, 10) == 10 * 545_000
