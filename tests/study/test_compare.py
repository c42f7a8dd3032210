from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.answer.checks.registry import checks_of
from core.answer.lines import headline
from core.data.task_spec import TaskSpec
from core.methods.lora import LoRASpec
from core.results.arm import Arm, all_arms, arms_of, averaged_arms
from core.results.choice import chosen_arms
from core.results.intervals import t_interval
from core.results.row import rows_of
from core.results.setting import labels_of, setting_of
from core.rule.candidate import Rule
from core.rule.claims import Level
from core.rule.spending import CLAIM_SEEDS
from core.rule.withheld import against_full
from core.run_spec import OptimSpec
from core.study.arms.difference_tables import rank_sentences
from core.study.arms.fairness import comparable
from core.study.arms.tables import comparison_table, comparison_text, plain_table, runs_table
from core.study.figures.intervals import arm_dots
from core.study.figures.palette import colours_of
from tests.study.samples import (
    QUANTITIES,
    SOURCE,
    TARGET,
    decided_on,
    make_arm_runs,
    make_run,
    measured,
    paired_difference,
    said_of,
)

VALUES = st.lists(st.floats(0, 100), min_size=2, max_size=12)


def pair(lora: list[float], full: list[float]):
    full_arm, lora_arm = arms_of(rows_of(make_arm_runs("full", full) + make_arm_runs("lora", lora)))
    return lora_arm, full_arm


def verdict_of(*arms: Arm) -> str:
    found = decided_on(rows_of([run for arm in arms for run in arm.runs]))
    return " ".join(said_of(found))


@given(VALUES)
def test_the_interval_is_scipys(values):
    interval = t_interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), max(stats.sem(values), 1e-300))
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-9)
    assert (interval.mean, interval.half_width) == pytest.approx((np.mean(values), (high - low) / 2), abs=1e-9)
    assert interval.n == len(values)


@pytest.mark.parametrize(("values", "n"), [([], 0), ([95.0], 1), ([95.0, math.nan, 96.0], 3)])
def test_no_interval_is_made_up(values, n):
    interval = t_interval(values)
    assert interval.n == n
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert math.isnan(interval.mean) == (values != [95.0])


@given(VALUES.filter(lambda v: len(v) >= 3))
def test_identical_arms_give_no_claim(values):
    lora, full = pair(values, values)
    difference = paired_difference(lora, full, "accuracy")
    assert difference.interval.mean == 0
    assert difference.holds_zero
    assert decided_on(rows_of([*full.runs, *lora.runs])).rule in (Rule.NONE, Rule.WITHIN)
    assert "less accurate (" not in verdict_of(full, lora)


def test_noise_that_the_seeds_share_is_taken_out_by_pairing():
    shared = np.array([0.0, 5.0, -5.0, 3.0, -2.0, 1.0])
    lora, full = pair(list(90 + shared + [0.1, 0.0, 0.1, 0.0, 0.2, 0.1]), list(91 + shared))
    difference = paired_difference(lora, full, "accuracy")
    assert difference.interval.high < 0
    assert lora.interval("accuracy").high > full.interval("accuracy").low


def test_only_shared_seeds_are_paired():
    runs = [make_run("full", s, 90.0 + s) for s in range(4)] + [make_run("lora", s, 80.0 + s) for s in (1, 3, 9)]
    difference = paired_difference(*arms_of(rows_of(runs)), "accuracy")
    assert (difference.seeds, difference.interval.mean) == ((1, 3), 10.0)


def test_every_adapter_and_control_stands_beside_every_full_arm_of_its_base_and_task():
    runs = [make_run(optim={"learning_rate": rate}) for rate in (0.001, 0.01)]
    runs += [make_run("lora"), make_run("lora", rank=8), make_run(spec={"method": "head"}), make_run("pretrain")]
    arms = arms_of(rows_of([*runs, make_run("lora", spec={"base": "other"}), make_run("lora", spec={"task": SOURCE})]))
    full, faster, *others = (arm for arm in arms if (arm.spec.base, arm.spec.task) == ("base", TARGET))
    assert [arm.spec.label for arm in others] == ["LoRA r=4", "LoRA r=8", "Head only"]
    assert against_full(arms) == [(other, reference) for reference in (full, faster) for other in others]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=10))
def test_what_is_not_shown_is_looked_at_again_with_more_seeds(differences):
    lora, full = pair([50 + d for d in differences], [50.0] * len(differences))
    found = decided_on(rows_of([*full.runs, *lora.runs]))
    assert (found.level is Level.SHOWN) == (found.proposed == 0)
    assert found.proposed in (0, max(2 * len(differences), CLAIM_SEEDS))
    assert "nan" not in verdict_of(full, lora)


