"""What is decided between full fine-tuning and adapters, and in which words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.data.task_spec import TaskSpec
from core.methods.lora import LoRASpec
from core.numbers import bytes_text
from core.objectives.measure import Values
from core.objectives.registry import CLASSIFICATION
from core.plan.experiment import MAX_NEW_SEEDS
from core.results.arm import arms_of, judged_by
from core.results.measures import EACH
from core.results.row import Row, rows_of
from core.rule.ahead import Ahead
from core.rule.candidate import Rule
from core.rule.claims import Level
from core.rule.growth import rates_beside
from core.rule.place import About, Place
from core.rule.spending import level_of
from core.rule.withheld import NextStep
from core.run_spec import OptimSpec
from core.spec import bounds
from core.store.record import Run
from core.study.arms.cost_words import costs
from core.study.arms.outliers import outliers
from core.study.arms.verdict_words import explanation, headline, level_words
from tests.pairs import pairwise
from tests.study.samples import SPREAD, decided_on, make_arm_runs, make_run, settled, tuned, within


def below(points: float, seeds: int, noise: float = 1.0) -> list[float]:
    """Accuracies of LoRA that lie a number of points below 95 %, with noise of its own."""
    return list(95 - points + noise * SPREAD[::-1][:seeds])


def full(seeds: int) -> list[float]:
    return list(95 + SPREAD[:seeds])


def runs_with(reference: Any, **lora: Any) -> list[Run]:
    """Full fine-tuning and LoRA of some ranks, settled, each best at the middle one of three learning rates."""
    runs = tuned("full", list(reference))
    for rank, values in lora.items():
        runs += tuned("lora", list(values), rank=int(rank[1:]))
    return runs


def given(reference: Any, **lora: Any) -> list[Run]:
    """The same, each at one learning rate, and trained too shortly to tell whether it is settled."""
    runs = make_arm_runs("full", list(reference))
    for rank, values in lora.items():
        runs += make_arm_runs("lora", list(values), rank=int(rank[1:]), validation_accuracy=float(np.mean(values)))
    return runs


def without(rate: float, runs: list[Run]) -> list[Run]:
    """These runs but for those at one learning rate."""
    return [run for run in runs if run.spec.optim.learning_rate != rate]


LOWER = runs_with(full(8), r4=below(4, 8))
"""An experiment in which LoRA is shown to be 4 points less accurate."""
MOST = int(bounds(OptimSpec, "epochs").high or 0)
"""Epochs that a run may have."""


def said(found: Place) -> str:
    return " ".join([headline(found), *explanation(found), costs(found)])


def test_the_cheapest_setting_within_the_margin_is_chosen() -> None:
    runs = runs_with(full(10), r1=below(2, 10), r4=below(0.2, 10), r16=below(0, 10))
    found = decided_on(rows_of(runs))
    assert [candidate.arm.spec.method.rank for candidate in found.candidates] == [1, 4, 16]
    assert [candidate.within for candidate in found.candidates] == [Level.OPEN, Level.SHOWN, Level.SHOWN]
    assert (found.rule, found.level, found.about) == (Rule.WITHIN, Level.SHOWN, About.METHODS)
    assert found.choice.spec.method.rank == 4
    assert headline(found).startswith(
        "Use LoRA r=4 at learning rate 0.01: it is at most the margin of 0.5 points less accurate than "
        "full fine-tuning at learning rate 0.001 (observed: 0.20 points less accurate, 95 % interval 0."
    )
    assert headline(found).endswith("with 6,248 instead of 136,074 trainable parameters.")
    wide = decided_on(rows_of(within(runs, 5)))
    assert wide.choice.spec.method.rank == 1
    assert decided_on(rows_of(within(runs, 0.01))).rule is not Rule.WITHIN


@pytest.mark.parametrize(("adapter", "fewest"), [(24_900, 2), (400_000, 4), (272_500, 3), (545_000, 0)])
def test_what_an_adapter_takes_to_store_counts_its_base(adapter: int, fewest: int) -> None:
    """The checkpoint has 545,000 bytes, so that for one customer LoRA always takes more."""
    runs = [
        replace(run, result=replace(run.result, adapter_bytes=adapter)) if run.spec.label != "Full" else run
        for run in runs_with(full(8), r4=below(0, 8))
        if run.result is not None
    ]
    told = costs(decided_on(rows_of(runs)))
    lora, whole = (
        next(arm for arm in arms_of(rows_of(runs)) if arm.spec.label == label) for label in ("LoRA r=4", "Full")
    )
    less = [n for n in range(1, 9) if lora.bytes_for(n) < whole.bytes_for(n)]
    assert next(iter(less), 0) == fewest
    assert (
        f"{EACH}, LoRA r=4 is stored as one base of 545.0 kB and {bytes_text(adapter)} for each customer, full" in told
    )
    assert (f"LoRA r=4 takes less from {fewest} customers on." in told) is bool(fewest)
    assert ("LoRA r=4 takes more for any number of customers." in told) is (not fewest)


def test_no_rank_keeps_another_from_being_good_enough() -> None:
    """The audit's veto: rank 1 is far above full fine-tuning, and rank 32 fell far below it."""
    found = decided_on(rows_of(runs_with(full(8), r1=below(-24, 8), r32=below(40, 8, noise=30))))
    assert (found.rule, found.choice and found.choice.spec.method.rank) == (Rule.WITHIN, 1)


