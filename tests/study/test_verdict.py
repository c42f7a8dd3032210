from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from core.methods.lora import LoRASpec
from core.objectives.registry import CLASSIFICATION
from core.study.arms.arm import arms_of, judged_by
from core.study.arms.choice import chosen_arms
from core.study.arms.difference_tables import full_differences
from core.study.arms.verdict import Rule, verdict
from core.study.arms.verdict_words import SELECTED, STOPPED_EARLY, costs, explanation, headline
from core.study.stats.claims import Level
from core.study.stats.images import CrossedInterval
from core.study.stats.intervals import Interval, t_interval
from tests.pairs import pairwise
from tests.soak.sizes import full_or_short
from tests.study.samples import make_arm_runs, make_run, measured, paired_difference, within

SPREAD = np.array([0.1, -0.1, 0.05, -0.05, 0.02, -0.02, 0.08, -0.08, 0.03, -0.03])


def runs_with(full, **lora):
    runs = make_arm_runs("full", list(full))
    for rank, values in lora.items():
        runs += make_arm_runs("lora", list(values), rank=int(rank[1:]), validation_accuracy=float(np.mean(values)))
    return runs


def below(points: float, seeds: int, **spread: float) -> list[float]:
    """Accuracies of LoRA that lie a number of points below 95 %, with noise of its own."""
    return list(95 - points + spread.get("noise", 1.0) * SPREAD[::-1][:seeds])


def full(seeds: int) -> list[float]:
    return list(95 + SPREAD[:seeds])


def test_the_cheapest_setting_within_the_margin_is_chosen():
    runs = runs_with(full(10), r1=below(2, 10), r4=below(0.2, 10), r16=below(0, 10))
    found = verdict(runs)
    assert [candidate.arm.spec.method.rank for candidate in found.candidates] == [1, 4, 16]
    assert [candidate.within for candidate in found.candidates] == [Level.OPEN, Level.SHOWN, Level.SHOWN]
    assert (found.rule, found.level, found.choice.spec.method.rank) == (Rule.WITHIN, Level.SHOWN, 4)
    assert headline(found).startswith(
        "Use LoRA r=4: it is at most 0.5 points less accurate than full fine-tuning (observed −0.20 points, "
    )
    assert headline(found).endswith("with 6,248 instead of 136,074 trainable parameters.")
    assert verdict(within(runs, 5)).choice.spec.method.rank == 1
    assert (verdict(within(runs, 0.01)).rule, verdict(within(runs, 0.01)).choice) == (Rule.NONE, None)


def test_the_sequence_ends_at_its_first_failure():
    # Rank 4 would pass, but rank 16, which costs more, is tested first and fails.
    runs = runs_with(full(10), r4=below(0, 10), r16=below(2, 10))
    assert [candidate.within for candidate in verdict(runs).candidates] == [Level.OPEN, Level.OPEN]


@pytest.mark.parametrize(
    ("points", "seeds", "rule", "level", "start"),
    [
        (4, 8, Rule.LOWER, Level.SHOWN, "Use full fine-tuning: LoRA r=4 is 4.00 points less accurate (95 % interval "),
        (4, 3, Rule.LOWER, Level.LEANING, "Full fine-tuning looks better: LoRA r=4 is 4.0"),
        (4, 1, Rule.NONE, Level.OPEN, "No choice yet: no difference in accuracy is shown between LoRA r=4 and full"),
        (
            -4,
            8,
            Rule.WITHIN,
            Level.SHOWN,
            "Use LoRA r=4: it is at most 0.5 points less accurate than full fine-tuning (observed +4.00",
        ),
        (-4, 3, Rule.WITHIN, Level.LEANING, "LoRA r=4 looks good enough: in all 3 seeds it was at most 0.5 points"),
    ],
)
def test_each_part_of_the_rule_decides_at_each_level(points, seeds, rule, level, start):
    runs = runs_with(full(seeds), r4=below(points, seeds))
    found = verdict(runs)
    assert (found.rule, found.level) == (rule, level)
    assert headline(found).startswith(start)
    choice = {Rule.NONE: None, Rule.LOWER: "Full", Rule.WITHIN: "LoRA r=4"}[rule]
    assert (found.choice.label if found.choice else None) == choice
    assert found.told.difference.interval.mean == pytest.approx(-points, abs=0.2)