def test_a_value_that_is_not_a_number_is_neither_dropped_nor_claimed():
    lora, full = pair([math.nan, 10.0, 10.0, 10.0], [99.0, 99.0, 99.0, 98.0])
    assert decided_on(rows_of([*full.runs, *lora.runs])).level is Level.OPEN
    assert math.isnan(lora.interval("accuracy").mean)
    assert lora.interval("accuracy").n == 4
    assert "not a number" in comparison_text([lora])["Accuracy"].item()


def test_arms_are_ordered_and_hold_each_seed_once():
    runs = [make_run("lora", 0, rank=rank) for rank in (16, 4)] + [make_run("pretrain"), make_run("full", 1)]
    runs += [make_run("full", 0, 70.0, created=1.0), make_run("full", 0, 80.0, state="stopped", created=2.0)]
    runs += [make_run("full", 2, state="running"), make_run("full", 3, state="failed")]
    tried = [(epochs, rate) for epochs in (9, 27, 81) for rate in (0.001, 0.01)]
    own = [make_run(optim={"epochs": epochs, "learning_rate": rate}) for epochs, rate in tried[::-1]]
    assert [arm.label for arm in all_arms(rows_of(own))] == [
        f"Full, lr {rate:g}, epochs {epochs}" for epochs, rate in tried
    ]
    arms = arms_of(rows_of(runs))
    assert [arm.label for arm in arms] == ["Full", "LoRA r=4", "LoRA r=16", "Pretrain"]
    assert arms[0].seeds == (0, 1)
    assert arms[0].values("accuracy") == (70.0, 90.0)
    assert arms_of(rows_of([])) == []


def test_stopped_runs_are_in_no_mean_of_finished_ones():
    runs = [*make_arm_runs("full", [90.0] * 5), make_run("full", 5, 40.0, state="stopped")]
    runs += [make_run("lora", 0, 30.0, state="stopped")]
    full, lora = averaged_arms(rows_of(runs))
    assert full.values("accuracy") == (90.0,) * 5
    assert lora.values("accuracy") == (30.0,)
    assert (full.label, lora.label, lora.name) == ("Full", *["LoRA r=4 (stopped early)"] * 2)
    colours = colours_of([full, lora])
    figure = arm_dots([full, lora], colours, rows_of(runs[5:6]))
    dots = figure.data[0]
    assert dict(zip(dots.x, dots.marker.symbol, strict=True)) == {90.0: "circle", 40.0: "circle-open"}
    (mean,) = [trace for trace in figure.data if trace.marker.symbol == "diamond"]
    assert list(mean.x) == [90.0]
    assert "hollow: stopped early" in figure.layout.title.subtitle.text
    assert "hollow" not in arm_dots([full, lora], colours).layout.title.subtitle.text


@given(st.permutations(range(8)))
def test_labels_are_unique_and_say_what_differs(order):
    def task(**changes):
        return {"task": TaskSpec.of(dataset="digits", **changes)}

    runs = [
        make_run("lora"),
        make_run("lora", optim={"learning_rate": 0.001}),
        make_run("lora", rank=8),
        make_run("lora", optim={"learning_rate": 0.0010000001}),
        make_run("lora", spec={"method": LoRASpec.of(alpha=16)}),
        make_run(),
        make_run(spec=task(classes=(0, 1))),
        make_run(spec=task(shots=10)),
    ]
    labels = labels_of(map(setting_of, (runs[i].spec for i in order)))
    assert len(set(labels.values())) == len(runs)
    assert labels[runs[1].spec.arm] == "LoRA r=4, alpha 8, lr 0.001"
    assert labels[runs[2].spec.arm] == "LoRA r=8"
    assert "shots 10" in labels[runs[7].spec.arm]
    # Seeds are not told apart.
    assert labels_of(map(setting_of, (make_run("lora", seed).spec for seed in range(3)))) == {
        make_run("lora").spec.arm: "LoRA r=4"
    }


def test_a_fair_comparison_draws_no_warning():
    runs = make_arm_runs("full", [90.0] * 3) + make_arm_runs("lora", [90.0] * 3)
    decayed = [replace(run, spec=run.spec.but(optim=run.spec.optim.but(weight_decay=0.1))) for run in runs]
    # Ranks with a rate each are no choice among rates.
    higher_rank = make_arm_runs("lora", [90.0] * 3, rank=8, optim={"learning_rate": 0.002})
    for more in ([make_run("pretrain")], decayed, higher_rank):
        assert comparable(rows_of([*runs, *more])) == []
    assert comparable(rows_of([])) == []