@pytest.mark.parametrize(
    ("points", "seeds", "rule", "level", "start"),
    [
        (4, 8, Rule.LOWER, Level.SHOWN, "Use full fine-tuning at learning rate 0.001: LoRA r=4 at learning rate 0.01"),
        (4, 5, Rule.NONE, Level.LEANING, "No choice yet: LoRA r=4 at learning rate 0.01 was 4.01 points less accurate"),
        (4, 1, Rule.NONE, Level.OPEN, "No choice yet: no difference in accuracy is shown between LoRA r=4 at learning"),
        (-4, 8, Rule.WITHIN, Level.SHOWN, "Use LoRA r=4 at learning rate 0.01: it is 4.00 points more accurate (95 %"),
        (-4, 3, Rule.NONE, Level.LEANING, "No choice yet: LoRA r=4 at learning rate 0.01 was 3.9"),
    ],
)
def test_each_part_of_the_rule_decides(points: float, seeds: int, rule: Rule, level: Level, start: str) -> None:
    found = decided_on(rows_of(runs_with(full(seeds), r4=below(points, seeds))))
    assert (found.rule, found.level) == (rule, level)
    assert headline(found).startswith(start)
    choice = {Rule.NONE: None, Rule.LOWER: "Full", Rule.WITHIN: "LoRA r=4"}[rule]
    assert (found.choice.spec.label if found.choice else None) == choice
    assert found.told.difference.interval.mean == pytest.approx(-points, abs=0.2)


def test_where_nothing_is_within_the_margin_the_best_on_validation_may_be_shown_to_be_higher() -> None:
    found = decided_on(rows_of(within(runs_with(full(8), r4=below(-4, 8), r16=below(6, 8)), 0.0)))
    assert found.rule is Rule.WITHIN  # what is higher is within any margin, and shown at half the level as well
    five = decided_on(rows_of(within(runs_with(full(7), r4=[96, 96, 96, 96, 96, 96, 95.2], r16=below(6, 7)), 0.0)))
    assert five.level is Level.SHOWN


def test_leaning_decides_nothing_and_is_in_no_headline() -> None:
    found = decided_on(rows_of(runs_with([95.0, 95.3, 94.8], r4=[92.2, 92.9, 91.6])))
    assert (found.level, found.choice, found.rule) == (Level.LEANING, None, Rule.NONE)
    assert "lean" not in headline(found).lower()
    assert "one such experiment in twenty leans without any difference" in said(found)
    assert "at 7 seeds" in said(found)
    assert Ahead(found).seeds_to_add == 4


def test_what_was_seen_is_no_claim_and_says_why() -> None:
    # One of seven seeds points far the other way.
    lora = [94.0, 93.0, 92.0, 94.0, 92.0, 93.0, 95.9]
    found = decided_on(rows_of(runs_with([95.0] * 7, r1=lora, r4=lora, r16=lora)))
    assert (found.rule, found.level) == (Rule.NONE, Level.OPEN)
    assert "and this look allows 2.9 %" in said(found) or "contains 0" in said(found)


def test_the_setting_that_is_told_of_is_the_best_on_validation_and_the_test_part_never_chooses() -> None:
    runs = tuned("full", full(10))
    for rank, validation, reached in ((1, 91.0, 92.0), (4, 93.0, 91.0), (16, 92.0, 94.0)):
        runs += tuned("lora", list(reached + SPREAD[::-1]), rank=rank, validation=validation)
    found = decided_on(rows_of(within(runs, 0.05)))
    assert (found.rule, found.told.arm.spec.method.rank) == (Rule.LOWER, 4)
    assert "the best of three ranks, LoRA r=4 at learning rate 0.01, is 4.00 points less" in headline(found)


ON_LAYERS = {
    ("all-linear",): "all-linear",
    ("attention",): "attention",
    ("query", "value"): "query and value",
    tuple(f"layer.{block}.query" for block in range(6)): "layer.0.query, layer.1.query, layer.2.query and 3 more",
}


