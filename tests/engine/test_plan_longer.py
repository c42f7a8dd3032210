"""Plans that train longer: all methods alike, while one gets better, and all seeds with the last number of epochs."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.task_spec import TaskSpec
from core.errors import DivergedError, SpecError
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.networks.perceptron import PerceptronSpec
from core.plan.configuration import Configuration
from core.plan.plan import Plan
from core.plan.rate_grid import TuneSpec, grid_rate
from core.run_spec import OptimSpec, RunSpec
from core.store.record import Run
from tests.study.samples import make_run

SEEDS = tuple(range(5))
BASE = RunSpec.of(method={"kind": "pretrain"}, network=PerceptronSpec(), task=TaskSpec())
Value = Callable[[str, int, float, int], float | None]
"""Validation accuracy by method, epochs, learning rate and seed; None where it diverges."""


def asked(longer: int = 2, epochs: int = 10, **optim: object) -> Plan:
    arms = [
        (OptimSpec.of(learning_rate=rate, epochs=epochs, **optim), method)
        for rate, method in ((grid_rate(-6), FullSpec()), (grid_rate(-4), LoRASpec.of(rank=4)))
    ]
    tune = TuneSpec.of(longer=longer)
    return Plan.of_configuration(Configuration.on(BASE, TaskSpec(rotation=45), arms, SEEDS, tune=tune))


def levelling(lasts: dict[str, int], wall: float = 2.0) -> Value:
    """Curves that gain 20 points per tripling until a method's number of epochs, and nothing from then on."""

    def value(kind: str, epochs: int, rate: float, seed: int) -> float | None:
        if rate > wall:
            return None
        peak = -6 if kind == "full" else -4
        return 50 + 20 * math.log(min(epochs, lasts[kind]), 3) - abs(2 * math.log10(rate) - peak) + seed / 100

    return value


def ended(optim: OptimSpec, method: MethodSpec, seed: int, value: Value) -> Run:
    kind, rate, rank = method.kind, optim.learning_rate, method.inner_rank or 4
    own = {"optim": optim.model_dump(), "rank": rank}
    now, later = (value(kind, epochs, rate, seed) for epochs in (optim.epochs, 3 * optim.epochs))
    if now is None or later is None:
        return replace(make_run(kind, seed, state="failed", **own), cause=str(DivergedError(7)))
    return make_run(kind, seed, now, trends={"validation_accuracy": later - now}, validation_accuracy=now, **own)


def trained(plan: Plan, value: Value, shuffled: int = 0, before: list[Run] | None = None) -> list[Run]:
    """All that a plan trains, in any order. Args: before: what was trained before it grew."""
    runs = {(run.spec.optim, run.spec.method, run.spec.seed): run for run in before or []}
    turn, asked_before = random.Random(shuffled), set[tuple[object, ...]]()
    while True:
        wanted = {(*setting, seed) for _, setting, seed in plan.wanted(runs.values())}
        assert asked_before <= wanted, "what is wanted only grows"
        left = [key for key in sorted(wanted, key=str) if key not in runs]
        assert plan.is_done(runs.values()) is not bool(left)
        if not left:
            return list(runs.values())
        asked_before = wanted
        turn.shuffle(left)
        for key in left[: turn.randint(1, len(left))] if shuffled else left:
            runs[key] = ended(*key, value)


def seeds_by_epochs(runs: list[Run]) -> dict[int, int]:
    """The most seeds that a setting has, by number of epochs."""
    counts = Counter((run.spec.optim.epochs, run.spec.arm) for run in runs)
    return {epochs: max(n for (own, _), n in counts.items() if own == epochs) for epochs, _ in counts}


