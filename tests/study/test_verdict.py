"""What is decided between full fine-tuning and adapters, and in which words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.answer.check import Outcome
from core.answer.checks.outliers import far_off
from core.answer.checks.registry import checks_of
from core.answer.levels import level_words
from core.answer.lines import MAX_WORDS, headline, reason
from core.data.task_spec import TaskSpec
from core.methods.lora import LoRASpec
from core.objectives.measure import Values
from core.objectives.registry import CLASSIFICATION
from core.plan.experiment import MAX_NEW_SEEDS
from core.results.arm import arms_of, judged_by
from core.results.row import Row, rows_of
from core.rule.candidate import Rule
from core.rule.claims import Level
from core.rule.place import About, Place
from core.rule.spending import level_of
from core.rule.tuning import rates_beside
from core.rule.withheld import NextStep
from core.run_spec import OptimSpec
from core.spec import bounds
from core.store.record import Run
from core.study.arms.fairness import comparable
from tests.pairs import pairwise
from tests.study.samples import SPREAD, decided_on, make_arm_runs, make_run, said_of, settled, tuned, within


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
    return " ".join(said_of(found))


def outcome(found: Place, name: str) -> Outcome | None:
    """How a check came out; None where it was not made."""
    check = checks_of(found).get(name)
    return check.outcome if check is not None else None


def test_the_cheapest_setting_within_the_margin_is_chosen() -> None:
    runs = runs_with(full(10), r1=below(2, 10), r4=below(0.2, 10), r16=below(0, 10))
    found = decided_on(rows_of(runs))
    assert [candidate.arm.spec.method.rank for candidate in found.candidates] == [1, 4, 16]
    assert [bool(candidate.claim(Rule.WITHIN)) for candidate in found.candidates] == [False, True, True]
    assert (found.rule, found.level, found.about) == (Rule.WITHIN, Level.SHOWN, About.METHODS)
    assert found.choice.spec.method.rank == 4
    assert headline(found) == "Use LoRA r=4: at most 0.5 points less accurate than full fine-tuning."
    assert reason(found).startswith("LoRA r=4 was 0.20 points less accurate (95 % interval 0.")
    assert reason(found).endswith(", and trains 21.8 times fewer parameters (6,248).")
    wide = decided_on(rows_of(within(runs, 5)))
    assert wide.choice.spec.method.rank == 1
    assert decided_on(rows_of(within(runs, 0.01))).rule is not Rule.WITHIN


def test_no_rank_keeps_another_from_being_good_enough() -> None:
    """The audit's veto: rank 1 is far above full fine-tuning, and rank 32 fell far below it."""
    found = decided_on(rows_of(runs_with(full(8), r1=below(-24, 8), r32=below(40, 8, noise=30))))
    assert (found.rule, found.choice and found.choice.spec.method.rank) == (Rule.WITHIN, 1)