def test_a_better_setting_is_chosen_although_a_more_expensive_one_ended_the_sequence():
    runs = runs_with(full(8), r4=below(-4, 8), r16=below(6, 8))
    found = verdict(runs)
    assert (found.rule, found.level, found.choice.spec.method.rank) == (Rule.HIGHER, Level.SHOWN, 4)
    assert headline(found).startswith("Use LoRA r=4: it is 4.00 points more accurate (95 % interval 3.")


def test_what_the_issue_was_about_a_sentence_does_not_contradict_its_interval():
    found = verdict(runs_with([95.0, 95.3, 94.8], r4=[92.2, 92.9, 91.6]))
    assert found.level is Level.LEANING
    assert not found.told.difference.holds_zero
    assert "No difference" not in headline(found)
    assert "The sign-flip test does not, and needs at least 6 seeds. About 3 more seeds would settle it." in " ".join(
        explanation(found)
    )
    assert found.seeds_to_add == 3


def test_seen_but_not_a_claim_says_why():
    # Seven seeds and three settings; one seed points the other way, so the sign-flip test does not reject.
    odd = [-3.0, -3.0, -3.0, -3.0, -3.0, -3.0, 0.1]
    lora = [95 + d for d in odd]
    runs = runs_with([95.0] * 7, r1=lora, r4=lora, r16=lora)
    found = verdict(runs)
    assert (found.rule, found.level) == (Rule.NONE, Level.OPEN)
    assert headline(found).endswith("which was seen but is not yet a claim.")
    assert "do not both reject after Holm's correction for 3 settings" in " ".join(explanation(found))


def test_the_setting_that_is_told_of_is_the_best_on_validation_and_the_test_part_never_chooses():
    runs = make_arm_runs("full", full(10))
    for rank, validation, tested in ((1, 91.0, 92.0), (4, 93.0, 91.0), (16, 92.0, 94.0)):
        runs += make_arm_runs("lora", list(tested + SPREAD[::-1]), rank=rank, validation_accuracy=validation)
    found = verdict(within(runs, 0.05))
    assert (found.rule, found.told.arm.spec.method.rank) == (Rule.LOWER, 4)
    assert "the best adapter setting, LoRA r=4, is 4.00 points less accurate" in headline(found)


ON_LAYERS = {
    ("all-linear",): "all-linear",
    ("attention",): "attention",
    ("query", "value"): "query and value",
    tuple(f"layer.{block}.query" for block in range(6)): "layer.0.query, layer.1.query, layer.2.query and 3 more",
}


@pytest.mark.parametrize("layers", ON_LAYERS)
def test_where_settings_differ_in_their_layers_the_sentences_name_those_of_the_one_that_is_told_of(layers):
    def tried(targets, accuracy, **settings):
        method = LoRASpec.of(target_modules=targets, **settings)
        return make_arm_runs("lora", list(accuracy + SPREAD), spec={"method": method}, validation_accuracy=accuracy)

    others = [tried(targets, 60.0) for targets in ON_LAYERS if targets != layers]
    runs = [*make_arm_runs("full", full(10)), *tried(layers, 99.0), *(run for own in others for run in own)]
    found = verdict(runs)
    name = f"LoRA r=4 on {ON_LAYERS[layers]}"
    assert headline(found).startswith(f"Use {name}: it is ")
    assert costs(found).startswith(f"{name} trains ")
    assert found.told.arm.label == f"LoRA r=4, layers {' '.join(layers)}"
    also = verdict([*runs, *tried(layers, 60.0, alpha=16)])
    assert headline(also).startswith(f"Use LoRA r=4 (alpha 8) on {ON_LAYERS[layers]}: it is ")


def test_layers_that_all_settings_share_are_not_named():
    spec = {"method": LoRASpec.of(target_modules=("attention",))}
    runs = make_arm_runs("full", full(10)) + make_arm_runs("lora", below(0, 10), spec=spec)
    assert headline(verdict(runs)).startswith("Use LoRA r=4: it is ")