@pytest.mark.parametrize(
    ("odd", "word"),
    [
        ({"spec": {"base": "other"}}, "bases"),
        ({"spec": {"task": TaskSpec.of(dataset="digits", invert=True)}}, "tasks"),
        ({"optim": {"epochs": 3}}, "epochs"),
        ({"optim": {"batch_size": 32}}, "batch sizes"),
        ({"optim": {"learning_rate": 0.001}}, "learning rate"),
        ({"optim": {"accumulation": 2}}, "memory"),
        ({"optim": {"weight_decay": 0.1}}, "differ in weight decay,"),
        ({"optim": {"clip": 1.0, "decay": "cosine", "weight_decay": 0.1}}, "weight decay, decay and gradient clipping"),
        ({"state": "stopped"}, "stopped early"),
        ({"device": "cuda"}, "times"),
    ],
)
def test_each_way_to_be_unfair_is_named(odd, word):
    warnings = comparable(rows_of(make_arm_runs("full", [90.0] * 3) + make_arm_runs("lora", [90.0] * 3, **odd)))
    assert len(warnings) == 1
    assert word in warnings[0]
    assert warnings[0].endswith(".")


@pytest.mark.parametrize("name", sorted(OptimSpec.model_fields.keys() - {"learning_rate", "head_rate", "recompute"}))
def test_every_setting_of_training_that_one_side_alone_has_is_named(name):
    words = {"keep": "best", "decay": "cosine", "precision": "bfloat16"}
    other = words.get(name, 0.25 if OptimSpec.model_fields[name].annotation is float else 3)
    lora = make_arm_runs("lora", [90.0] * 3, optim={name: other})
    assert len(comparable(rows_of(make_arm_runs("full", [90.0] * 3) + lora))) == 1
    assert comparable(rows_of(make_arm_runs("full", [90.0] * 3, optim={name: other}) + lora)) == []


def test_missing_seeds_failures_and_unfinished_runs_are_named():
    runs = make_arm_runs("full", [90.0] * 3) + make_arm_runs("lora", [90.0] * 2)
    runs += [make_run("lora", 2, state="failed"), make_run("lora", 3, state="queued")]
    text = " ".join(comparable(rows_of(runs)))
    for words in ("same seeds", "Fewer than 3 seeds in LoRA r=4", "1 run failed", "1 run still to finish"):
        assert words in text


@pytest.mark.parametrize("full_rates", [(0.001,), (0.001, 0.005)])
def test_a_lora_that_was_tuned_is_not_handicapped_by_a_rate_it_shares(full_rates):
    runs = [make_run("full", optim={"learning_rate": rate}) for rate in full_rates]
    runs += [make_run("lora", optim={"learning_rate": rate}) for rate in (0.001, 0.005)]
    warnings = " ".join(comparable(rows_of(runs)))
    assert "share one learning rate" not in warnings
    unequal = "different numbers of settings (1 for Full; 2 for LoRA r=4)" in warnings
    assert unequal == (len(full_rates) == 1)


def test_alphas_and_other_tuned_settings_count_in_the_budget_and_ranks_do_not():
    full = [make_run("full", optim={"learning_rate": rate}) for rate in (0.001, 0.01)]
    lora = [make_run("lora", rank=rank, optim={"learning_rate": rate}) for rate in (0.001, 0.01) for rank in (1, 4)]
    assert "settings" not in " ".join(comparable(rows_of(full + lora)))
    more = [make_run("lora", spec={"method": LoRASpec.of(rank=4, alpha=16.0)}, optim={"learning_rate": 0.01})]
    more += [make_run("lora", spec={"method": LoRASpec.of(rank=4, scaling="alpha")}, optim={"learning_rate": 0.01})]
    (warning,) = [each for each in comparable(rows_of(full + lora + more)) if "settings" in each]
    assert "(2 for Full and LoRA r=1; 4 for LoRA r=4)" in warning
    assert warning.endswith("more to choose from is an advantage.")


def test_the_claim_about_one_of_several_ranks_says_what_it_was_corrected_for_and_what_the_rank_was_seen_to_do():
    runs = make_arm_runs("full", [95.0 + s / 9 for s in range(8)])
    for rank in (1, 4, 16):
        values = [93.0 + s / 8 + rank / 20 for s in range(8)]
        runs += make_arm_runs("lora", values, rank=rank, validation_accuracy=93.0 + rank / 20)
    found = decided_on(rows_of(runs))
    assert "8 seeds, 3 settings: p < 0.1 % (limit 3.1 %)." in said_of(found)
    (told,) = rank_sentences(found)
    assert told == "Rank: LoRA r=16 was 0.75 points more accurate in every seed than LoRA r=1: seen, not tested."
    fewer = decided_on(rows_of([run for run in runs if run.spec.method.size in (None, 16)]))
    (told,) = rank_sentences(fewer)
    assert told == "Rank: only one was trained, so nothing tells whether it matters."


