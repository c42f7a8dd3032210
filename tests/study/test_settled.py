"""Whether longer training would change an answer, and which number of epochs an answer is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.answer.checks.registry import checks_of
from core.answer.lines import headline, reason
from core.results.arm import arms_of
from core.results.choice import chosen_arms
from core.results.row import rows_of
from core.results.setting import setting_of
from core.rule.settled import Course, all_settled, course_of, has_better_epochs, updates_of
from core.rule.tuning import is_tuned, longer
from core.rule.withheld import NextStep
from core.store.record import Run
from core.study.arms.fairness import EPOCHS_DIFFER, comparable
from tests.study.samples import decided_on, make_run, said_of

TREND = "validation_accuracy"
BY_LOSS = {"kind": "classification", "measure": "loss"}


def runs_with(trends: list[float], method: str = "full", epochs: int = 10, **optim: Any) -> list[Run]:
    more = {"optim": {"epochs": epochs, **optim}, TREND: 90.0}
    return [make_run(method, seed, 90 + seed / 10, trends={TREND: trend}, **more) for seed, trend in enumerate(trends)]


def course(*args: Any, **more: Any) -> Course:
    (arm,) = arms_of(rows_of(runs_with(*args, **more)))
    return course_of(arm)


@pytest.mark.parametrize(
    ("trends", "expected"),
    [
        ([0.1, 0.05, 0.08, 0.02], Course.SETTLED),
        ([-3.0, -2.0, -4.0], Course.SETTLED),  # it gets worse: longer training makes it no better
        ([1.0, 1.2, 0.9], Course.IMPROVING),
        ([0.1, 0.2, 0.15, 0.12], Course.SETTLED),  # it improves, but by less than half the margin
        ([1.0, -1.0, 0.5], Course.UNKNOWN),
        ([0.0, 0.0], Course.UNKNOWN),  # too few seeds
    ],
)
def test_a_setting_is_settled_where_longer_training_adds_less_than_half_the_margin(
    trends: list[float], expected: Course
) -> None:
    assert course(trends) == expected


def test_what_says_nothing_of_longer_training_is_not_known() -> None:
    flat = [0.0, 0.01, 0.02, 0.01]
    assert course(flat) == Course.SETTLED
    assert course(flat, epochs=9) == Course.UNKNOWN
    assert course(flat, patience=3) == Course.UNKNOWN
    assert course(flat, decay="cosine") == Course.UNKNOWN
    assert [course_of(arm) for arm in arms_of(rows_of(make_run(seed=seed) for seed in range(4)))] == [Course.UNKNOWN]


def test_of_settings_that_would_gain_half_the_margin_few_are_called_settled() -> None:
    """The one-sided limit of 95 % holds: RULE's error at a true gain of exactly half the margin is 5 %."""
    chance = np.random.default_rng(0)
    called = [course(list(chance.normal(0.25, 0.3, 6))) is Course.SETTLED for _ in range(400)]
    assert sum(called) / len(called) < 0.09


@pytest.mark.parametrize(
    ("full", "lora", "settled", "said"),
    [
        (
            [0.0, 0.01, 0.02],
            [0.02, 0.0, 0.01],
            True,
            "Three times the epochs are projected to add at most 0.25 points",
        ),
        ([2.0, 2.1, 2.2], [0.02, 0.0, 0.01], False, "Full fine-tuning was still improving after 100 updates"),
        (
            [2.0, -2.1, 2.2],
            [0.02, 0.0, 0.01],
            None,
            "What longer training would bring is not known",
        ),
    ],
)
def test_the_verdict_says_so(full: list[float], lora: list[float], settled: bool | None, said: str) -> None:
    found = decided_on(rows_of([*runs_with(full), *runs_with(lora, "lora")]))
    compared = [found.full, found.told.arm]
    assert (all_settled(compared), updates_of(compared)) == (settled, 100)
    assert f"{said}." in said_of(found)