@pytest.mark.parametrize("layers", ON_LAYERS)
def test_where_settings_differ_in_their_layers_the_sentences_name_those_of_the_one_that_is_told_of(
    layers: tuple[str, ...],
) -> None:
    def tried(targets: tuple[str, ...], accuracy: float, **settings: Any) -> list[Run]:
        method = LoRASpec.of(target_modules=targets, **settings)
        return make_arm_runs("lora", list(accuracy + SPREAD), spec={"method": method}, validation_accuracy=accuracy)

    others = [tried(targets, 60.0) for targets in ON_LAYERS if targets != layers]
    runs = [*make_arm_runs("full", full(10)), *tried(layers, 99.0), *(run for own in others for run in own)]
    found = decided_on(rows_of(runs))
    name = f"LoRA r=4 on {ON_LAYERS[layers]}"
    assert f", {name} is 4.00 points more accurate" in headline(found)
    assert costs(found).startswith(f"{name} trains ")
    assert found.told.arm.label == f"LoRA r=4, layers {' '.join(layers)}"
    also = decided_on(rows_of([*runs, *tried(layers, 60.0, alpha=16)]))
    assert f"LoRA r=4 (alpha 8) on {ON_LAYERS[layers]} is 4.00 points more accurate" in headline(also)


def test_the_adapter_that_is_offered_is_of_the_verdicts_setting_and_of_the_seed_nearest_to_its_mean() -> None:
    lora = []
    for seed, validation in enumerate([80.0, 99.0, 85.0]):  # 88 on average
        runs = make_arm_runs("lora", [90.0, 60.0, 95.0], validation_accuracy=validation)
        lora += [run for run in runs if run.spec.seed == seed]
    for full_runs in (make_arm_runs("full", [95.0, 95.1, 95.2]), []):  # without it there is no verdict
        offered = decided_on(rows_of(full_runs + lora)).offered
        assert (offered.seed, offered.value) == (2, 95.0)


def test_given_rates_are_named_and_never_used() -> None:
    found = decided_on(rows_of(given(full(8), r4=below(4, 8))))
    assert (found.rule, found.level, found.about, found.choice) == (Rule.LOWER, Level.SHOWN, About.RATES, None)
    start = "At the learning rates given (full fine-tuning 0.001 and LoRA r=4 0.005), LoRA r=4 is 4.00 points less"
    assert headline(found).startswith(start)
    assert headline(found).endswith(" than full fine-tuning. To choose a method, find the learning rates.")
    assert Ahead(found).step is NextStep.RATES
    assert "Use " not in said(found)


def test_what_would_change_with_longer_training_is_about_the_budget() -> None:
    """The audit's two epochs: nobody can tell whether the curves still climb."""
    found = decided_on(rows_of([replace(run, result=replace(run.result, trends={})) for run in LOWER]))
    assert (found.about, found.choice) == (About.BUDGET, None)
    assert headline(found).startswith("After 100 updates LoRA r=4 at learning rate 0.01 is 4.00 points less accurate")


@pytest.mark.parametrize(("neighbor", "about"), [(94.5, About.METHODS), (99.5, About.RATES)])
def test_a_sentence_about_methods_also_holds_at_the_neighboring_rates(neighbor: float, about: About) -> None:
    """LoRA at 91, full fine-tuning at 95: a neighboring rate reaches less, or more by bad luck of validation."""
    found = decided_on(rows_of([*without(0.0316, LOWER), *settled("lora", neighbor + SPREAD[:8], 0.0316, 80.0)]))
    assert (found.rule, found.level, found.about) == (Rule.LOWER, Level.SHOWN, about)
    if about is About.RATES:
        assert headline(found).startswith("At the chosen learning rates (full fine-tuning 0.001 and LoRA r=4 0.01), ")
        assert "That is not shown at the neighboring learning rates" in headline(found)


def apart(method: str, accuracies: list[float], factor: float, middle: float) -> list[Run]:
    """Settled runs at three learning rates that are so many times apart, of which validation chooses the middle one."""
    runs = []
    for place in (-1, 0, 1):
        values = [value - 0.2 * abs(place) for value in accuracies]
        runs += settled(method, values, float(f"{middle * factor**place:.3g}"), float(np.mean(values)))
    return runs


@pytest.mark.parametrize(
    ("factor", "is_neighbor"), [(1.5, False), (2.0, False), (3.0, True), (10**0.5, True), (5.0, False), (10.0, False)]
)
@pytest.mark.parametrize(("points", "name"), [(4, "LoRA r=4"), (-4, "full fine-tuning")])
def test_a_rate_that_is_no_point_beside_the_chosen_one_is_no_neighbor(
    factor: float, is_neighbor: bool, points: float, name: str
) -> None:
    """What would have to be badly tuned for the claim to be wrong is tried at other rates; the other is well tuned."""
    factors = (10**0.5, factor) if points > 0 else (factor, 10**0.5)
    runs = apart("full", full(8), factors[0], 0.001) + apart("lora", below(points, 8), factors[1], 0.01)
    found = decided_on(rows_of(runs))
    assert found.level is Level.SHOWN
    assert found.claim.about_methods is is_neighbor
    assert found.about is (About.METHODS if is_neighbor else About.RATES)
    assert ("also at the neighboring learning rates" in said(found)) is is_neighbor
    missing = f"Neighboring rates of {name} were not trained, so it is no choice of a method: find the learning rates."
    assert (missing in headline(found)) is not is_neighbor
    assert Ahead(found).step is (None if is_neighbor else NextStep.RATES)
    if not is_neighbor:  # half a decade below and above, and so there is a choice of a method
        middle, kind = (0.01, "lora") if points > 0 else (0.001, "full")
        rates = rates_beside(rows_of(runs))
        assert rates == tuple(float(f"{middle * 10**half:.3g}") for half in (-0.5, 0.5))
        values = [value - 0.2 for value in (below(points, 8) if points > 0 else full(8))]
        for rate in rates:
            runs += settled(kind, values, rate, 80.0)
        assert decided_on(rows_of(runs)).about is About.METHODS