def test_the_adapter_that_is_offered_is_the_verdicts_and_validation_picks_the_run():
    lora = []
    for seed, validation in enumerate([80.0, 99.0, 85.0]):
        lora += [
            run
            for run in make_arm_runs("lora", [90.0, 60.0, 95.0], validation_accuracy=validation)
            if run.spec.seed == seed
        ]
    found = verdict(make_arm_runs("full", [95.0, 95.1, 95.2]) + lora)
    assert found.offered.spec.seed == 1
    assert found.offered.score == 60.0


def test_a_claim_that_follows_an_open_look_says_so():
    odd = [95.0, 94.9, 95.1, 93.0, 95.3, 94.8, 95.6, 93.9]
    later = {"created": 100.0}
    runs = make_arm_runs("full", full(8)) + make_arm_runs("lora", odd)
    assert (verdict(within(runs, 0.0)).level, verdict(within(runs, 0.0)).looks) == (Level.OPEN, 1)
    grown = runs + [
        run
        for method, value in (("full", 95.0), ("lora", 92.0))
        for run in make_arm_runs(method, [value + s / 20 for s in range(20)], **later)
        if run.spec.seed >= 8
    ]
    found = verdict(within(grown, 0.0))
    assert (found.level, found.looks) == (Level.SHOWN, 2)
    assert "Each further look makes false claims more likely" in " ".join(explanation(found))
    # Launched at once, the same runs are one look.
    assert verdict(within([replace(run, created=0.0) for run in grown], 0.0)).looks == 1


def test_images_are_named_and_may_reverse_a_claim():
    found = verdict(runs_with(full(8), r4=below(4, 8)))
    wide = CrossedInterval(t_interval([-1.0] * 8), Interval(-1.0, -2.5, 0.5, 8), 360, 3.0)
    assert wide.might_reverse
    text = " ".join(explanation(found, wide))
    assert "for these 360 test images: over seeds and images, 95 % interval −2.5 to +0.5 contains 0, so other" in text
    narrow = CrossedInterval(t_interval([-1.0] * 8), Interval(-1.0, -2.0, -0.2, 8), 360, 2.0)
    assert "reverse" not in " ".join(explanation(found, narrow))


@pytest.mark.parametrize(("low", "high", "doubtful"), [(-0.8, 0.4, True), (-0.45, 0.05, False)])
def test_images_may_put_the_margin_in_doubt_and_zero_has_no_part_in_it(low, high, doubtful):
    found = verdict(runs_with(full(8), r4=below(0.2, 8)))
    assert (found.rule, found.level) == (Rule.WITHIN, Level.SHOWN)
    text = " ".join(
        explanation(found, CrossedInterval(t_interval([-0.3, -0.1] * 4), Interval(-0.2, low, high, 8), 360, 2))
    )
    assert ("reaches below −0.5, so on other test images it might not be good enough" in text) is doubtful
    assert "contains 0" not in text


def test_what_is_missing_for_the_margin_is_counted_by_its_own_test():
    # The differences are around 0, which would take hundreds of seeds to tell from 0, and far above the margin.
    found = verdict(runs_with([95.0] * 5, r4=[95.1, 94.9, 95.1, 94.9, 95.05]))
    assert (found.rule, found.level) == (Rule.WITHIN, Level.LEANING)
    assert found.seeds_to_add == 1
    assert "needs at least 6 seeds. About 1 more seed would settle it." in " ".join(explanation(found))


def test_a_more_expensive_setting_with_few_seeds_is_why_a_cheaper_one_is_not_shown():
    found = verdict(runs_with(full(8), r1=below(0.1, 8), r16=below(0, 4)))
    assert [candidate.within for candidate in found.candidates] == [Level.LEANING, Level.LEANING]
    assert (found.seeds, found.seeds_to_add) == (8, 2)
    text = " ".join(explanation(found))
    assert "a more expensive one has too few seeds" in text
    assert "needs at least 6 seeds" not in text