def of_epochs(epochs: int, accuracy: float, *methods: str, seeds: int = 3, beside: float = 0, **more: Any) -> list[Run]:
    """Runs of several methods. Args: beside: points by which both neighbors of the learning rate are worse, if any."""
    return [
        make_run(
            method,
            seed,
            accuracy - worse,
            optim={"epochs": epochs, "learning_rate": rate},
            created=float(epochs),
            **{TREND: accuracy - worse},
            **more,
        )
        for method in methods
        for rate, worse in ((0.000316, beside), (0.001, 0.0), (0.00316, beside))
        if beside or rate == 0.001
        for seed in range(seeds)
    ]


def searched(runs: list[Run]) -> list[Run]:
    return [replace(run, plan="complete") for run in runs]


def chosen(runs: list[Run]) -> dict[str, int]:
    return {arm.spec.kind: arm.spec.optim.epochs for arm in chosen_arms(rows_of(runs))}


def test_each_method_is_compared_at_the_fewest_epochs_that_are_as_good_as_its_best() -> None:
    """Within half of the margin of 0.5 points, and only where most seeds were trained."""
    both = of_epochs(10, 80.0, "full", "lora", "head")
    for better, epochs in ((0.0, 10), (0.25, 10), (0.26, 30), (5.0, 30), (-5.0, 10)):
        runs = [*both, *of_epochs(30, 80.0 + better, "full")]
        assert chosen(runs) == {"full": epochs, "lora": 10, "head": 10}
    overfit = [*both, *of_epochs(30, 85.0, "full", "lora"), *of_epochs(90, 84.0, "full"), *of_epochs(90, 86.0, "lora")]
    assert chosen(overfit) == {"full": 30, "lora": 90, "head": 10}
    assert chosen([*both, *of_epochs(30, 85.0, "full", "lora")[:-1]]) == {"full": 30, "lora": 10, "head": 10}, "a seed"
    more = [*of_epochs(10, 80.0, "full", seeds=8), *of_epochs(30, 85.0, "full")]
    assert chosen(more) == {"full": 10}, "the better ones are of three seeds alone"
    assert not is_tuned(map(setting_of, (run.spec for run in [*both, *of_epochs(30, 85.0, "full", "lora")]))), (
        "epochs are no tuning"
    )


def test_methods_that_could_not_choose_among_the_same_epochs_are_no_fair_comparison() -> None:
    both, longer = of_epochs(10, 80.0, "full", "lora"), of_epochs(30, 81.0, "full")
    for runs, is_told in (
        ([*both, *of_epochs(30, 81.0, "full", "lora")], False),
        ([*both, *longer], True),
        (searched([*both, *longer]), False),
    ):
        assert [each for each in comparable(rows_of(runs)) if "epochs" in each] == [EPOCHS_DIFFER] * is_told


@pytest.mark.parametrize(
    ("fewer", "own", "more", "expected"),
    [
        (None, 80.0, 80.25, Course.SETTLED),  # by runs, whatever their trend; fewer were not tried
        (None, 80.0, 80.26, Course.IMPROVING),
        (80.2, 80.0, 79.0, Course.SETTLED),
        (80.3, 80.0, 79.0, Course.OVERTRAINED),
        (79.0, 80.0, None, Course.UNKNOWN),
    ],
)
def test_other_numbers_of_epochs_that_were_tried_say_whether_a_setting_is_settled(
    fewer: float | None, own: float, more: float | None, expected: Course
) -> None:
    """The answer is about 10 epochs, which alone have all seeds."""
    tried = ((3, fewer, 3), (10, own, 8), (30, more, 3))
    both = [of_epochs(n, value, "full", "lora", seeds=seeds, beside=1.0) for n, value, seeds in tried if value]
    runs = searched([run for own in both for run in own])
    (full, _) = chosen_arms(rows_of(runs))
    assert (full.spec.optim.epochs, course_of(full)) == (10, expected)
    assert has_better_epochs(full) is (expected in (Course.OVERTRAINED, Course.IMPROVING))
    found = decided_on(rows_of(runs))
    assert all_settled(found.compared) is {Course.SETTLED: True, Course.UNKNOWN: None}.get(expected, False)
    said = " ".join(said_of(found))
    assert ("did better on validation with a third of the epochs." in said) is (expected is Course.OVERTRAINED)
    assert ("Next: Find the epochs." in said) is has_better_epochs(full)