@pytest.mark.parametrize(("beside", "about"), [(-0.2, About.METHODS), (9.0, About.RATES)])
def test_a_claim_at_given_rates_becomes_one_about_methods_only_by_a_test_at_their_neighbors(
    beside: float, about: About
) -> None:
    """Rates are added to what was looked at, with the same seeds."""
    runs = settled("full", full(8), 0.001, 90.0) + settled("lora", below(4, 8), 0.01, 90.0)
    given_rates = decided_on(rows_of(runs))
    assert (given_rates.rule, given_rates.about) == (Rule.LOWER, About.RATES)
    assert [(each.rule, each.methods) for each in given_rates.looks[0].claims] == [("lower", None)]
    for rate in (0.000316, 0.00316):
        runs += settled("full", full(8), rate, 80.0)

    def with_neighbors(points: float) -> list[Run]:
        return [*runs, *(run for rate in (0.00316, 0.0316) for run in settled("lora", below(points, 8), rate, 80.0))]

    found = decided_on(rows_of(with_neighbors(4 - beside)), looks=given_rates.looks)
    assert (found.rule, found.about) == (Rule.LOWER, about)
    (claim,) = found.looks[0].claims
    assert (claim.rule, claim.methods, len(claim.settings)) == ("lower", about is About.METHODS, 6)
    # Once it was tested, it is not tested again with the same seeds.
    assert decided_on(rows_of(with_neighbors(4)), looks=found.looks).about is about


def test_at_the_ceiling_no_further_look_is_proposed() -> None:
    """Both are right on all test images, too few to show that they are equal, whatever the number of seeds."""
    runs = runs_with([100.0] * 8, r4=[100.0] * 8)

    def tested(examples: int) -> Place:
        return decided_on(rows_of(runs), lambda run: np.full(examples, 100.0))

    few, many = tested(360), tested(1000)
    assert (few.level, Ahead(few).needs_examples, Ahead(few).look, Ahead(few).step) == (Level.OPEN, True, 0, None)
    assert "These 360 test images are too easy, or too few, to tell LoRA r=4 and full fine-tuning apart" in said(few)
    assert "is out of reach with any number of seeds: it takes at least about 800 test images." in said(few)
    assert "further look" not in said(few)
    assert "“Good enough" in said(few)
    assert "0.0 points" not in said(few).split("“Good enough")[1]
    assert (many.level, many.rule) == (Level.SHOWN, Rule.WITHIN)


@pytest.mark.parametrize(
    ("reached", "wrong", "examples", "step"),
    [
        (100.0, [0] * 7, 45, None),  # equality takes more test examples
        (100.0, [0, 0], 4000, NextStep.SEEDS),  # which more seeds show with so many
        (100.0, [0, 0, 0, 2, 4, 0, 0], 45, None),
        (60.0, [0] * 7, 45, None),  # no example tells them apart
        *((60.0, [0] * few, 45, NextStep.SEEDS) for few in (1, 2, 6)),
        (100.0, [0], 45, NextStep.SEEDS),
        (100.0, [0, 0], 45, None),  # nothing is left to gain with any seed
    ],
)
def test_examples_that_cannot_tell_settings_apart_ask_for_neither_seeds_nor_training(
    reached: float, wrong: list[int], examples: int, step: NextStep | None
) -> None:
    """Args: wrong: by seed, the test examples that only full fine-tuning is right on."""
    right = round(reached * examples / 100)
    lora = [100 * (right - each) / examples for each in wrong]
    runs = given([100 * right / examples] * len(wrong), r4=lora)

    def tested(row: Row) -> Values:
        hits = round((row.value or 0.0) * examples / 100)
        return np.repeat([100.0, 0.0], [hits, examples - hits])

    found = decided_on(rows_of(runs), tested)
    assert (Ahead(found).step, Ahead(found).look > 0) == (step, step is not None)
    assert ("too easy" in said(found)) == (step is None and reached == 100), "where it is near the best accuracy"
    assert ("too few" in said(found)) == (step is None), "with too few seeds, these come first"
    assert step is not None or "rain longer" not in said(found)


def with_trends(runs: list[Run], epochs: int, **gains: float) -> list[Run]:
    """These runs with another number of epochs, and what three times as many would add, by method; else not known."""
    found = []
    for run in runs:
        trends = {"validation_accuracy": gains[run.spec.kind]} if run.spec.kind in gains else {}
        spec = run.spec.but(optim=run.spec.optim.but(epochs=epochs))
        found.append(replace(run, spec=spec, result=replace(run.result, trends=trends)))
    return found