@pytest.mark.parametrize(
    ("worst", "words"),
    [(0.3, "in all 8 seeds it was at most 0.5"), (0.8, "on average over 8 seeds it was at most 0.5")],
)
def test_what_leans_says_only_what_was_seen(worst, words):
    # A more expensive setting with too few seeds is why this one, whose own tests reject, is not shown.
    lora = [*(95 + SPREAD[:7]), 95 - worst]
    found = verdict(runs_with([95.0] * 8, r1=lora, r16=below(0, 4)))
    assert (found.rule, found.level, found.seeds) == (Rule.WITHIN, Level.LEANING, 8)
    assert headline(found).startswith(f"LoRA r=1 looks good enough: {words} points less accurate than full fine-tuning")
    assert " is at most" not in headline(found)


def test_what_a_verdict_says_of_forgetting_is_what_the_table_says():
    """Of four ranks one forgets a little less in six seeds: alone that is shown, of four it is not."""
    runs = make_arm_runs("full", full(6))
    for rank in (1, 4, 16, 64):
        lost = -0.5 if rank == 1 else 0.0
        for seed, value in enumerate(below(0, 6)):
            made = make_run("lora", seed, value, rank=rank, validation_accuracy=value)
            odd = 0.1 * (-1) ** seed * (1 + seed / 10)
            runs.append(replace(made, result=measured(made.result, source_accuracy=80.0 - lost + odd)))
    found = verdict(within(runs, 5.0))
    assert found.told.arm.spec.method.rank == 1
    (row,) = [d for d in full_differences(chosen_arms(runs), "forgetting") if d.a == "LoRA r=1"]
    assert row.level is Level.LEANING
    assert paired_difference(found.told.arm, found.full, "forgetting").level is Level.SHOWN
    assert "not yet a claim" in costs(found)
    assert "it forgot" not in costs(found)


@pytest.mark.parametrize("state", ["queued", "running", "finished"])
def test_a_verdict_before_the_last_run_has_ended_is_interim(state):
    runs = runs_with(full(8), r4=below(4, 8))
    others = [make_run("lora", seed, rank=4, state=state) for seed in (8, 9)] if state != "finished" else []
    found = verdict([*runs, *others])
    assert found.pending == len(others)
    assert ("Interim: 2 runs are still to finish" in " ".join(explanation(found))) is (state != "finished")


@pytest.mark.parametrize(
    ("seed", "rate", "said"),
    [
        (8, 0.005, True),
        (3, 0.005, False),  # stopped, and trained again to its end
        (8, 0.01, False),  # of a setting that the verdict is not about
    ],
)
def test_seeds_that_somebody_stopped_are_a_look_at_the_results(seed, rate, said):
    runs = runs_with(full(8), r4=below(4, 8))
    stopped = make_run("lora", seed, state="stopped", optim={"learning_rate": rate}, created=-1.0)
    waits = verdict([*runs, stopped])
    assert bool(waits.reason) is (seed == 8)  # unless it was trained again
    if waits.reason:
        assert (waits.level, waits.told, waits.answerable) == (Level.OPEN, None, 8)
        assert "No verdict yet: 1 of 17 runs was stopped." in headline(waits)
        assert "answer with the 8 seeds that finished" in headline(waits)
    assert not verdict([*runs, stopped], selected=True).reason
    found = verdict([*runs, replace(stopped, archived=True)])
    assert found.level is Level.SHOWN
    assert (STOPPED_EARLY in explanation(found)) is said


def test_runs_of_several_experiments_or_a_selection_are_said_to_be_uncorrected():
    runs = runs_with(full(8), r4=below(4, 8))
    mixed = [replace(run, experiment=run.spec.label) for run in runs]
    for selected, found in ((False, verdict(runs)), (True, verdict(runs, selected=True)), (True, verdict(mixed))):
        assert found.level is Level.SHOWN
        assert (SELECTED in explanation(found)) is selected


def test_to_try_several_alphas_is_not_to_tune_the_rate():
    runs = make_arm_runs("full", full(8))
    for alpha in (4.0, 8.0):
        method = LoRASpec.of(rank=4, alpha=alpha)
        runs += make_arm_runs("lora", below(4, 8), spec={"method": method}, validation_accuracy=91.0)
    found = verdict(runs)
    assert not found.rates.several
    assert "Each method was trained at one learning rate" in " ".join(explanation(found))