@pytest.mark.parametrize(
    ("points", "seeds", "rule", "level", "start"),
    [
        (4, 8, Rule.LOWER, Level.SHOWN, "Use full fine-tuning: LoRA r=4 is 4.00 points less accurate."),
        (
            4,
            5,
            Rule.NONE,
            Level.LEANING,
            "Probably full fine-tuning: LoRA r=4 was 4.01 points less accurate, not yet shown.",
        ),
        (4, 1, Rule.NONE, Level.OPEN, "No verdict yet: LoRA r=4 and full fine-tuning are not told apart."),
        (-4, 8, Rule.WITHIN, Level.SHOWN, "Use LoRA r=4: 4.00 points more accurate than full fine-tuning."),
        (-4, 3, Rule.NONE, Level.LEANING, "Probably LoRA r=4: 3.9"),
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


def test_leaning_is_called_probable_and_decides_nothing() -> None:
    found = decided_on(rows_of(runs_with([95.0, 95.3, 94.8], r4=[92.2, 92.9, 91.6])))
    assert (found.level, found.choice, found.rule) == (Level.LEANING, None, Rule.NONE)
    assert (found.is_probable, level_words(found)) == (True, "probably")
    assert found.seeds_to_add == 4


def test_what_is_seen_with_enough_seeds_is_called_probable_and_says_which_p_would_show_it() -> None:
    """The interval over ten seeds excludes 0, and the level of a look at so many is below 5 %."""
    lora = [95 - 0.5 + 0.64 * float(each) for each in SPREAD / SPREAD.std(ddof=1)]
    found = decided_on(rows_of(runs_with([95.0] * 10, r4=lora)))
    assert (found.rule, found.level, found.is_probable) == (Rule.NONE, Level.OPEN, True)
    assert headline(found) == "Probably full fine-tuning: LoRA r=4 was 0.50 points less accurate, not yet shown."
    assert reason(found).endswith("over 10 seeds: p = 3.6 %, above this look's limit of 3.5 %.")
    withheld = decided_on(rows_of(without(0.0316, runs_with([95.0] * 10, r4=lora))))
    assert (withheld.is_probable, level_words(withheld)) == (False, "")


def test_what_was_seen_is_no_claim_and_says_why() -> None:
    # One of seven seeds points far the other way.
    lora = [94.0, 93.0, 92.0, 94.0, 92.0, 93.0, 95.9]
    found = decided_on(rows_of(runs_with([95.0] * 7, r1=lora, r4=lora, r16=lora)))
    assert (found.rule, found.level) == (Rule.NONE, Level.OPEN)
    assert outcome(found, "seeds") is Outcome.OPEN
    assert "(limit 2.9 %)" in said(found)


def test_the_setting_that_is_told_of_is_the_best_on_validation_and_the_test_part_never_chooses() -> None:
    runs = tuned("full", full(10))
    for rank, validation, reached in ((1, 91.0, 92.0), (4, 93.0, 91.0), (16, 92.0, 94.0)):
        runs += tuned("lora", list(reached + SPREAD[::-1]), rank=rank, validation=validation)
    found = decided_on(rows_of(within(runs, 0.05)))
    assert (found.rule, found.told.arm.spec.method.rank) == (Rule.LOWER, 4)
    assert headline(found).endswith("LoRA r=4 is 4.00 points less accurate.")
    assert "LoRA r=4 is the best of 3 ranks" in reason(found)


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
    assert headline(found) == "At these rates, LoRA r=4 is 4.00 points less accurate than full fine-tuning."
    assert "(full fine-tuning 0.001 and LoRA r=4 0.005)" in reason(found)
    assert found.step is NextStep.RATES
    assert "Use " not in said(found)


def test_what_would_change_with_longer_training_is_about_the_budget() -> None:
    """The audit's two epochs: nobody can tell whether the curves still climb."""
    found = decided_on(rows_of([replace(run, result=replace(run.result, trends={})) for run in LOWER]))
    assert (found.about, found.choice) == (About.BUDGET, None)
    assert headline(found) == "At this budget, use full fine-tuning: LoRA r=4 is 4.00 points less accurate."
    assert outcome(found, "budget") is Outcome.UNKNOWN


@pytest.mark.parametrize(("neighbor", "about"), [(94.5, About.METHODS), (99.5, About.RATES)])
def test_a_sentence_about_methods_also_holds_at_the_neighboring_rates(neighbor: float, about: About) -> None:
    """LoRA at 91, full fine-tuning at 95: a neighboring rate reaches less, or more by bad luck of validation."""
    found = decided_on(rows_of([*without(0.0316, LOWER), *settled("lora", neighbor + SPREAD[:8], 0.0316, 80.0)]))
    assert (found.rule, found.level, found.about) == (Rule.LOWER, Level.SHOWN, about)
    assert (outcome(found, "neighbors") is Outcome.FAILS) is (about is About.RATES)
    assert headline(found).startswith("At the chosen rates, ") is (about is About.RATES)


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
    assert outcome(found, "neighbors") is (Outcome.HOLDS if is_neighbor else Outcome.UNKNOWN)
    assert (f"Rates beside those chosen for {name} were not trained" in reason(found)) is not is_neighbor
    assert found.step is (None if is_neighbor else NextStep.RATES)
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
    assert (few.level, few.needs_examples, few.proposed, few.step) == (Level.OPEN, True, 0, None)
    assert headline(few) == "No verdict: these test examples do not tell LoRA r=4 and full fine-tuning apart."
    assert "360 test images are too easy, or too few, to tell the settings apart" in said(few)
    assert (outcome(few, "examples"), outcome(many, "examples")) == (Outcome.FAILS, Outcome.HOLDS)
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
    assert (found.step, found.proposed > 0) == (step, step is not None)
    assert ("too easy" in said(found)) == (step is None and reached == 100), "where it is near the best accuracy"
    assert ("too few to tell" in said(found) or "too few, to" in said(found)) == (step is None), "seeds come first"
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
    cap = "the most allowed"

    def found(epochs: int, gain: float) -> Place:
        longer = with_trends(runs, epochs, full=0.0, lora=gain)
        return decided_on(rows_of(longer), lambda row: np.full(360, row.value or 0.0))

    for epochs, step in ((MOST, None), (MOST // 3, NextStep.LONGER)):
        improving = found(epochs, 5.0)
        assert (improving.claim is not None) is is_claimed
        assert improving.step is step
        assert "LoRA r=4 was still improving" in said(improving)
        assert ("Train longer." in said(improving), cap in said(improving)) == (step is not None, step is None)
        assert outcome(improving, "budget") is Outcome.FAILS
    at_most = found(MOST, 0.0)
    assert (at_most.step, cap in said(at_most)) == (None, False)


def test_no_next_step_is_proposed_that_cannot_be_taken() -> None:
    """A look of more seeds than can be added at once, and training for more epochs than runs take."""
    unclear = [95 + 5 * (-1.0) ** seed for seed in range(60)]
    found = decided_on(rows_of(runs_with([95.0] * 60, r4=unclear)))
    assert (found.step, found.seeds_to_add) == (NextStep.SEEDS, MAX_NEW_SEEDS)
    assert level_of(found.proposed, found.spent) > 0
    for epochs, step in ((MOST, None), (MOST // 3, NextStep.LONGER)):
        runs = with_trends(LOWER, epochs)
        found = decided_on(rows_of(runs))
        assert (found.about, found.step) == (About.BUDGET, step)


def test_a_chosen_rate_at_an_end_withholds_the_verdict_and_is_no_look() -> None:
    found = decided_on(rows_of(without(0.0316, LOWER)))
    assert (found.rule, found.looks, found.mend, found.unread) == (Rule.NONE, (), NextStep.RATES, False)
    assert headline(found) == "No verdict yet: the best rate of LoRA r=4 was the highest tried."
    assert "A better rate may lie above 0.01 (LoRA r=4)." in reason(found)
    assert outcome(found, "rates") is Outcome.FAILS
    assert found.candidates[0].found is None


def test_an_end_beside_a_rate_that_is_exactly_as_good_is_none() -> None:
    assert "below 0.01 (LoRA r=4)." in reason(decided_on(rows_of(without(0.00316, LOWER))))
    as_good = tuned("lora", below(4, 8), gap=0.0)
    assert decided_on(rows_of(without(0.00316, as_good) + tuned("full", full(8)))).looks


def test_an_end_of_a_setting_that_learned_nothing_keeps_no_other_from_an_answer() -> None:
    nothing = without(0.00316, tuned("lora", [10.0] * 8, rank=1))
    found = decided_on(rows_of([*LOWER, *nothing]))
    assert found.level is Level.SHOWN
    assert len(found.looks[0].family) == 2, "it is one of those that were tried"
    alone = decided_on(rows_of([*tuned("full", full(8)), *nothing]))
    assert "The best rate of LoRA r=1 was the lowest tried." in reason(alone), "the answer would be about it"


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
    assert headline(waits) == "No verdict yet: 1 of 43 runs was stopped."
    assert reason(waits) == "Finish the experiment, or answer with the 7 seeds that finished."
    found = decided_on(rows_of([*runs, replace(stopped, archived=True)]))
    assert (found.level, found.seeds) == (Level.SHOWN, 7)
    # Finished afterwards, 8 seeds have little left, and what was shown stays.
    again = decided_on(rows_of(LOWER), looks=found.looks)
    assert again.looks[0].level == level_of(8, [7]) < 0.003
    assert (again.level, again.seeds, again.claim.seeds) == (Level.SHOWN, 8, 7)


def test_of_selected_runs_nothing_is_claimed() -> None:
    found = decided_on(rows_of(LOWER), selected=True)
    assert (found.rule, found.looks) == (Rule.NONE, ())
    assert headline(found).startswith("No verdict: these runs were selected")
    assert found.candidates


@pytest.mark.parametrize(
    ("full_rates", "lora_rates", "sentence"),
    [
        ((0.001, 0.002, 0.004), (0.005,), "LoRA r=4 had one given learning rate, not tuned."),
        ((0.001,), (0.005, 0.01, 0.02), "Full fine-tuning had one given learning rate, not tuned."),
        ((0.001,), (0.005,), "Full fine-tuning and LoRA r=4 had one given learning rate each, not tuned."),
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
    assert outcome(found, "rates") is Outcome.OPEN


def test_controls_take_no_part_and_say_what_the_comparison_is_of() -> None:
    runs = runs_with(full(10), r4=below(0, 10))
    head = make_arm_runs("full", below(6, 10), spec={"method": "head"}, trainable_parameters=2570)
    assert [candidate.arm.spec.label for candidate in decided_on(rows_of([*runs, *head])).candidates] == ["LoRA r=4"]
    assert decided_on(rows_of([*runs, *head])).level is Level.SHOWN
    alike = make_arm_runs("full", below(-0.01, 10), spec={"method": "head"}, trainable_parameters=2570)
    found = decided_on(rows_of([*runs, *alike]))
    assert (found.rule, found.looks, found.mend) == (Rule.NONE, (), None)
    assert headline(found) == "No verdict: full fine-tuning does not clearly beat training only the head."
    assert "training for longer is projected to add little" in reason(found)
    for epochs, step in ((MOST, None), (MOST // 3, NextStep.LONGER)):
        found = decided_on(rows_of(with_trends([*runs, *alike], epochs, full=5.0, lora=0.0)))
        assert found.mend is step
        assert ("was as long as an experiment may be" in reason(found)) is (step is None)
    for points, is_worthless in ((-0.01, True), (3, False)):
        scratch = make_arm_runs("full", below(points, 10), spec={"method": "scratch"})
        own = decided_on(rows_of([*runs, *scratch]))
        assert outcome(own, "pretraining") is (Outcome.FAILS if is_worthless else Outcome.HOLDS)
    assert outcome(decided_on(rows_of(runs)), "pretraining") is outcome(decided_on(rows_of(runs)), "head")
    assert outcome(decided_on(rows_of(runs)), "pretraining") is Outcome.UNKNOWN, "what was not trained says no ✓"


def test_an_outlying_run_is_named_beside_the_claim() -> None:
    found = decided_on(rows_of(runs_with(full(8), r4=[*below(0, 7), 60.0])))
    assert "LoRA r=4, seed 7, is far off with 60.00 %: look at it." in said(found)
    runs = runs_with(full(8), r4=[*[35.0] * 7, 60.0])
    for examples, is_far in ((20, False), (360, True)):  # which tell 35 from 60 %, or not
        found = decided_on(rows_of(runs), lambda row, count=examples: np.full(count, row.value or 0.0))
        assert (outcome(found, "outliers") is Outcome.FAILS) is is_far
        assert [row.seed for _, row in far_off(found)] == [7] * is_far


@pytest.mark.parametrize(
    ("usual", "others", "rule", "start", "median"),
    [
        (0.2, -10.0, Rule.LOWER, "In the mean, LoRA r=4 is 3.6", "+0.2"),
        (-0.8, 8.0, Rule.WITHIN, "In the mean, LoRA r=4 is 2.", "−0.8"),
    ],
)
def test_where_few_runs_decide_the_mean_no_method_is_chosen(
    usual: float, others: float, rule: Rule, start: str, median: str
) -> None:
    """Six of 16 runs of LoRA fail, or are lucky; in the others it is on the other side."""
    values = [95 + (others if seed % 8 in (1, 4, 6) else usual) + float(SPREAD[seed % 10]) / 5 for seed in range(16)]
    found = decided_on(rows_of(runs_with([95.0] * 16, r4=values)))
    assert (found.rule, found.level, found.about, found.choice) == (rule, Level.SHOWN, About.RUNS, None)
    assert found.step is NextStep.SEEDS
    assert level_words(found) == "shown in the mean of these runs"
    assert headline(found).startswith(start)
    assert headline(found).endswith("; the median says otherwise.")
    assert "Use " not in said(found)
    assert f"The median difference, {median}" in said(found)
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
        assert "not told apart" not in text or told.difference.holds_zero
        assert len(text.split()) <= MAX_WORDS
        assert found.rule is not Rule.LOWER or told.difference.interval.high < 0
        assert found.rule is not Rule.HIGHER or told.difference.interval.low > 0
        assert found.rule is not Rule.WITHIN or told.difference.interval.low > -found.margin
        assert found.level is not Level.SHOWN or (found.seeds >= 7 and found.seeds_to_add == 0)
        assert found.level is not Level.LEANING or (3 <= found.seeds < 7 and found.seeds_to_add > 0)
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
        (8.0, 8.1, "neither setting clearly beats always naming one class (10.4 %)."),
        (50.0, 8.0, "LoRA r=4 (8.0 %) does not clearly beat always naming one class (10.4 %)."),
        (10.3, 50.0, "full fine-tuning (10.3 %) does not clearly beat always naming one class (10.4 %)."),
        # the mean is above 10.4, the interval is not
        (10.402, 50.0, "full fine-tuning (10.4 %) does not clearly beat always naming one class (10.4 %)."),
        (10.7, 10.8, None),
    ],
)
def test_what_is_not_shown_to_beat_the_most_frequent_class_has_no_verdict(
    full_mean: float, lora_mean: float, start: str | None
) -> None:
    found = decided_on(rows_of(given(full_mean + 0.1 * SPREAD, r4=lora_mean + 0.1 * SPREAD[::-1])))
    assert outcome(found, "trivial") is (Outcome.HOLDS if start is None else Outcome.FAILS)
    if start:
        assert headline(found) == f"No verdict: {start}"
        assert (found.mend, found.looks, found.seeds_to_add) == (NextStep.SETTINGS, (), 0)
        assert "over seeds do" in reason(found)  # nothing is known of single examples


def test_what_learned_nothing_says_so_also_where_its_rate_is_at_an_end() -> None:
    """The end of the rates says what to do, and not that there is nothing to see."""
    found = decided_on(rows_of(without(0.0316, runs_with(0.1 * SPREAD + 8, r4=0.1 * SPREAD + 8.1))))
    assert headline(found).startswith("No verdict: neither setting clearly beats always naming one class")
    assert reason(found).endswith("The best rate of LoRA r=4 was the highest tried.")
    assert found.mend is NextStep.RATES


def test_an_answer_of_an_earlier_version_says_that_its_head_was_frozen() -> None:
    known, new = (TaskSpec.of(dataset="digits", classes=classes) for classes in ((0, 1, 2), (3, 4)))
    plain = given(full(8), r4=below(5, 8))

    def answered(task: TaskSpec, **fields: Any) -> str:
        runs = (replace(run, spec=run.spec.but(task=task, source=known, **fields)) for run in plain)
        return " ".join(comparable(rows_of(runs)))

    assert "head was frozen" in answered(new)
    assert "head was frozen" not in answered(known)
    optim = plain[0].spec.optim.but(head_rate=0.1)
    assert "head was frozen" not in answered(new, head="whole", optim=optim)