@pytest.mark.parametrize("is_claimed", [True, False])
def test_what_still_improves_is_trained_longer_or_was_trained_as_long_as_it_may(is_claimed: bool) -> None:
    """Where something is shown, and where more seeds can show nothing."""
    runs = LOWER if is_claimed else runs_with([95.0] * 8, r4=[95.0] * 8)
    cap = "LoRA r=4 was trained as long as this experiment may."

    def found(epochs: int, gain: float) -> Place:
        longer = with_trends(runs, epochs, full=0.0, lora=gain)
        return decided_on(rows_of(longer), lambda row: np.full(360, row.value or 0.0))

    for epochs, step in ((MOST, None), (MOST // 3, NextStep.LONGER)):
        improving = found(epochs, 5.0)
        assert (improving.claim is not None) is is_claimed
        assert Ahead(improving).step is step
        assert "LoRA r=4 was still improving" in said(improving)
        assert ("Train longer." in said(improving), cap in said(improving)) == (step is not None, step is None)
    at_most = found(MOST, 0.0)
    assert (Ahead(at_most).step, cap in said(at_most)) == (None, False)


def test_no_next_step_is_proposed_that_cannot_be_taken() -> None:
    """A look of more seeds than can be added at once, and training for more epochs than runs take."""
    unclear = [95 + 5 * (-1.0) ** seed for seed in range(60)]
    found = decided_on(rows_of(runs_with([95.0] * 60, r4=unclear)))
    assert (Ahead(found).step, Ahead(found).seeds_to_add) == (NextStep.SEEDS, MAX_NEW_SEEDS)
    assert level_of(Ahead(found).look, found.spent) > 0
    for epochs, step in ((MOST, None), (MOST // 3, NextStep.LONGER)):
        runs = with_trends(LOWER, epochs)
        found = decided_on(rows_of(runs))
        assert (found.about, Ahead(found).step) == (About.BUDGET, step)


def test_a_chosen_rate_at_an_end_withholds_the_verdict_and_is_no_look() -> None:
    found = decided_on(rows_of(without(0.0316, LOWER)))
    assert (found.rule, found.looks, found.mend, found.unread) == (Rule.NONE, (), NextStep.RATES, False)
    assert headline(found).startswith("No verdict yet: the chosen learning rate is at an end of those tried for LoRA")
    assert "LoRA r=4 (0.01 is the highest)" in headline(found)
    assert found.candidates[0].found is None


def test_an_end_beside_a_rate_that_is_exactly_as_good_is_none() -> None:
    assert "LoRA r=4 (0.01 is the lowest)" in headline(decided_on(rows_of(without(0.00316, LOWER))))
    as_good = tuned("lora", below(4, 8), gap=0.0)
    assert decided_on(rows_of(without(0.00316, as_good) + tuned("full", full(8)))).looks


def test_an_end_of_a_setting_that_learned_nothing_keeps_no_other_from_an_answer() -> None:
    nothing = without(0.00316, tuned("lora", [10.0] * 8, rank=1))
    found = decided_on(rows_of([*LOWER, *nothing]))
    assert found.level is Level.SHOWN
    assert len(found.looks[0].family) == 2, "it is one of those that were tried"
    alone = decided_on(rows_of([*tuned("full", full(8)), *nothing]))
    assert "LoRA r=1 (0.01 is the lowest)" in headline(alone), "it is the one that the answer would be about"


def test_a_failed_rate_beside_the_chosen_one_is_a_wall() -> None:
    failed = make_run("lora", 0, state="failed", optim={"learning_rate": 0.0316, "epochs": 10})
    assert decided_on(rows_of([*without(0.0316, LOWER), failed])).level is Level.SHOWN


def test_a_setting_that_failed_stays_in_the_family() -> None:
    """With three of four settings failed, Holm's correction is still for four."""
    values = [95 - d for d in (0.3, -0.1, 0.4, -0.2, 0.5, 0.1, -0.05, 0.6)]
    runs = given([95.0] * 8, r4=values)
    alone = decided_on(rows_of(runs))
    found = decided_on(rows_of([*runs, *(make_run("lora", 0, rank=rank, state="failed") for rank in (1, 2, 8))]))
    assert len(found.looks[0].family) == 4
    assert found.told.found.differs > alone.told.found.differs


def test_a_setting_without_a_seed_that_full_fine_tuning_has_is_not_compared() -> None:
    """Its only finished seed is one that was stopped for full fine-tuning, and put away."""
    runs = [run for run in given(full(8), r4=below(4, 8)) if (run.spec.kind, run.spec.seed) != ("full", 0)]
    apart = decided_on(rows_of([*runs, make_run("lora", 0, 95.0, rank=8)]))
    assert [candidate.arm.spec.label for candidate in apart.candidates] == ["LoRA r=4"]
    assert (apart.seeds, apart.looks[0].family) == (7, ("lora 4", "lora 8"))
    none = decided_on(
        rows_of([*make_arm_runs("full", full(2)), make_run("lora", 0, rank=4), make_run("lora", 1, rank=8)])
    )
    assert (none.candidates, none.looks, none.level) == ((), (), Level.OPEN)
    assert "no finished seed in common" in headline(none)


@pytest.mark.parametrize("state", ["queued", "running", "interrupted"])
def test_until_all_runs_have_ended_there_is_no_verdict(state: Any) -> None:
    found = decided_on(rows_of([*LOWER, *(make_run("lora", seed, rank=4, state=state) for seed in (8, 9))]))
    assert (found.unread, found.looks, found.told) == (True, (), None)
    assert headline(found).startswith("No verdict yet: runs are still to finish")


def test_a_stopped_experiment_waits_and_what_stopping_spends_is_known() -> None:
    runs = runs_with(full(7), r4=below(4, 7))
    stopped = make_run("lora", 7, state="stopped", optim={"learning_rate": 0.01, "epochs": 10}, created=-1.0)
    waits = decided_on(rows_of([*runs, stopped]))
    assert (waits.unread, waits.told, waits.answerable, waits.mend) == (True, None, 7, NextStep.FINISH)
    assert "No verdict yet: 1 of 43 runs was stopped. Finish the experiment, or answer with the 7" in headline(waits)
    found = decided_on(rows_of([*runs, replace(stopped, archived=True)]))
    assert (found.level, found.seeds) == (Level.SHOWN, 7)
    # Finished afterwards, 8 seeds have little left, and what was shown stays.
    again = decided_on(rows_of(LOWER), looks=found.looks)
    assert again.looks[0].level == level_of(8, [7]) < 0.003
    assert (again.level, again.seeds, again.claim.seeds) == (Level.SHOWN, 8, 7)


def test_of_selected_runs_nothing_is_claimed() -> None:
    found = decided_on(rows_of(LOWER), selected=True)
    assert (found.rule, found.looks) == (Rule.NONE, ())
    assert headline(found).startswith("Nothing is claimed of runs that were selected")
    assert found.candidates


@pytest.mark.parametrize(
    ("full_rates", "lora_rates", "sentence"),
    [
        ((0.001, 0.002, 0.004), (0.005,), "LoRA r=4 was trained at one learning rate, so this holds at that rate."),
        ((0.001,), (0.005, 0.01, 0.02), "Full fine-tuning was trained at one learning rate, so this holds at that"),
        ((0.001,), (0.005,), "Each method was trained at one learning rate, so this holds at these rates."),
        ((0.001, 0.002, 0.004), (0.005, 0.01, 0.02), None),
    ],
)
def test_who_had_one_learning_rate_is_named(
    full_rates: tuple[float, ...], lora_rates: tuple[float, ...], sentence: str | None
) -> None:
    runs = []
    for method, rates, values in (("full", full_rates, full(8)), ("lora", lora_rates, below(4, 8))):
        for place, rate in enumerate(rates):
            optim, validation = {"learning_rate": rate}, 90.0 if place == len(rates) // 2 else 80.0
            runs += make_arm_runs(method, values, optim=optim, validation_accuracy=validation)
    runs += make_arm_runs("scratch", below(20, 8))  # a control takes no part in the verdict
    text = said(decided_on(rows_of(runs)))
    assert sentence in text if sentence else "one learning rate" not in text


def test_to_try_several_alphas_is_not_to_tune_the_rate() -> None:
    runs = make_arm_runs("full", full(8))
    for alpha in (4.0, 8.0):
        method = LoRASpec.of(rank=4, alpha=alpha)
        runs += make_arm_runs("lora", below(4, 8), spec={"method": method}, validation_accuracy=91.0)
    found = decided_on(rows_of(runs))
    assert not found.rates.several
    assert "Each method was trained at one learning rate" in said(found)


def test_controls_take_no_part_and_say_what_the_comparison_is_of() -> None:
    runs = runs_with(full(10), r4=below(0, 10))
    head = make_arm_runs("full", below(6, 10), spec={"method": "head"}, trainable_parameters=2570)
    assert [candidate.arm.spec.label for candidate in decided_on(rows_of([*runs, *head])).candidates] == ["LoRA r=4"]
    assert decided_on(rows_of([*runs, *head])).level is Level.SHOWN
    alike = make_arm_runs("full", below(-0.01, 10), spec={"method": "head"}, trainable_parameters=2570)
    found = decided_on(rows_of([*runs, *alike]))
    assert (found.rule, found.looks, found.mend) == (Rule.NONE, (), None)
    assert "full fine-tuning is not shown to be better than training only the head" in headline(found)
    assert "training for longer is projected to add little" in headline(found)
    for epochs, step in ((MOST, None), (MOST // 3, NextStep.LONGER)):
        found = decided_on(rows_of(with_trends([*runs, *alike], epochs, full=5.0, lora=0.0)))
        assert found.mend is step
        assert ("Train longer before" in headline(found)) is (step is not None)
        assert ("was as long as an experiment may be" in headline(found)) is (step is None)
    for points, is_worthless in ((-0.01, True), (3, False)):
        scratch = make_arm_runs("full", below(points, 10), spec={"method": "scratch"})
        text = said(decided_on(rows_of([*runs, *scratch])))
        assert ("pretraining is not shown to be worth anything" in text) is is_worthless


def test_costs_are_parameters_and_storage_and_no_ratio_of_times() -> None:
    text = costs(decided_on(rows_of(runs_with(full(8), r4=below(0, 8)))))
    assert "21.8 times fewer parameters (6,248 instead of 136,074)" in text
    assert "time " not in text
    assert costs(decided_on(rows_of([]))) == ""


def test_an_outlying_run_is_named_beside_the_claim() -> None:
    found = decided_on(rows_of(runs_with(full(8), r4=[*below(0, 7), 60.0])))
    (sentence,) = [sentence for sentence in explanation(found) if "seed 7" in sentence]
    assert "LoRA r=4 reached 60.00 % with seed 7, far from its other seeds" in sentence
    assert " to " in sentence.partition("(")[2].partition(")")[0]
    runs = runs_with(full(8), r4=[*[35.0] * 7, 60.0])
    assert "seed 7, far from its other seeds (35.00 %)" in said(decided_on(rows_of(runs)))
    for examples, is_far in ((20, False), (360, True)):  # which tell 35 from 60 %, or not
        found = decided_on(rows_of(runs), lambda row, count=examples: np.full(count, row.value or 0.0))
        assert any("seed 7" in sentence for sentence in explanation(found)) is is_far
        assert [row.seed for _, row in outliers(found)] == [7] * is_far


@pytest.mark.parametrize(
    ("usual", "others", "rule", "start", "median"),
    [
        (0.2, -10.0, Rule.LOWER, "In the mean of these runs LoRA r=4 at learning rate 0.01 is 3.6", "+0.2"),
        (-0.8, 8.0, Rule.WITHIN, "In the mean of these runs LoRA r=4 at learning rate 0.01 is 2.", "−0.8"),
    ],
)
def test_where_few_runs_decide_the_mean_no_method_is_chosen(
    usual: float, others: float, rule: Rule, start: str, median: str
) -> None:
    """Six of 16 runs of LoRA fail, or are lucky; in the others it is on the other side."""
    values = [95 + (others if seed % 8 in (1, 4, 6) else usual) + float(SPREAD[seed % 10]) / 5 for seed in range(16)]
    found = decided_on(rows_of(runs_with([95.0] * 16, r4=values)))
    assert (found.rule, found.level, found.about, found.choice) == (rule, Level.SHOWN, About.RUNS, None)
    assert Ahead(found).step is NextStep.SEEDS
    assert level_words(found) == "shown in the mean of these runs"
    assert headline(found).startswith(start)
    assert headline(found).endswith("Their median says otherwise: no choice of a method.")
    assert "Use " not in said(found)
    assert f"The median of the seeds' differences is {median}" in said(found)
    # Where most runs are on the side of the mean, the claim is one about methods, and the median goes without saying.
    most = decided_on(
        rows_of(runs_with([95.0] * 16, r4=[95 + others / 5 + float(SPREAD[seed % 10]) for seed in range(16)]))
    )
    assert (most.about, "median" in said(most)) == (About.METHODS, False)


@pytest.mark.parametrize(("points", "seeds", "noise"), pairwise((-3, -0.3, 0, 0.3, 3), range(1, 11), (0, 1, 10)))
def test_no_sentence_contradicts_its_interval(points: float, seeds: int, noise: float) -> None:
    for runs in (
        runs_with(full(seeds), r4=below(points, seeds, noise=noise)),
        given(full(seeds), r1=below(points, seeds, noise=noise), r4=below(0, seeds, noise=noise)),
    ):
        found = decided_on(rows_of(runs))
        text, told = headline(found), found.told
        assert "nan" not in said(found)
        assert "o difference in accuracy is shown" not in text or told.difference.holds_zero
        assert found.rule is not Rule.LOWER or told.difference.interval.high < 0
        assert found.rule is not Rule.HIGHER or told.difference.interval.low > 0
        assert found.rule is not Rule.WITHIN or told.difference.interval.low > -found.margin
        assert found.level is not Level.SHOWN or (found.seeds >= 7 and Ahead(found).seeds_to_add == 0)
        assert found.level is not Level.LEANING or (3 <= found.seeds < 7 and Ahead(found).seeds_to_add > 0)
        assert "−" not in text  # one direction, in words


def test_the_margin_is_that_of_the_experiment() -> None:
    """Of the first fine-tune run, since all runs of an experiment have one."""
    assert (decided_on(rows_of([])).margin, decided_on(rows_of(make_arm_runs("full", [95.0]))).margin) == (0.5, 0.5)
    asked = within(make_arm_runs("full", [95.0]), 3.0)
    assert decided_on(rows_of([make_run("pretrain"), *asked])).margin == 3.0
    assert judged_by(rows_of([make_run("pretrain"), *asked])) == asked[0].spec.objective
    assert judged_by(rows_of([])) == judged_by(rows_of([make_run("pretrain")])) == CLASSIFICATION
    assert decided_on(rows_of(within(asked, None, "loss"))).margin == 0.02


def test_the_measure_of_the_experiment_chooses_its_settings() -> None:
    """One rate is better by accuracy, and another one by macro-F1 or by the loss."""
    validation = {"validation_accuracy": 95.0, "validation_macro_f1": 95.0, "validation_loss": 0.2}
    runs = make_arm_runs("full", [95.0] * 3, loss=0.2, **validation)
    for rate, accuracy, macro_f1, loss in ((0.001, 95.0, 90.0, 0.3), (0.01, 94.0, 94.0, 0.4), (0.1, 93.0, 92.0, 0.1)):
        validation = {"validation_accuracy": accuracy, "validation_macro_f1": macro_f1, "validation_loss": loss}
        runs += make_arm_runs("lora", [94.0] * 3, optim={"learning_rate": rate}, loss=0.3, **validation)
    for measure, rate in (("", 0.001), ("macro_f1", 0.01), ("loss", 0.1)):
        assert decided_on(rows_of(within(runs, None, measure))).best.arm.learning_rate == rate


def test_storage_of_a_worked_example() -> None:
    full_arm, lora = arms_of(rows_of(make_arm_runs("full", [90.0]) + make_arm_runs("lora", [90.0])))
    assert full_arm.bytes_for(100) == 100 * 545_000
    assert lora.bytes_for(100) == 545_000 + 100 * 24_900
    (head,) = arms_of(rows_of(make_arm_runs("full", [90.0], spec={"method": "head"}, trainable_parameters=2570)))
    assert head.bytes_for(10) == 545_000 + 10 * 4 * 2570
    (scratch,) = arms_of(rows_of(make_arm_runs("full", [90.0], spec={"method": "scratch"})))
    assert scratch.bytes_for(10) == 10 * 545_000


@pytest.mark.parametrize(
    ("full_mean", "lora_mean", "start"),
    [
        (8.0, 8.1, "Full (8.0 %) and LoRA r=4 (8.1 %) have not been shown to have learned "),
        (50.0, 8.0, "LoRA r=4 (8.0 %) has not been shown to have learned more"),
        (10.3, 50.0, "Full (10.3 %) has not been shown to have learned more"),
        (10.402, 50.0, "Full (10.4 %) has not been shown to have"),  # the mean is above 10.4, the interval is not
        (10.7, 10.8, None),
    ],
)
def test_what_is_not_shown_to_beat_the_most_frequent_class_has_no_verdict(
    full_mean: float, lora_mean: float, start: str | None
) -> None:
    found = decided_on(rows_of(given(full_mean + 0.1 * SPREAD, r4=lora_mean + 0.1 * SPREAD[::-1])))
    assert start or "most frequent class" not in said(found)
    if start:
        assert headline(found).startswith(f"No verdict: after 100 updates {start}")
        assert (found.mend, found.looks, Ahead(found).seeds_to_add) == (NextStep.SETTINGS, (), 0)
        assert "over seeds do" in headline(found)  # nothing is known of single examples
        assert ("(50.0 %) is better than that." in headline(found)) is (50.0 in (full_mean, lora_mean))


def test_what_learned_nothing_says_so_also_where_its_rate_is_at_an_end() -> None:
    """The end of the rates says what to do, and not that there is nothing to see."""
    found = decided_on(rows_of(without(0.0316, runs_with(0.1 * SPREAD + 8, r4=0.1 * SPREAD + 8.1))))
    first, *_, last = headline(found).split(". ")
    assert first.startswith("No verdict: after ")
    assert "Full (8.0 %) and LoRA r=4 (8.1 %) have not been shown to have learned more" in first
    assert "The chosen learning rate is at an end of those tried for LoRA r=4 (0.01 is the highest)" in headline(found)
    assert (last, found.mend) == ("Find the learning rates.", NextStep.RATES)


def test_an_answer_of_an_earlier_version_says_that_its_head_was_frozen() -> None:
    known, new = (TaskSpec.of(dataset="digits", classes=classes) for classes in ((0, 1, 2), (3, 4)))
    plain = given(full(8), r4=below(5, 8))

    def answered(task: TaskSpec, **fields: Any) -> str:
        return said(
            decided_on(rows_of(replace(run, spec=run.spec.but(task=task, source=known, **fields)) for run in plain))
        )

    assert "head was frozen" in answered(new)
    assert "head was frozen" not in answered(known)
    optim = plain[0].spec.optim.but(head_rate=0.1)
    assert "head was frozen" not in answered(new, head="whole", optim=optim)