@pytest.mark.parametrize(
    ("full_rates", "lora_rates", "sentence"),
    [
        ((0.001, 0.002), (0.005,), "LoRA r=4 was trained at one learning rate, so this holds at that rate."),
        ((0.001,), (0.005, 0.01), "Full fine-tuning was trained at one learning rate, so this holds at that rate."),
        ((0.001,), (0.005,), "Each method was trained at one learning rate, so this holds at these rates."),
        ((0.001, 0.002), (0.005, 0.01), None),
    ],
)
def test_who_had_one_learning_rate_is_named(full_rates, lora_rates, sentence):
    runs = []
    for method, rates, values in (("full", full_rates, full(8)), ("lora", lora_rates, below(4, 8))):
        for rate in rates:
            optim = {"learning_rate": rate}
            runs += make_arm_runs(method, values, optim=optim, validation_accuracy=90 + rate)
    runs += make_arm_runs("scratch", full(8))  # a control takes no part in the verdict
    found = verdict(runs)
    text = " ".join(explanation(found))
    assert sentence in text if sentence else "one learning rate" not in text


def test_an_open_answer_claims_nothing_of_its_images():
    found = verdict(runs_with(full(8), r4=below(0.5, 8, noise=20)))
    assert found.level is Level.OPEN
    crossed = CrossedInterval(t_interval([-1.0, 1.0] * 4), Interval(0.0, -2.0, 2.0, 8), 360, 3.0)
    text = " ".join(explanation(found, crossed))
    assert "holds for" not in text
    assert "Measured on 360 test images; over seeds and images, 95 % interval −2.0 to +2.0." in text


@pytest.mark.parametrize("seeds", [1, 2, 8])
def test_settings_that_agree_in_every_seed_are_told_without_a_size_or_an_interval(seeds):
    found = verdict(within(runs_with([95.0] * seeds, r4=[95.0] * seeds), 0.0))
    same = t_interval([0.0] * seeds)
    text = " ".join(explanation(found, CrossedInterval(same, same, 360, 1.0)))
    assert "A difference of this size" not in text
    assert "over seeds and images" not in text
    assert "Measured on 360 test images." in text


def test_controls_take_no_part():
    runs = make_arm_runs("full", full(10)) + make_arm_runs("lora", below(0, 10))
    runs += make_arm_runs("full", list(95 + SPREAD[::-1]), spec={"method": "head"}, trainable_parameters=2570)
    assert [candidate.arm.label for candidate in verdict(runs).candidates] == ["LoRA r=4"]


def test_costs_are_parameters_and_storage_and_no_ratio_of_times():
    text = costs(verdict(runs_with(full(8), r4=below(0, 8))))
    assert "21.8 times fewer parameters (6,248 instead of 136,074)" in text
    assert "24.9 kB adapter instead of a 545.0 kB checkpoint" in text
    assert "time " not in text
    assert costs(verdict([])) == ""


def test_an_outlying_run_is_named_beside_the_claim():
    values = [*below(0, 7), 60.0]
    found = verdict(runs_with(full(8), r4=values))
    (sentence,) = [sentence for sentence in explanation(found) if "seed 7" in sentence]
    assert "LoRA r=4 reached 60.00 % with seed 7, far from its other seeds" in sentence


@pytest.mark.parametrize(("points", "seeds", "noise"), pairwise((-3, -0.3, 0, 0.3, 3), range(1, 11), (0, 1, 10)))
def test_no_sentence_contradicts_its_interval(points, seeds, noise):
    for runs in (
        runs_with(full(seeds), r4=below(points, seeds, noise=noise)),
        runs_with(full(seeds), r1=below(points, seeds, noise=noise), r4=below(0, seeds, noise=noise)),
    ):
        found = verdict(runs)
        text, difference = headline(found), found.told.difference
        assert "nan" not in " ".join([text, *explanation(found), costs(found)])
        assert "o difference in accuracy is shown" not in text or difference.holds_zero
        assert found.rule is not Rule.LOWER or difference.interval.high < 0
        assert found.rule is not Rule.HIGHER or difference.interval.low > 0
        assert found.rule is not Rule.WITHIN or difference.interval.low > -found.margin
        assert found.level is not Level.SHOWN or (found.seeds >= 6 and found.seeds_to_add == 0)
        assert found.level is not Level.LEANING or (3 <= found.seeds < 9 and found.seeds_to_add > 0)


