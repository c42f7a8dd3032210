"""Settings are chosen on validation and never on test, by what finished, and figures draw whatever they are given."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.methods.lora import LoRASpec
from core.results.arm import Arm
from core.results.choice import best
from core.results.intervals import t_interval
from core.results.row import rows_of
from core.results.setting import setting_of
from core.store.record import Run
from core.study.arms.rates import at_alpha, best_adapters, chosen, tried_arms
from core.study.figures.palette import FULL, RANKS, colour_of
from core.study.figures.rates import has_map, lowest_of_interest, rate_curves, rate_map, size_curve
from tests.study.samples import make_run, within
from tests.study.shown import themed


def made(
    rank: int | None, rate: float, validation: list[float], test: list[float] | None = None, alpha: float = 8.0, **run
) -> list[Run]:
    """Runs of one setting, one per seed, with these accuracies on the validation part."""
    method = "full" if rank is None else "lora"
    spec = {"method": LoRASpec.of(rank=rank, alpha=alpha)} if rank else {}
    settings = {"rank": rank or 4, "optim": {"learning_rate": rate}, "spec": spec} | run
    return [
        make_run(method, seed, accuracy, validation_accuracy=value, **settings)
        for seed, (accuracy, value) in enumerate(zip(test or validation, validation, strict=True))
    ]


def moved(run: Run, seed: int) -> Run:
    return replace(run, id=f"{run.id}-{seed}", spec=run.spec.but(seed=seed))


def sweep(*settings: list[Run]) -> list[Arm]:
    return tried_arms(rows_of([run for members in settings for run in members]))


ARMS = sweep(
    made(None, 0.0005, [95.0, 96.0], [94.0, 94.5]),
    made(None, 0.001, [97.0, 97.2], [96.0, 96.4]),
    made(None, 0.002, [96.0, 96.2], [99.0, 99.0]),
    *(made(1, rate, [value, value + 1]) for rate, value in ((0.001, 80.0), (0.01, 90.0), (0.1, 30.0))),
    *(made(4, rate, [value, value + 1], alpha=16.0) for rate, value in ((0.001, 91.0), (0.01, 95.0), (0.1, 50.0))),
    made(4, 0.01, [94.0, 94.0], [97.0, 97.5], alpha=8.0),
)


@given(st.permutations([run for arm in ARMS for run in arm.runs]))
def test_cells_do_not_depend_on_the_order_of_runs(runs):
    assert tried_arms(rows_of(runs)) == ARMS
    assert [arm.validation for arm in tried_arms(rows_of(runs))] == [arm.validation for arm in ARMS]
    cells = [(arm.spec.method.size, arm.spec.method.strength, arm.learning_rate) for arm in ARMS[3:7]]
    assert cells == [(1, 8.0, 0.001), (1, 8.0, 0.01), (1, 8.0, 0.1), (4, 8.0, 0.01)]


@pytest.mark.parametrize("state", ["stopped", "failed", "queued", "running", "interrupted", "finished"])
def test_only_finished_runs_with_a_finite_value_count(state):
    runs = made(4, 0.01, [90.0, 92.0, math.nan if state == "finished" else 99.0])
    runs[2] = replace(runs[2], state=state)
    (arm,) = tried_arms(rows_of(runs))
    assert arm.validation == (90.0, 92.0)
    assert arm.finished_only.values("accuracy")[:2] == (90.0, 92.0)
    assert len(arm.finished_only.runs) == (3 if state == "finished" else 2)
    assert arm.validated == t_interval([90.0, 92.0])
    has_failed = state in ("failed", "finished")
    assert (arm.failed, best([arm])) == (((2,), None) if has_failed else ((), arm))


def test_a_seed_that_was_trained_again_counts_once():
    again = [make_run("full", 0, state="failed", optim={"learning_rate": 0.01}), *made(None, 0.01, [90.0, 91.0])]
    (heat,) = rate_map(sweep(again)).data
    assert "2 of 2 seeds" in heat.hovertext[0][0]


def test_one_alpha_or_the_best_at_each_place():
    assert [c.spec.method.strength for c in at_alpha(ARMS, 8.0) if c.spec.method.size == 4] == [8.0]
    assert {c.spec.method.strength for c in at_alpha(ARMS, None) if c.spec.method.size == 4} == {16.0}
    for alpha in (8.0, 16.0, None):
        shown = at_alpha(ARMS, alpha)
        places = [(arm.spec.kind, arm.spec.method.size, arm.learning_rate) for arm in shown]
        assert len(places) == len(set(places))
        assert [arm for arm in shown if arm.spec.kind == "full"] == ARMS[:3]


def test_the_map_has_each_setting_in_its_place_and_frames_what_was_chosen():
    figure = rate_map(ARMS, chosen(ARMS))
    (heat,) = figure.data
    assert (list(heat.x), list(heat.y)) == (["Full", "r=1", "r=4"], ["0.0005", "0.001", "0.002", "0.01", "0.1"])
    for arm in at_alpha(ARMS, None):
        size = arm.spec.method.size
        row, column = heat.y.index(f"{arm.learning_rate:g}"), heat.x.index(f"r={size}" if size else "Full")
        assert heat.z[row][column] == arm.validated.mean
        assert heat.text[row][column] == f"{arm.validated.mean:.1f}"
        assert arm.label in heat.hovertext[row][column]
    assert np.isnan(heat.z).sum() == 15 - 9
    assert [shape.line.color for shape in figure.layout.shapes] == [FULL, RANKS[4]]
    assert has_map(ARMS)
    assert not has_map(ARMS[:6]), "of one rank, curves say as much"


def test_a_place_says_what_waits_and_what_failed():
    part = made(4, 0.01, [90.0, 91.0])
    part[1] = replace(part[1], state="failed", result=None)
    waiting = {0.02: "failed", 0.05: "queued", 0.1: "stopped"}
    (heat,) = rate_map(sweep(part, *(made(4, rate, [90.0], state=state) for rate, state in waiting.items()))).data
    assert dict(zip(heat.y, [row[0] for row in heat.text], strict=True)) == {
        "0.01": "90.0 ✕",
        "0.02": "✕",
        "0.05": "",
        "0.1": "",
    }
    hovers = dict(zip(heat.y, [row[0] for row in heat.hovertext], strict=True))
    assert "1 of 2 seeds<br>1 failed" in hovers["0.01"]
    assert hovers["0.05"].endswith("no result yet")
    assert hovers["0.1"].endswith("no result")


def test_one_setting_that_learnt_nothing_does_not_make_the_others_look_alike():
    assert lowest_of_interest([10.0, 95.0, 96.0, 97.0]) == pytest.approx(95.5 - 4.5)
    assert lowest_of_interest([95.0, 96.0, 97.0]) == 95.0
    assert lowest_of_interest([90.0]) == 90.0
    arms = sweep(*(made(4, rate, [v]) for rate, v in ((0.1, 10.0), (0.2, 95.0), (0.3, 96.0), (0.4, 97.0))))
    (heat,) = rate_map(arms).data
    assert (heat.zmin, heat.zmax, heat.reversescale) == (pytest.approx(91.0), 97.0, False)


def test_a_low_loss_is_the_good_end_of_the_map_and_a_high_one_is_cut_off():
    losses = {0.1: 9.0, 0.2: 0.5, 0.3: 0.4, 0.4: 0.3}
    runs = [made(4, rate, [90.0], validation_loss=loss, loss=loss)[0] for rate, loss in losses.items()]
    arms = tried_arms(rows_of(within(runs, None, "loss")))
    (heat,) = rate_map(arms).data
    assert dict(zip(heat.y, [row[0] for row in heat.text], strict=True))["0.1"] == "9.000"
    assert (heat.zmin, heat.zmax, heat.reversescale) == (0.3, pytest.approx(0.9), True)
    layout = rate_curves(arms).layout
    low, high = layout.yaxis.range
    assert low < 0.3 < 0.5 < high < 9.0
    assert "higher values are cut off" in layout.title.subtitle.text


def test_rate_curves_are_a_line_for_full_and_one_a_rank_with_the_best_marked():
    figure = rate_curves(ARMS)
    assert [trace.name for trace in figure.data] == ["Full", "LoRA r=1", "LoRA r=4"]
    for trace, rate in zip(figure.data, (0.001, 0.01, 0.01), strict=True):
        assert list(trace.x) == sorted(trace.x)
        assert [x for x, symbol in zip(trace.x, trace.marker.symbol, strict=True) if symbol == "star"] == [rate]
    assert list(figure.data[0].y) == [95.5, 97.1, 96.1]
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.yaxis.range[0] > 30.5
    assert "lower values are cut off" in figure.layout.title.subtitle.text
    assert rate_curves(ARMS[:3]).layout.yaxis.range is None


def test_the_rank_curve_has_the_chosen_settings_and_the_band_of_full_fine_tuning():
    figure = size_curve(ARMS)
    band, full, line, *rest = figure.data
    interval = chosen(ARMS)[0].tested
    assert set(band.y) == {interval.low, interval.high}
    assert set(full.y) == {interval.mean}
    assert list(line.x) == [1, 4]
    assert list(line.y) == [arm.tested.mean for arm in best_adapters(ARMS).values()]
    dots = [tuple(trace.y) for trace in rest if trace.marker.symbol is None]
    assert dots == [arm.finished_only.values("accuracy") for arm in best_adapters(ARMS).values()]


def test_a_mean_of_one_seed_gets_no_interval():
    figure = size_curve(sweep(made(None, 0.001, [97.0]), made(4, 0.01, [95.0])))
    assert [trace.name for trace in figure.data[:2]] == ["Full", "LoRA"]
    assert all(trace.error_y.array is None for trace in figure.data)


def test_a_rank_has_one_colour_in_all_figures():
    colours = {arm.spec.label: colour_of(setting_of(arm.spec)) for arm in ARMS}
    assert colours == {"Full": FULL, "LoRA r=1": RANKS[1], "LoRA r=4": RANKS[4]}
    assert [trace.line.color for trace in rate_curves(ARMS).data] == list(colours.values())


@pytest.mark.parametrize("arms", [[], ARMS[:3], ARMS[3:], ARMS[3:4], sweep(made(4, 0.01, [90.0], state="queued"))])
@pytest.mark.parametrize("draw", [rate_curves, size_curve])
def test_figures_draw_whatever_there_is_without_colouring_text(draw, arms):
    themed(draw(arms))
    rate_map(arms)
