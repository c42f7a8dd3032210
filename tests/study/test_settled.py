"""Whether longer training would change an answer, and which number of epochs an answer is about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.store.record import Run
from core.study.arms.arm import arms_of
from core.study.arms.choice import chosen_arms, unchosen
from core.study.arms.fairness import comparable
from core.study.arms.growth import longer
from core.study.arms.settled import Course, all_settled, course_of, updates_of
from core.study.arms.tuning import is_tuned
from core.study.arms.verdict import verdict
from core.study.arms.verdict_words import explanation
from tests.study.samples import make_run

TREND = "validation_accuracy"


def runs_with(trends: list[float], method: str = "full", epochs: int = 10, **optim: Any) -> list[Run]:
    more = {"optim": {"epochs": epochs, **optim}, TREND: 90.0}
    return [make_run(method, seed, 90 + seed / 10, trends={TREND: trend}, **more) for seed, trend in enumerate(trends)]


def course(*args: Any, **more: Any) -> Course:
    (arm,) = arms_of(runs_with(*args, **more))
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
    assert [course_of(arm) for arm in arms_of(make_run(seed=seed) for seed in range(4))] == [Course.UNKNOWN]


def test_of_settings_that_would_gain_half_the_margin_few_are_called_settled() -> None:
    """The one-sided limit of 95 % holds: RULE's error at a true gain of exactly half the margin is 5 %."""
    chance = np.random.default_rng(0)
    called = [course(list(chance.normal(0.25, 0.3, 6))) is Course.SETTLED for _ in range(400)]
    assert sum(called) / len(called) < 0.09


@pytest.mark.parametrize(
    ("full", "lora", "settled", "said"),
    [
        ([0.0, 0.01, 0.02], [0.02, 0.0, 0.01], True, "at most 0.25 points to full fine-tuning and LoRA r=4"),
        ([2.0, 2.1, 2.2], [0.02, 0.0, 0.01], False, "After 100 updates full fine-tuning was still improving"),
        ([2.0, -2.1, 2.2], [0.02, 0.0, 0.01], None, "Whether longer training would change full fine-tuning is not"),
    ],
)
def test_the_verdict_says_so(full: list[float], lora: list[float], settled: bool | None, said: str) -> None:
    found = verdict([*runs_with(full), *runs_with(lora, "lora")])
    compared = [found.full, found.told.arm]
    assert (all_settled(compared), updates_of(compared)) == (settled, 100)
    assert said in " ".join(explanation(found))


def longer_runs(epochs: int, accuracy: float, *methods: str, seeds: int = 3) -> list[Run]:
    more = {"optim": {"epochs": epochs}, "created": float(epochs)}
    return [
        make_run(method, seed, accuracy, **more, **{TREND: accuracy + seed / 100})
        for method in methods
        for seed in range(seeds)
    ]


def test_an_answer_is_about_the_largest_number_of_epochs_that_all_its_settings_have() -> None:
    short, long = longer_runs(10, 80.0, "full", "lora", "head"), longer_runs(30, 70.0, "full", "lora")
    more = [*longer_runs(10, 60.0, "full", "lora", seeds=8), *longer_runs(90, 65.0, "full", seeds=8)]
    some = longer_runs(90, 65.0, "lora", seeds=3)
    for runs, epochs, why in (
        ([*short, *long], 30, "although the shorter ones are better"),
        ([*short, *long[:3]], 10, "only full has the longer one"),
        ([*short, *long[:-1]], 10, "one seed is missing"),
        ([*more, *long], 10, "it has more seeds"),
        ([*short, *long, *more[16:]], 30, "LoRA has no longer one"),
        ([*short, *long, *more[16:], *some], 90, "as many seeds"),
    ):
        assert {arm.spec.optim.epochs for arm in chosen_arms(runs)} == {epochs}, why
    assert len(chosen_arms(short)) == 3
    assert not is_tuned(run.spec for run in [*short, *long]), "epochs are no way of tuning"
    assert not [sentence for sentence in comparable([*short, *long]) if "epochs" in sentence]
    assert not {run.id for run in unchosen([*short, *long])} & {run.id for run in short}, "they were chosen before"


def test_longer_training_takes_the_chosen_rates_and_their_neighbors() -> None:
    optim = {"epochs": 10, "patience": 3}
    runs = [
        make_run(method, seed, optim={**optim, "learning_rate": rate}, **{TREND: 90 - abs(rate - best)})
        for method, best in (("full", 0.01), ("lora", 0.1), ("head", 0.1))
        for rate in (0.001, 0.01, 0.1)
        for seed in range(3)
    ]
    found = {(method.kind, optim.learning_rate, optim.epochs, optim.patience) for optim, method in longer(runs)}
    assert found == {
        *(("full", rate, 30, 0) for rate in (0.001, 0.01, 0.1)),
        *(("lora", rate, 30, 0) for rate in (0.01, 0.1)),
    }
    assert longer([]) == []


def test_a_rate_that_decays_is_judged_by_runs_of_a_third_of_the_epochs() -> None:
    def at(epochs: int, gains: list[float], rate: float = 0.001) -> list[Run]:
        optim = {"epochs": epochs, "decay": "linear", "learning_rate": rate}
        return [make_run(seed=seed, optim=optim, **{TREND: 80 + gain}) for seed, gain in enumerate(gains)]

    def judged(runs: list[Run]) -> Course:
        return course_of(chosen_arms(runs)[0])

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
    found = verdict(runs)
    assert found.holds_on is expected
    said = " ".join(explanation(found))
    remains = "The difference is projected to remain with three times the epochs at these learning rates."
    assert (remains in said) is expected, "each was trained at one, and others may be better then"
    assert not (expected and "learns faster" in said)


def test_whether_it_holds_on_is_not_said_without_a_choice_or_trends() -> None:
    assert verdict(longer_runs(10, 80.0, "full", "lora")).holds_on is None
    assert verdict([*runs_with([1.0, 1.1]), *runs_with([1.0, 1.1], "lora")]).holds_on is None