def test_a_setting_that_falls_short_by_the_margin_is_seldom_called_within_it():
    rng, trials = np.random.default_rng(8), full_or_short(300, 100)
    # All three lie exactly at the margin: what is claimed of any of them is a false alarm.
    runs = rng.normal(0, 0.4, (trials, 4, 8))
    alarms = np.mean(
        [
            verdict(within(runs_with(95 + f, r1=94 + a, r4=94 + b, r16=94 + c), 1.0)).rule is Rule.WITHIN
            for f, a, b, c in runs
        ]
    )
    assert alarms <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / trials)


def test_the_margin_is_that_of_the_experiment():
    """Of the first fine-tune run, since all runs of an experiment have one."""
    assert (verdict([]).margin, verdict(make_arm_runs("full", [95.0])).margin) == (0.5, 0.5)
    tuned = within(make_arm_runs("full", [95.0]), 3.0)
    assert verdict([make_run("pretrain"), *tuned]).margin == 3.0
    assert judged_by([make_run("pretrain"), *tuned]) == tuned[0].spec.objective
    assert judged_by([]) == judged_by([make_run("pretrain")]) == CLASSIFICATION
    assert verdict(within(tuned, None, "loss")).margin == 0.02


def test_the_measure_of_the_experiment_chooses_its_settings():
    """One rate is better by accuracy, and another one by macro-F1 or by the loss."""
    validation = {"validation_accuracy": 95.0, "validation_macro_f1": 95.0, "validation_loss": 0.2}
    runs = make_arm_runs("full", [95.0] * 3, loss=0.2, **validation)
    for rate, accuracy, macro_f1, loss in ((0.001, 95.0, 90.0, 0.3), (0.01, 94.0, 94.0, 0.4), (0.1, 93.0, 92.0, 0.1)):
        validation = {"validation_accuracy": accuracy, "validation_macro_f1": macro_f1, "validation_loss": loss}
        runs += make_arm_runs("lora", [94.0] * 3, optim={"learning_rate": rate}, loss=0.3, **validation)
    for measure, rate in (("", 0.001), ("macro_f1", 0.01), ("loss", 0.1)):
        assert verdict(within(runs, None, measure)).best.arm.learning_rate == rate


def test_storage_of_a_worked_example():
    full_arm, lora = arms_of(make_arm_runs("full", [90.0]) + make_arm_runs("lora", [90.0]))
    assert full_arm.bytes_for(100) == 100 * 545_000
    assert lora.bytes_for(100) == 545_000 + 100 * 24_900
    (head,) = arms_of(make_arm_runs("full", [90.0], spec={"method": "head"}, trainable_parameters=2570))
    assert head.bytes_for(10) == 545_000 + 10 * 4 * 2570
    (scratch,) = arms_of(make_arm_runs("full", [90.0], spec={"method": "scratch"}))
    assert scratch.bytes_for(10) == 10 * 545_000


@pytest.mark.parametrize(
    ("full_mean", "lora_mean", "start"),
    [
        (8.0, 8.1, "Full and LoRA r=4 have not been shown to have learnt more than naming the most frequent class, "),
        (50.0, 8.0, "LoRA r=4 has not been shown to have learnt more"),
        (10.3, 50.0, "Full has not been shown to have learnt more"),
        (10.402, 50.0, "Full has not been shown to have learnt more"),  # the mean is above 10.4, the interval is not
        (10.7, 10.8, None),
    ],
)
def test_what_is_not_shown_to_beat_the_most_frequent_class_is_said_first_and_takes_no_seeds(
    full_mean, lora_mean, start
):
    found = verdict(runs_with(full_mean + 0.1 * SPREAD, r4=lora_mean + 0.1 * SPREAD[::-1]))
    first = explanation(found)[0]
    assert first.startswith(start) if start else "most frequent class" not in "".join(explanation(found))
    if start:
        assert "train for more epochs or at a higher learning rate" in first
        assert found.seeds_to_add == 0
        assert "more seed" not in "".join(explanation(found))
