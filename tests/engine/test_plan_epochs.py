"""Plans that find epochs: for each method by itself, the fewest that are as good as the best within half a margin."""

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
from core.plan.axes import VarySpec
from core.plan.configuration import Configuration
from core.plan.plan import Plan
from core.plan.search import TuneSpec
from core.results.choice import chosen_arms
from core.results.grid import grid_rate
from core.results.row import rows_of
from core.run_spec import OptimSpec, RunSpec
from core.store.record import Run
from tests.study.samples import make_run

SEEDS = tuple(range(5))
BASE = RunSpec.of(method={"kind": "pretrain"}, network=PerceptronSpec(), task=TaskSpec())
Value = Callable[[str, int, float, int], float | None]
"""Validation accuracy by method, epochs, learning rate and seed; None where it diverges."""


def asked(longer: int = 2, epochs: int = 10, vary: VarySpec | None = None, **optim: object) -> Plan:
    arms = [
        (OptimSpec.of(learning_rate=rate, epochs=epochs, **optim), method)
        for rate, method in ((grid_rate(-6), FullSpec()), (grid_rate(-4), LoRASpec.of(rank=4)))
    ]
    tune = TuneSpec.of(longer=longer)
    return Plan.of_configuration(Configuration.on(BASE, TaskSpec(rotation=45), arms, SEEDS, tune=tune, vary=vary))


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
    reached = value(kind, optim.epochs, rate, seed)
    if reached is None:
        return replace(make_run(kind, seed, state="failed", **own), cause=str(DivergedError(7)))
    return make_run(kind, seed, reached, validation_accuracy=reached, **own)


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


def overfitting(bests: dict[str, int]) -> Value:
    """Curves that gain 20 points per tripling until a method's number of epochs, and lose 5 per tripling after it."""
    level = levelling(bests)

    def value(kind: str, epochs: int, rate: float, seed: int) -> float | None:
        reached = level(kind, epochs, rate, seed)
        return None if reached is None else reached - 5 * math.log(max(1.0, epochs / bests[kind]), 3)

    return value


def rates_by_epochs(runs: list[Run], kind: str = "lora") -> dict[int, int]:
    """How many learning rates of a method have all seeds, by number of epochs."""
    counts = Counter((run.spec.optim.epochs, run.spec.arm) for run in runs if run.spec.kind == kind)
    most = max(counts.values())
    return {epochs: sum(own == epochs and n == most for (own, _), n in counts.items()) for epochs, _ in sorted(counts)}


@pytest.mark.parametrize("shape", [levelling, overfitting])
@pytest.mark.parametrize(
    ("best", "longer", "epochs", "expected"),
    [
        (10, 2, 10, {3: 1, 10: 3, 30: 1}),  # what was asked for is chosen: both neighbors are worse, or no better
        (30, 2, 10, {10: 1, 30: 3, 90: 1}),
        (90, 2, 10, {10: 0, 30: 1, 90: 3}),  # as often as it may
        (270, 1, 10, {10: 1, 30: 3}),
        (270, 0, 10, {3: 1, 10: 3}),
        (3, 2, 10, {1: 1, 3: 3, 10: 1, 30: 0}),
        (1, 2, 10, {1: 3, 3: 1, 10: 0, 30: 0}),
        (1, 0, 5, {1: 3, 2: 1, 5: 0}),
        (1, 2, 1, {1: 3, 3: 1}),  # none are fewer
        (1000, 2, 400, {133: 1, 400: 3}),  # no run has more epochs than there may be
    ],
)
def test_the_fewest_epochs_as_good_as_the_best_and_the_best_rate_of_both_neighbors_get_all_seeds(
    shape: Callable[[dict[str, int]], Value], best: int, longer: int, epochs: int, expected: dict[int, int]
) -> None:
    runs = trained(asked(longer, epochs), shape({"full": 1000, "lora": best}))
    assert rates_by_epochs(runs) == expected
    chosen = {arm.spec.optim.epochs for arm in chosen_arms(rows_of(runs)) if arm.spec.kind == "lora"}
    assert chosen == {max(expected, key=expected.__getitem__)}, "the answer chooses as the plan did"


def test_each_method_has_its_own_epochs_whatever_others_gain() -> None:
    runs = trained(asked(), overfitting({"full": 3, "lora": 90}))
    assert rates_by_epochs(runs, "full") == {1: 1, 3: 3, 10: 1, 30: 0}
    assert rates_by_epochs(runs, "lora") == {10: 0, 30: 1, 90: 3}


@pytest.mark.parametrize(("gained", "chosen"), [(0.2, 10), (0.3, 30)])
def test_half_a_margin_is_what_longer_training_has_to_add(gained: float, chosen: int) -> None:
    """The margin is half a point."""

    def value(kind: str, epochs: int, rate: float, seed: int) -> float:
        return (
            80 + gained * (epochs >= 30) - 5 * (epochs < 10) - abs(2 * math.log10(rate) + (6 if kind == "full" else 4))
        )

    assert {arm.spec.optim.epochs for arm in chosen_arms(rows_of(trained(asked(), value)))} == {chosen}