def test_what_an_answer_says_where_methods_have_different_epochs() -> None:
    runs = [
        *of_epochs(10, 90.0, "full", seeds=8),
        *of_epochs(10, 80.0, "lora"),
        *of_epochs(30, 85.0, "lora", seeds=8),
        *of_epochs(3, 70.0, "full", "lora"),
    ]
    found = decided_on(rows_of(runs))
    assert chosen(runs) == {"full": 10, "lora": 30}
    assert "LoRA r=4 for 30 epochs is 5.00 points less accurate" in headline(found)
    assert "than full fine-tuning for 10 epochs." in headline(found)
    assert "Equal epochs: LoRA r=4 10.00 points (after 10) less accurate." in said_of(found)
    assert [at.difference and at.difference.seeds for at in found.at_equal_epochs] == [(0, 1, 2), None]
    alike = decided_on(rows_of(of_epochs(10, 90.0, "full", seeds=8) + of_epochs(10, 85.0, "lora", seeds=8)))
    assert alike.at_equal_epochs == ()
    assert "epochs" not in headline(alike)


def test_equal_epochs_are_those_of_the_setting_that_is_told_not_of_the_best_one() -> None:
    full = [*of_epochs(10, 85.0, "full", seeds=8), *of_epochs(30, 90.0, "full", seeds=8)]
    cheap = of_epochs(10, 90.0, "lora", seeds=8, rank=1)
    found = decided_on(rows_of([*full, *cheap, *of_epochs(30, 91.0, "lora", seeds=8, rank=16)]))
    assert found.told is not None
    assert found.best is not None
    assert [each.arm.spec.label for each in (found.told, found.best)] == ["LoRA r=1", "LoRA r=16"]
    assert [at.epochs for at in found.at_equal_epochs] == [10, 30]
    assert "Equal epochs: LoRA r=1 5.00 points (after 10) more accurate." in " ".join(said_of(found))


def test_longer_training_takes_the_chosen_rates_and_their_neighbors() -> None:
    optim = {"epochs": 10, "patience": 3}
    runs = [
        make_run(method, seed, optim={**optim, "learning_rate": rate}, **{TREND: 90 - abs(rate - best)})
        for method, best in (("full", 0.01), ("lora", 0.1), ("head", 0.1))
        for rate in (0.001, 0.01, 0.1)
        for seed in range(3)
    ]
    found = {
        (method.kind, optim.learning_rate, optim.epochs, optim.patience) for optim, method in longer(rows_of(runs))
    }
    assert found == {
        *(("full", rate, 30, 0) for rate in (0.001, 0.01, 0.1)),
        *(("lora", rate, 30, 0) for rate in (0.01, 0.1)),
    }
    assert longer(rows_of([])) == []


def test_a_rate_that_decays_is_judged_by_runs_of_a_third_of_the_epochs() -> None:
    def at(epochs: int, gains: list[float], rate: float = 0.001) -> list[Run]:
        optim = {"epochs": epochs, "decay": "linear", "learning_rate": rate}
        return [make_run(seed=seed, optim=optim, **{TREND: 80 + gain}) for seed, gain in enumerate(gains)]

    def judged(runs: list[Run]) -> Course:
        return course_of(chosen_arms(rows_of(runs))[0])

    long = at(9, [2.0, 2.1, 2.2, 2.1])
    assert judged(long) is Course.UNKNOWN
    assert judged([*at(3, [0.0] * 4), *long]) is Course.IMPROVING
    assert judged([*at(3, [2.0, 2.05, 2.1, 2.1]), *long]) is Course.SETTLED
    assert judged([*at(3, [0.0] * 4), *at(3, [2.1] * 4, rate=0.01), *long]) is Course.SETTLED, "beside its best rate"
    assert judged([*at(3, [0.0] * 3), *long]) is Course.UNKNOWN, "one seed lacks its shorter run"


