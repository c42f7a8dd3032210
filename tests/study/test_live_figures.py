"""Live figures: one line per arm, the mean of its seeds whatever step each has reached, the best of a group bold."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.results.arm import Arm, all_arms
from core.results.row import rows_of
from core.store.record import EPOCH_COLUMNS, UNFINISHED, Curve, State
from core.study.figures.curves import SMOOTHING, smooth
from core.study.figures.live import (
    MAX_OF_LINE,
    MAX_POINTS,
    latest,
    latest_text,
    live_loss,
    live_measure,
    mean_loss,
    mean_measure,
)
from tests.study.samples import make_run

NAN = float("nan")


def curve(losses: list[float], accuracies: list[float]) -> Curve:
    epochs = pd.DataFrame({name: np.full(len(accuracies), NAN) for name in EPOCH_COLUMNS})
    epochs["epoch"] = np.arange(1, len(accuracies) + 1)
    epochs["validation_accuracy"] = np.array(accuracies, float)
    steps = np.arange(1, len(losses) + 1)
    return Curve(step=steps, seconds=0.1 * steps, loss=np.array(losses, np.float32), epochs=epochs)


def made(*settings: tuple[str, float, list[Curve]]) -> tuple[list[Arm], dict[str, Curve]]:
    """Arms in training, two steps per epoch, and the curves of their runs.

    Args:
        settings: method, learning rate, and the curves of the runs that have begun; one run waits where there is none.
    """
    runs, curves = [], {}
    for method, rate, own in settings:
        for seed in range(max(1, len(own))):
            run = replace(make_run(method, seed, state="running", optim={"learning_rate": rate}), steps=4)
            runs.append(run)
            if own:
                curves[run.id] = own[seed]
    return all_arms(rows_of(runs)), curves


def one(*own: Curve) -> tuple[Arm, dict[str, Curve]]:
    (arm,), curves = made(("full", 0.001, list(own)))
    return arm, curves


def test_the_mean_is_of_the_runs_that_have_reached_a_step() -> None:
    both = one(curve([4.0, 2.0, 1.0], [50.0]), curve([2.0], []))
    x, loss = mean_loss(*both)
    np.testing.assert_allclose(x, [0.5, 1.0, 1.5])
    np.testing.assert_allclose(loss, [3.0, 2.0, 1.0])
    x, accuracy = mean_measure(*both)
    np.testing.assert_allclose((x, accuracy), ([1.0], [50.0]))
    assert latest(*both) == [50.0]


def told(*states: State) -> tuple[str, list[float], str | None]:
    """Three seeds of one setting in these states, of which the last one is at 43 % and the others are at 89 %."""
    arm, curves = one(*(curve([1.0], [43.0, *[89.0] * (state != states[-1])]) for state in states))
    arm = replace(arm, rows=rows_of(replace(run, state=state) for run, state in zip(arm.runs, states, strict=True)))
    subtitle = live_measure([arm], curves)["layout"]["title"]["subtitle"]["text"]
    return latest_text(arm, curves), list(mean_measure(arm, curves)[1]), subtitle


@pytest.mark.parametrize("state", UNFINISHED)
def test_a_run_that_broke_off_is_in_no_mean_beside_others_and_the_seeds_of_the_mean_are_told(state: State) -> None:
    said = "mean of the seeds; without runs that broke off"
    assert told("finished", "finished", state) == ("89.00 % (2 seeds)", [43.0, 89.0], said)
    assert told("running", "running", state) == ("89.00 % (2 seeds so far)", [43.0, 89.0], said)
    assert told(state) == ("43.00 % (1 seed, broken off)", [43.0], None)


def test_while_seeds_train_the_latest_mean_is_of_those_that_have_finished() -> None:
    assert told("finished", "running") == ("89.00 % (1 seed)", [43.0, 89.0], "mean of the seeds")


def test_a_loss_that_is_not_finite_is_left_out_and_a_gap_where_no_run_has_one() -> None:
    _, loss = mean_loss(*one(curve([1.0, np.inf, NAN], []), curve([3.0, 5.0], [])))
    np.testing.assert_allclose(loss, [2.0, 5.0, NAN])


def test_the_mean_and_the_axis_are_those_of_every_step_to_the_last_bit() -> None:
    draws = np.random.default_rng(0)
    losses = [draws.random(length).astype(np.float32) for length in (9_000, 5_000)]
    losses[1][[3, 4_000]] = np.inf, NAN
    # The second one lacks steps, which no run should, and the mean is of the others there.
    steps = [np.arange(1, 9_001), np.r_[1:3_000, 4_000:6_001]]
    arm, curves = one(*(replace(curve(list(own), []), step=at) for own, at in zip(losses, steps, strict=True)))
    total, count = np.zeros(9_000), np.zeros(9_000)
    for own, at in zip(losses, steps, strict=True):
        for step, loss in zip(at, own, strict=True):
            if np.isfinite(loss):
                total[step - 1] += float(loss)
                count[step - 1] += 1
    np.testing.assert_array_equal(mean_loss(arm, curves)[1], total / count)
    whole = smooth(total / count, SMOOTHING)
    room = 0.05 * (whole.max() - whole.min())
    assert live_loss([arm], curves)["layout"]["yaxis"]["range"] == [max(0.0, whole.min() - room), whole.max() + room]


def test_the_best_arm_of_each_group_is_bold_drawn_last_and_stands_for_it_in_the_legend() -> None:
    arms, curves = made(
        ("full", 0.001, [curve([1.0], [60.0])]),
        ("full", 0.01, [curve([1.0], [80.0])]),
        ("full", 0.1, [curve([9.0], [])]),
        ("lora", 0.005, [curve([1.0], [70.0])]),
    )
    first, best, begun, lora = (arm.key for arm in arms)
    for figure in (live_loss(arms, curves), live_measure(arms, curves)):
        assert [trace["uid"] for trace in figure["data"]] == [first, begun, best, lora]
        assert [trace["showlegend"] for trace in figure["data"]] == [False, False, True, True]
        assert [trace["name"] for trace in figure["data"]][-2:] == ["Full", "LoRA r=4"]


def test_bold_is_what_the_answer_may_use_and_once_all_has_ended_what_it_chose() -> None:
    """Full is ahead after 3 epochs and LoRA after 9, once all its seeds have got there."""
    reached = {("full", 3): 90.0, ("full", 9): 70.0, ("lora", 3): 60.0, ("lora", 9): 80.0}
    runs = [
        make_run(method, seed, validation, validation_accuracy=validation, optim={"epochs": epochs})
        for (method, epochs), validation in reached.items()
        for seed in range(2)
    ]
    going = [replace(run, state="running", result=None) if run.spec.seed == 1 else run for run in runs[-2:]]
    for all_runs, so_far in ((runs, ""), ([*runs[:-2], *going], " so far")):
        epochs = {"full": 3, "lora": 3 if so_far else 9}
        arms = all_arms(rows_of(all_runs))
        curves = {run.id: curve([1.0], [reached[run.spec.kind, run.spec.optim.epochs]]) for run in all_runs}
        figure = live_measure(arms, curves)
        bold = {trace["uid"] for trace in figure["data"] if trace["showlegend"]}
        assert bold == {arm.key for arm in arms if arm.spec.optim.epochs == epochs[arm.spec.kind]}
        subtitle = figure["layout"]["title"]["subtitle"]["text"].replace("<br>", " ")
        assert subtitle.endswith(f"bold: best on validation{so_far}")


def test_a_diverging_setting_does_not_set_the_range_of_the_axis() -> None:
    good, bad = [curve([2.0, 1.0], [90.0])], [curve([2.0, 1e6], [10.0])]
    low, high = live_loss(*made(("full", 0.001, good), ("full", 0.01, bad)))["layout"]["yaxis"]["range"]
    assert low < 2.0 < high < 3.0


def test_no_axis_shows_what_no_loss_or_accuracy_can_be_and_none_without_a_point_numbers_them() -> None:
    drawings = [curve([0.0, 0.0], [0.0])], [curve([3.0, 0.01], [1.0, 90.0])], [curve([9.0], [60.0, 100.0])]
    for drawn in (*drawings, [curve([], [])], []):
        arms, curves = made(("full", 0.001, drawn))
        for figure in (live_loss(arms, curves), live_measure(arms, curves)):
            low, high = figure["layout"]["yaxis"]["range"]
            assert 0 <= low < high <= 100
            if not curves or not drawn[0].step.size:
                assert figure["layout"]["yaxis"]["showticklabels"] is False
                assert figure["layout"]["xaxis"]["range"] == [0, arms[0].spec.optim.epochs]


def test_only_a_figure_with_other_lines_says_what_is_bold() -> None:
    first, waiting = ("full", 0.001, [curve([1.0], [60.0])]), ("lora", 0.005, [])
    tried = ("full", 0.01, [curve([1.0], [70.0])])
    said = "bold: best on validation so far"
    for settings, subtitle in (([first, waiting], None), ([first, tried, waiting], said)):
        assert live_loss(*made(*settings))["layout"]["title"]["subtitle"]["text"] == subtitle


@pytest.mark.parametrize("curves", [None, [], [curve([], [])], [curve([np.inf], [NAN])]])
def test_what_has_not_begun_or_has_no_number_draws_nothing_that_fails(curves: list[Curve] | None) -> None:
    drawn = made(*([] if curves is None else [("full", 0.001, curves)]))
    for figure in (live_loss(*drawn), live_measure(*drawn)):
        json.dumps(figure, allow_nan=False)


def test_many_arms_stay_small() -> None:
    losses = list(np.random.default_rng(0).random(5000))
    drawn = made(*(("full", 0.001 * (1 + number), [curve(losses, [1.0])]) for number in range(20)))
    figure = live_loss(*drawn)
    assert sum(len(trace["x"]) for trace in figure["data"]) <= MAX_POINTS
    assert len(json.dumps(figure)) < 250_000


def test_a_long_line_is_sent_with_its_ends_and_its_spike_and_with_no_legend_of_one_entry() -> None:
    losses = np.random.default_rng(0).random(100_000)
    losses[60_000:60_100] = 90.0
    drawn = made(("full", 0.001, [curve(list(losses), [1.0])]))
    figure = live_loss(*drawn)
    (trace,) = figure["data"]
    assert len(trace["x"]) <= MAX_OF_LINE
    assert max(trace["y"]) > 80.0
    assert trace["x"][-1] == 50_000.0, "two steps per epoch"
    assert not trace["showlegend"]
    assert len(json.dumps(figure)) < 25_000
