"""Accuracy against forgetting over rates and checkpoints, and methods compared at equal accuracy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

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
from core.study.arms.forgetting_notes import OWN_RATES, rates_note
from core.study.figures.palette import colours_of
from core.study.figures.tradeoffs import frontier_figure
from tests.study.samples import make_curve, make_run

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


def test_a_table_at_rates_of_their_own_says_that_it_compares_rates():
    full, lora = arms_of(rows_of([make_run(method, seed) for method in ("full", "lora") for seed in range(2)]))
    assert rates_note([full, lora], is_answered=True) == OWN_RATES
    assert rates_note([full, lora]).startswith(OWN_RATES)
    assert "may be another" in rates_note([full, lora])
    assert rates_note([lora]) == ""