@pytest.mark.parametrize(
    ("full", "lora", "ahead", "expected"),
    [
        ([1.0, 1.1, 0.9, 1.0], [1.0, 1.0, 1.1, 0.9], 5.0, True),  # both improve, and the lead stays
        ([0.0, 0.1, 0.0, 0.1], [6.0, 6.1, 5.9, 6.0], 5.0, False),  # the other catches up
        ([0.0, 20.0, 0.0, 0.0], [0.0, 0.1, 20.0, 0.0], 5.0, False),  # nobody can tell
        ([0.0, 0.1, 0.0, 0.1], [6.0, 6.1, 5.9, 6.0], -5.0, True),  # it gains further on the better one
    ],
)
def test_a_difference_holds_on_where_what_each_seed_would_gain_leaves_it(
    full: list[float], lora: list[float], ahead: float, expected: bool
) -> None:
    """``ahead``: points by which full fine-tuning is better."""
    runs = [
        make_run(method, seed, 80 + seed / 10 + shift, optim={"epochs": 10}, trends={TREND: trend}, **{TREND: 80.0})
        for method, shift, trends in (("full", ahead, full), ("lora", 0.0, lora))
        for seed, trend in enumerate([*trends, *trends])
    ]
    found = decided_on(rows_of(runs))
    assert found.holds_on is expected
    remains = "Tripling the epochs should not change this at these rates."
    assert (remains in said_of(found)) is expected, "each was trained at one, and others may be better then"


def test_whether_it_holds_on_is_not_said_without_a_choice_or_trends() -> None:
    assert decided_on(rows_of(of_epochs(10, 80.0, "full", "lora"))).holds_on is None
    assert decided_on(rows_of([*runs_with([1.0, 1.1]), *runs_with([1.0, 1.1], "lora")])).holds_on is None


@pytest.mark.parametrize(("steps", "step"), [(9, NextStep.LONGER), (49, NextStep.LONGER), (50, NextStep.SEEDS)])
def test_few_updates_are_no_basis_for_more_seeds(steps: int, step: NextStep) -> None:
    runs = [
        make_run(method, seed, 80 + seed / 10 - 2 * (method == "lora"), steps=steps)
        for method in ("full", "lora")
        for seed in range(3)
    ]
    found = decided_on(rows_of(runs))
    assert (found.claim, found.step) == (None, step)


def test_a_measure_without_a_scale_is_told_with_that_of_the_base() -> None:
    runs = [
        make_run(method, seed, loss=loss + seed / 100, loss_before=1.5 + seed / 100, spec={"objective": BY_LOSS})
        for method, loss in (("full", 0.25), ("lora", 0.5))
        for seed in range(3)
    ]
    both = "Gain over the base in loss: full fine-tuning 1.2500, LoRA r=4 1.0000."
    assert both in said_of(decided_on(rows_of(runs)))
    alone = decided_on(rows_of(runs[3:]))
    assert reason(alone) == "LoRA r=4 went from 1.5100 before fine-tuning to 0.5100."
    unfinished = decided_on(rows_of([*runs[:2], replace(runs[2], state="running", result=None)]))
    assert "before fine-tuning" not in reason(unfinished), "to be read at the end"
    assert "base" not in checks_of(decided_on(rows_of([*runs_with([1.0] * 3), *runs_with([1.0] * 3, "lora")])))