@pytest.mark.parametrize(
    ("lasts", "longer", "epochs", "expected"),
    [
        ({"full": 10, "lora": 10}, 2, 10, {10: 5}),  # both are settled at once
        ({"full": 10, "lora": 30}, 2, 10, {10: 3, 30: 5}),  # one gets better: both train longer
        ({"full": 90, "lora": 30}, 2, 10, {10: 3, 30: 3, 90: 5}),
        ({"full": 270, "lora": 30}, 1, 10, {10: 3, 30: 5}),  # as often as it may
        ({"full": 270, "lora": 30}, 0, 10, {10: 5}),
        ({"full": 999, "lora": 30}, 3, 10, {10: 3, 30: 3, 90: 3, 270: 5}),
        ({"full": 1, "lora": 1}, 2, 4, {4: 3, 12: 5}),  # a curve that is too short to say anything is made longer
        ({"full": 1000, "lora": 1}, 2, 400, {400: 5}),  # no run has more epochs than there may be
    ],
)
def test_all_methods_train_longer_while_one_gets_better(
    lasts: dict[str, int], longer: int, epochs: int, expected: dict[int, int]
) -> None:
    runs = trained(asked(longer, epochs), levelling(lasts))
    assert seeds_by_epochs(runs) == expected
    assert {run.spec.kind for run in runs if run.spec.optim.epochs == max(expected)} == {"full", "lora"}


def test_a_search_for_longer_begins_around_the_rate_that_was_best() -> None:
    plan = asked(1)
    moved = levelling({"full": 30, "lora": 30})

    def value(kind: str, epochs: int, rate: float, seed: int) -> float | None:
        return moved(kind, epochs, rate * 10 if kind == "full" else rate, seed)  # its best is two points lower

    rates = {run.spec.optim.learning_rate for run in trained(plan, value) if run.spec.optim.epochs == 30}
    assert {grid_rate(k) for k in (-9, -8, -7)} < rates
    assert grid_rate(-6) not in rates


def test_where_every_rate_diverges_nothing_is_made_longer() -> None:
    runs = trained(asked(), levelling({"full": 10, "lora": 10}, wall=-1.0))
    assert seeds_by_epochs(runs) == {10: 3}


def test_a_rate_that_decays_is_judged_beside_a_third_of_the_epochs_with_all_seeds() -> None:
    plan = asked(2, epochs=3, decay="cosine")
    runs = trained(plan, levelling({"full": 3, "lora": 3}))
    whole = Counter(run.spec.arm for run in runs if run.spec.optim.epochs == 3)
    assert seeds_by_epochs(runs) == {3: 5, 9: 5}
    assert Counter(whole.values())[5] == 2, "of the shorter ones only the chosen rate of each method"
    assert seeds_by_epochs(trained(plan, levelling({"full": 9, "lora": 3}))) == {3: 3, 9: 5, 27: 5}


@given(st.sampled_from([3, 10, 30, 90]), st.sampled_from([3, 10, 30, 90]), st.integers(0, 3), st.integers(1, 10**6))
def test_the_order_of_results_changes_nothing(full: int, lora: int, longer: int, turn: int) -> None:
    plan, value = asked(longer), levelling({"full": full, "lora": lora}, wall=grid_rate(-4))
    runs, others = trained(plan, value), trained(plan, value, shuffled=turn)
    assert {(run.spec.arm, run.spec.seed) for run in runs} == {(run.spec.arm, run.spec.seed) for run in others}
    assert len(runs) <= len(plan.at_most())


def test_methods_and_seeds_that_are_added_are_trained_for_as_long() -> None:
    added, value = LoRASpec.of(rank=8), levelling({"full": 30, "lora": 10})
    runs = trained(asked(1), value)
    grown = asked(1).with_more([(OptimSpec.of(learning_rate=0.01, epochs=10), added)], range(7))
    everything = trained(grown, value, before=runs)
    found = Counter((run.spec.optim.epochs, run.spec.label) for run in everything if run.spec.seed == 6)
    assert found == {(30, "Full"): 3, (30, "LoRA r=4"): 3, (30, "LoRA r=8"): 3}
    assert set(runs) <= set(everything)


def test_only_a_search_trains_longer() -> None:
    with pytest.raises(SpecError, match="Only a search"):
        TuneSpec.of(rates=3, longer=1)