def test_no_verdict_without_both_methods_on_one_question():
    lora, full = pair([90.0] * 3, [91.0] * 3)
    (elsewhere,) = arms_of(rows_of(make_arm_runs("lora", [99.0] * 3, spec={"base": "other"})))
    for arms in ([], [lora], [full]):
        assert verdict_of(*arms).startswith("No verdict yet")
        found = decided_on(rows_of([run for arm in arms for run in arm.runs]))
        assert (found.rule, found.level, found.choice) == (Rule.NONE, Level.OPEN, None)
        assert checks_of(found) == {}
    assert "different bases" in verdict_of(full, elsewhere)
    assert verdict_of(full, lora, elsewhere) == verdict_of(full, lora)


def test_forgetting_is_source_accuracy_before_minus_after():
    (arm,) = arms_of(rows_of([make_run("full")]))
    assert arm.values("forgetting") == (17.0,)
    assert arm.values("forgetting_masked") == (13.0,)
    (base,) = arms_of(rows_of([make_run("pretrain", source_accuracy=None, source_accuracy_masked=None)]))
    assert base.values("forgetting") == ()
    (lora,) = arms_of(rows_of([make_run("lora")]))
    assert {len(lora.values(name)) for name in QUANTITIES} == {1}


def test_tables_hold_every_arm_and_run_with_types_that_survive_missing_values():
    runs = [*make_arm_runs("full", [95.0, 96.0, 97.0]), make_run("lora"), make_run("lora", 1, state="failed")]
    arms = arms_of(rows_of(runs))
    table = comparison_table(arms)
    assert table["Accuracy (%)"].tolist() == [96.0, 90.0]
    assert table["± Accuracy (%)"].isna().tolist() == [False, True]
    assert table["Trainable parameters"].tolist() == [136_074, 6_248]
    assert table["Adapter (bytes)"].isna().tolist() == [True, False]
    assert comparison_text(arms)["Accuracy"].tolist() == ["96.0 % (93.5 to 98.5)", "90.00 %"]
    listed = runs_table(runs)
    assert listed["Run"].tolist() == [run.id for run in runs]
    assert listed["Accuracy (%)"].isna().tolist() == [False] * 4 + [True]
    pd.testing.assert_series_equal(runs_table([]).dtypes, listed.dtypes)
    pd.testing.assert_series_equal(comparison_table([]).dtypes, table.dtypes)


@pytest.mark.parametrize("turned", [False, True])
def test_a_plain_table_keeps_every_cell_in_its_column(turned):
    table = comparison_text(arms_of(rows_of(make_arm_runs("full", [95.0]) + make_arm_runs("lora", [90.0]))))
    lines = plain_table(table, turned).splitlines()
    rule = lines.pop(1)
    starts = [i for i, mark in enumerate(rule) if mark == "─" and (i == 0 or rule[i - 1] == " ")]
    cells = [[line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for line in lines]
    expected = [list(table.columns), *table.to_numpy().tolist()]
    assert cells == ([list(column) for column in zip(*expected, strict=True)] if turned else expected)


def test_validation_is_used_only_where_every_run_has_it():
    def runs(rate: float, validation: float | None):
        made = make_arm_runs("lora", [90.0, 91.0, 92.0], optim={"learning_rate": rate})
        return [replace(run, result=measured(run.result, validation_accuracy=validation)) for run in made]

    def rates(found):
        return [arm.learning_rate for arm in chosen_arms(rows_of(found))]

    assert rates(runs(0.01, 80.0) + runs(0.02, 81.0)) == [0.02]
    assert rates(runs(0.01, None) + runs(0.02, None)) == [0.01, 0.02]
    assert rates(runs(0.01, 80.0) + runs(0.02, 81.0)[:-1] + runs(0.02, None)[-1:]) == [0.01, 0.02]
    # Without a choice no pair of them stands for the methods.
    full = make_arm_runs("full", [90.0] * 3)
    assert headline(decided_on(rows_of(runs(0.01, None) + runs(0.02, None) + full))).startswith("No verdict:")
    assert "LoRA r=4" in headline(decided_on(rows_of(runs(0.01, None) + full)))


def test_times_of_a_bank_have_no_interval_and_are_said_to_be_shared():
    shared = [make_run("full", seed, seconds=0.11, bank=3) for seed in range(3)]
    alone = [make_run("lora", seed, seconds=0.1 + seed / 100) for seed in range(3)]
    full, lora = arms_of(rows_of(shared + alone))
    assert full.interval("seconds").mean == pytest.approx(0.11)
    assert math.isnan(full.interval("seconds").half_width)
    assert math.isfinite(lora.interval("seconds").half_width)
    assert math.isfinite(full.interval("accuracy").half_width)
    assert comparison_text([full, lora])["Training time"].tolist() == ["0.11 s, shared", "0.11 s (0.09 to 0.13)"]
    assert comparison_table([full, lora])["± Training time (s)"].isna().tolist() == [True, False]
