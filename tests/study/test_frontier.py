"""Accuracy against forgetting over rates and checkpoints, and methods compared at equal accuracy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.data.task_spec import TaskSpec
from core.results.arm import arms_of
from core.results.row import rows_of
from core.rule.frontier import (
    Point,
    at_equal_accuracy,
    equal_to_full,
    frontier_pairs,
    frontier_sentence,
    frontier_table,
    frontiers,
    non_dominated,
)
from core.study.arms.forgetting_clause import AS_MUCH, OWN_RATES, forgetting_clause, forgetting_in_short, rates_note
from core.study.figures.frontier import frontier_figure
from core.study.figures.palette import colours_of
from tests.study.samples import TARGET, make_curve, make_run

SEEN = "Seen beside full fine-tuning at equal accuracy on the target"
BEFORE = 97.0
NOISE = (0.3, -0.4, 0.1, 0.2, -0.2)


def lab_notes(seeds=5, rates=(0.001, 0.003, 0.01), extra=lambda method, seed: 0.0, epochs=4):
    """Full and LoRA r=4 on one law: the further a rate and an epoch move, the more is learned and the more forgotten.

    ``extra`` is what a method forgets beyond the law, in points.
    """
    runs, curves = [], {}
    for method, factor in (("full", 1.0), ("lora", 5.0)):
        for place, rate in enumerate(rates):
            for seed in range(seeds):
                run = make_run(method, seed, optim={"learning_rate": rate * factor}, validation_accuracy=90.0 + place)
                moved = (place + 1) * np.arange(1, epochs + 1) / (len(rates) * epochs)
                curve = make_curve([1.0] * 8, epochs)
                curve.epochs["validation_accuracy"] = 60 + 36 * moved
                curve.epochs["source_accuracy"] = BEFORE - 40 * moved**2 - extra(method, seed)
                curve.epochs["source_accuracy_masked"] = BEFORE - 10 * moved**2
                runs.append(run)
                curves[run.id] = curve
    return runs, curves


def test_the_frontier_is_what_no_point_beats_on_both():
    rng = np.random.default_rng(0)
    points = [(float(a), float(b)) for a, b in rng.integers(0, 12, (60, 2))]
    found = [(p.target, p.forgetting) for p in non_dominated([Point(*point, 0.001, 1) for point in points])]
    beaten = {(a, b) for a, b in points for c, d in points if c >= a and d <= b and (c, d) != (a, b)}
    assert found == sorted(set(points) - beaten), "in the order of what is learned"
    assert [forgetting for _, forgetting in found] == sorted(forgetting for _, forgetting in found)


def test_every_rate_and_epoch_is_a_point_and_a_mean_over_seeds():
    runs, curves = lab_notes(extra=lambda method, seed: NOISE[seed])
    full, lora = frontiers(rows_of(runs), curves, BEFORE)
    assert [full.label, lora.label] == ["Full", "LoRA r=4"]
    assert len(full.points) == 3 * 4
    assert {point.learning_rate for point in full.points} == {0.001, 0.003, 0.01}
    assert {key: len(points) for key, points in lora.by_seed.items()} == dict.fromkeys(range(5), 12)
    last = max(full.points, key=lambda p: p.target)
    assert (last.learning_rate, last.epoch, last.target) == (0.01, 4, pytest.approx(96.0))
    assert last.forgetting == pytest.approx(40.0 + np.mean(NOISE))


def pair_of(runs, curves, before=BEFORE):
    """LoRA and full fine-tuning."""
    ((lora, full),) = frontier_pairs(frontiers(rows_of(runs), curves, before))
    return lora, full


def test_methods_on_one_law_do_not_differ_at_equal_accuracy_though_they_do_at_their_best_rates():
    # LoRA was tried at higher rates only, so at its best rate it forgets more.
    lora, full = pair_of(*lab_notes(extra=lambda method, seed: NOISE[seed] if method == "lora" else -NOISE[seed]))
    found = at_equal_accuracy(lora, full)
    assert len(found) == 3
    assert found[0].level == 96.0
    assert not any(equal.leaves_out_zero for equal in found)
    assert frontier_sentence([(lora, full)]) == f"{SEEN}: LoRA r=4 could not be told apart."


def test_what_is_forgotten_beyond_the_law_is_found_at_every_accuracy():
    runs, curves = lab_notes(extra=lambda method, seed: (3.0 + NOISE[seed]) * (method == "lora"))
    lora, full = pair_of(runs, curves)
    found = at_equal_accuracy(lora, full)
    for equal in found:
        assert equal.leaves_out_zero
        assert equal.values == pytest.approx([3.0 + noise for noise in NOISE])
    several = [(lora, full), (replace(lora, label="LoRA r=16"), full), (full, lora), (full, full)]
    assert frontier_sentence(several) == (
        f"{SEEN}: LoRA r=4 and LoRA r=16 forgot more; Full forgot less; Full could not be told apart."
    )
    assert list(frontier_table(found)["Seen"]) == ["more"] * 3
    arms = {arm.spec.label: arm for arm in arms_of(rows_of(runs)) if arm.learning_rate in (0.01, 0.015)}
    told = arms["LoRA r=4"], arms["Full"]
    assert equal_to_full(*told, rows_of(runs), curves) == tuple(found), "the same, wherever the base stood"
    few = {run.id for run in runs if run.spec.seed < 2}
    for said in (forgetting_clause, forgetting_in_short):
        assert said(*told).rstrip(".").endswith(AS_MUCH)
        whole = said(*told, equal_to_full(*told, rows_of(runs), curves)).rstrip(".")
        assert whole.startswith(said(*told).rstrip("."))
        number = f"at 96.0 %: +{found[0].interval.mean:.2f} points, 95 % interval +"
        assert f"; at equal validation accuracy on the target, LoRA r=4 forgot more in what was seen ({number}" in whole
        assert whole.endswith(f"{found[0].interval.low:.2f} to +{found[0].interval.high:.2f})")
        assert said(*told, equal_to_full(*told, rows_of(run for run in runs if run.id in few), curves)) == said(*told)


def test_where_the_base_stood_cancels():
    runs, curves = lab_notes(extra=lambda method, seed: (3.0 + NOISE[seed]) * (method == "lora"))
    pairs = [pair_of(runs, curves, before) for before in (BEFORE, 50.0)]
    first, second = ([equal.values for equal in at_equal_accuracy(*pair)] for pair in pairs)
    np.testing.assert_allclose(first, second)


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_claim_nothing(seeds):
    lora, full = pair_of(*lab_notes(seeds, extra=lambda method, seed: 30.0 * (method == "lora")))
    assert not any(equal.leaves_out_zero for equal in at_equal_accuracy(lora, full))
    assert f"had too few seeds to compare, {seeds}" in frontier_sentence([(lora, full)])
    assert set(frontier_table(at_equal_accuracy(lora, full))["Seen"]) == {"interval contains 0"}


def test_a_level_that_one_of_them_never_passed_is_not_extrapolated():
    runs, curves = lab_notes()
    for run in runs:
        if run.spec.role == "adapter":
            curves[run.id].epochs["validation_accuracy"] -= 45.0
    lora, full = pair_of(runs, curves)
    assert at_equal_accuracy(lora, full) == []
    assert "reached no accuracy that both have" in frontier_sentence([(lora, full)])


def test_a_setting_with_a_failed_seed_takes_no_part():
    runs, curves = lab_notes()
    failed = next(run for run in runs if run.spec.role == "adapter" and run.spec.optim.learning_rate == 0.05)
    runs[runs.index(failed)] = replace(failed, state="failed", result=None)
    _, lora = frontiers(rows_of(runs), curves, BEFORE)
    assert {point.learning_rate for point in lora.points} == {0.005, 0.015}
    assert len(lora.points) == 2 * 4


def test_a_class_split_is_judged_among_the_sources_classes():
    runs, curves = lab_notes()
    plain, masked = (frontiers(rows_of(runs), curves, BEFORE, masked)[0] for masked in (False, True))
    assert max(p.forgetting for p in plain.points) == pytest.approx(40.0)
    assert max(p.forgetting for p in masked.points) == pytest.approx(10.0)


def test_without_curves_or_a_source_there_is_nothing():
    runs, curves = lab_notes()
    assert frontiers(rows_of(runs), {}, BEFORE) == []
    assert frontiers(rows_of(runs), {id: make_curve([1.0], 4, source=False) for id in curves}, BEFORE) == []


def test_the_figure_has_a_cloud_and_a_line_for_each_method():
    runs, curves = lab_notes()
    found = frontiers(rows_of(runs), curves, BEFORE)
    colours = colours_of(run.spec for run in runs)
    figure = frontier_figure(found, colours)
    assert [trace.mode for trace in figure.data] == ["markers", "lines+markers"] * 2
    for frontier, (cloud, line) in zip(found, (figure.data[:2], figure.data[2:]), strict=True):
        assert len(cloud.x) == len(frontier.points)
        assert list(line.y) == [p.target for p in frontier.best]
        assert line.line.color == colours[frontier.key]


def pair(lora_lost, full_lost, **both):
    def make(method, lost):
        return [make_run(method, seed, source_accuracy=97.0 - x, **both) for seed, x in enumerate(lost)]

    full, lora = arms_of(rows_of(make("full", full_lost) + make("lora", lora_lost)))
    return lora, full


MUCH, LITTLE = [20, 21, 22, 20, 21, 22, 20, 21], [10, 10, 11, 10, 10, 11, 10, 10]


@pytest.mark.parametrize(("lost", "direction"), [((MUCH, LITTLE), "more"), ((LITTLE, MUCH), "less")])
def test_the_clause_names_the_rates_of_both_and_its_interval_points_the_same_way(lost, direction):
    clause = forgetting_clause(*pair(*lost))
    said = f"was seen to forget 10.62 points {direction} of the source than full fine-tuning"
    assert clause.startswith(f"LoRA r=4 {said} at learning rates 0.005 and 0.001 (95 % interval 10.19 to 11.06)")
    assert clause.endswith("which compares rates as much as methods")
    each = "each at its own learning rate, which compares rates as much as methods."
    assert forgetting_in_short(*pair(*lost)) == f"LoRA r=4 {said}, {each}"


def test_a_rate_that_both_have_is_no_fairer_than_two():
    lora, full = pair([20, 21, 22, 20], [10, 10, 11, 10], optim={"learning_rate": 0.002})
    beside = "10.5 points more of the source than full fine-tuning at the same learning rate 0.002"
    assert beside in forgetting_clause(lora, full)
    for said in (forgetting_clause(lora, full), forgetting_in_short(lora, full), rates_note([lora, full])):
        assert "compares rates as much as methods" in said


def test_a_table_at_rates_of_their_own_says_that_it_compares_rates():
    lora, full = pair([20, 21], [10, 10])
    assert rates_note([full, lora], is_answered=True) == OWN_RATES
    assert rates_note([full, lora]).startswith(OWN_RATES)
    assert "may be another" in rates_note([full, lora])
    assert rates_note([lora]) == ""


def test_the_clause_claims_nothing_where_the_interval_holds_zero():
    clause = forgetting_clause(*pair([20, 10, 20, 10, 21, 9], [10, 20, 11, 20, 10, 20]))
    assert clause.startswith("no difference from full fine-tuning was seen at learning rates 0.005 and 0.001 (")


def test_the_clause_says_which_classes_counted():
    split = TaskSpec.of(dataset="digits", classes=(0, 1, 2))
    runs = [
        make_run(method, seed, source_accuracy_masked=96.0 - lost - seed % 2, spec={"source": split})
        for method, lost in (("full", 1), ("lora", 9))
        for seed in range(8)
    ]
    full, lora = arms_of(rows_of(runs))
    assert "among the source's classes" in forgetting_clause(lora, full)


def test_there_is_no_clause_without_a_source_of_its_own_or_a_second_seed():
    same = [make_run(method, seed, spec={"source": TARGET}) for method in ("full", "lora") for seed in range(3)]
    for runs in (same, [make_run("full"), make_run("lora")]):
        full, lora = arms_of(rows_of(runs))
        assert forgetting_clause(lora, full) == ""