def test_all_seeds_choose_where_the_first_ones_missed_what_longer_training_adds() -> None:
    """And so does what lies beside what they choose: 90 epochs are tried only then."""

    def value(kind: str, epochs: int, rate: float, seed: int) -> float:
        gained = 5.0 * math.log(epochs, 3) if seed >= 3 and kind == "lora" else 0.0
        return 50 + gained - 9 * (epochs < 10) - abs(2 * math.log10(rate) + (6 if kind == "full" else 4))

    runs = trained(asked(), value)
    assert rates_by_epochs(runs) == {3: 1, 10: 3, 30: 3, 90: 3}
    assert rates_by_epochs(runs, "full") == {3: 1, 10: 3, 30: 1}
    assert {arm.spec.label: arm.spec.optim.epochs for arm in chosen_arms(rows_of(runs))} == {"Full": 10, "LoRA r=4": 90}


def test_a_study_keeps_the_epochs_of_its_points_and_patience_ends_training_by_itself() -> None:
    value = levelling({"full": 1, "lora": 100})
    study = asked(0, vary=VarySpec.of(name="epochs", points=(2, 6)))
    assert {setting[0].epochs for _, setting, _ in study.wanted([])} == {2, 6}
    (own, _) = study.parts
    assert rates_by_epochs(trained(own, value)) == {2: 3}
    assert rates_by_epochs(trained(asked(patience=3), value)) == {10: 3}


def test_a_search_for_longer_begins_around_the_rate_that_was_best() -> None:
    plan = asked(1)
    moved = levelling({"full": 30, "lora": 30})

    def value(kind: str, epochs: int, rate: float, seed: int) -> float | None:
        return moved(kind, epochs, rate * 10 if kind == "full" else rate, seed)  # its best is two points lower

    rates = {run.spec.optim.learning_rate for run in trained(plan, value) if run.spec.optim.epochs == 30}
    assert {grid_rate(k) for k in (-9, -8, -7)} < rates
    assert grid_rate(-6) not in rates


def test_where_every_rate_diverges_no_other_epochs_are_tried() -> None:
    runs = trained(asked(), levelling({"full": 10, "lora": 10}, wall=-1.0))
    assert {(run.spec.optim.epochs, run.spec.seed) for run in runs} == {(10, seed) for seed in SEEDS[:3]}


def test_epochs_at_which_every_rate_diverges_are_not_chosen() -> None:
    level = levelling({"full": 90, "lora": 90})
    runs = trained(asked(), lambda kind, epochs, *place: None if epochs > 10 else level(kind, epochs, *place))
    assert rates_by_epochs(runs) == {3: 1, 10: 3, 30: 0}


def test_a_rate_that_decays_is_judged_alike() -> None:
    plan = asked(2, epochs=3, decay="cosine")
    assert rates_by_epochs(trained(plan, levelling({"full": 3, "lora": 9}))) == {3: 1, 9: 3, 27: 1}


@given(st.sampled_from([3, 10, 30, 90]), st.sampled_from([3, 10, 30, 90]), st.integers(0, 3), st.integers(1, 10**6))
def test_the_order_of_results_changes_nothing(full: int, lora: int, longer: int, turn: int) -> None:
    plan, value = asked(longer), levelling({"full": full, "lora": lora}, wall=grid_rate(-4))
    runs, others = trained(plan, value), trained(plan, value, shuffled=turn)
    assert {(run.spec.arm, run.spec.seed) for run in runs} == {(run.spec.arm, run.spec.seed) for run in others}
    assert len(runs) <= len(plan.at_most())


def test_methods_and_seeds_that_are_added_are_searched_for_alike() -> None:
    added, value = LoRASpec.of(rank=8), levelling({"full": 30, "lora": 10})
    runs = trained(asked(1), value)
    grown = asked(1).with_more([(OptimSpec.of(learning_rate=0.01, epochs=10), added)], range(7))
    everything = trained(grown, value, before=runs)
    found = Counter((run.spec.optim.epochs, run.spec.label) for run in everything if run.spec.seed == 6)
    assert found.items() >= {(30, "Full"): 3, (10, "LoRA r=4"): 3, (10, "LoRA r=8"): 3}.items()
    assert set(runs) <= set(everything)


@pytest.mark.parametrize("best", [30, 270, 810])
def test_longer_training_that_is_added_is_one_more_number_of_epochs(best: int) -> None:
    plan, value = asked(), levelling({"full": 30, "lora": best})
    runs = trained(plan, value)
    longer = [(OptimSpec.of(learning_rate=0.01, epochs=270), LoRASpec.of(rank=4))]
    everything = trained(plan.with_more(longer, SEEDS), value, before=runs)
    assert set(runs) <= set(everything)
    assert rates_by_epochs(everything) == (
        {10: 1, 30: 3, 90: 1, 270: 0} if best == 30 else {10: 0, 30: 1, 90: 3, 270: 3}
    )
    assert rates_by_epochs(everything, "full") == rates_by_epochs(runs, "full")


def test_only_a_search_trains_longer() -> None:
    with pytest.raises(SpecError, match="Only a search"):
        TuneSpec.of(rates=3, longer=1)
