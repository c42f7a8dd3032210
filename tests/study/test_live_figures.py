"""Live figures: one line per arm, the mean of its seeds whatever step each has reached, the best of a group bold."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from core.store.record import EPOCH_COLUMNS, Curve
from core.study.figures.live import MAX_POINTS, LiveArm, live_loss, live_measure

NAN = float("nan")


def curve(losses: list[float], accuracies: list[float]) -> Curve:
    epochs = pd.DataFrame({name: np.full(len(accuracies), NAN) for name in EPOCH_COLUMNS})
    epochs["epoch"] = np.arange(1, len(accuracies) + 1)
    epochs["validation_accuracy"] = np.array(accuracies, float)
    steps = np.arange(1, len(losses) + 1)
    return Curve(step=steps, seconds=0.1 * steps, loss=np.array(losses, np.float32), epochs=epochs)


def arm(key: str, *curves: Curve, group: str = "Full", steps_per_epoch: float = 2.0) -> LiveArm:
    return LiveArm(key, f"{group}, lr {key}", group, "#0072B2", curves, steps_per_epoch)


def test_the_mean_is_of_the_runs_that_have_reached_a_step() -> None:
    both = arm("a", curve([4.0, 2.0, 1.0], [50.0]), curve([2.0], []))
    x, loss = both.loss()
    np.testing.assert_allclose(x, [0.5, 1.0, 1.5])
    np.testing.assert_allclose(loss, [3.0, 2.0, 1.0])
    x, accuracy = both.primary()
    np.testing.assert_allclose((x, accuracy), ([1.0], [50.0]))
    assert both.latest == 50.0


def test_a_loss_that_is_not_finite_is_left_out_and_a_gap_where_no_run_has_one() -> None:
    _, loss = arm("a", curve([1.0, np.inf, NAN], []), curve([3.0, 5.0], [])).loss()
    np.testing.assert_allclose(loss, [2.0, 5.0, NAN])


def test_the_best_arm_of_each_group_is_bold_drawn_last_and_stands_for_it_in_the_legend() -> None:
    arms = [
        arm("0.001", curve([1.0], [60.0])),
        arm("0.01", curve([1.0], [80.0])),
        arm("0.1", curve([9.0], [])),
        arm("lora", curve([1.0], [70.0]), group="LoRA r=4"),
    ]
    for figure in (live_loss(arms), live_measure(arms)):
        assert [trace["uid"] for trace in figure["data"]] == ["0.001", "0.1", "0.01", "lora"]
        assert [trace["showlegend"] for trace in figure["data"]] == [False, False, True, True]
        assert [trace["name"] for trace in figure["data"]][-2:] == ["Full", "LoRA r=4"]


def test_a_diverging_setting_does_not_set_the_range_of_the_axis() -> None:
    good, bad = arm("good", curve([2.0, 1.0], [90.0])), arm("bad", curve([2.0, 1e6], [10.0]))
    low, high = live_loss([good, bad])["layout"]["yaxis"]["range"]
    assert low < 2.0 < high < 3.0


def test_no_axis_shows_negative_losses_or_accuracies() -> None:
    flat, falling = arm("flat", curve([0.0, 0.0], [0.0])), arm("falling", curve([3.0, 0.01], [1.0, 90.0]))
    for arms in ([flat], [falling]):
        for figure in (live_loss(arms), live_measure(arms)):
            low, high = figure["layout"]["yaxis"]["range"]
            assert 0 <= low < high


def test_only_a_figure_with_other_lines_says_what_is_bold() -> None:
    one, tried, waiting = arm("a", curve([1.0], [60.0])), arm("b", curve([1.0], [70.0])), arm("lora", group="LoRA r=4")
    for arms, bold in (([one, waiting], False), ([one, tried, waiting], True)):
        assert ("bold" in (live_loss(arms)["layout"]["title"]["subtitle"]["text"] or "")) == bold


@pytest.mark.parametrize("arms", [[], [arm("a")], [arm("a", curve([], []))], [arm("a", curve([np.inf], [NAN]))]])
def test_what_has_not_begun_or_has_no_number_draws_nothing_that_fails(arms: list[LiveArm]) -> None:
    for figure in (live_loss(arms), live_measure(arms)):
        json.dumps(figure, allow_nan=False)


def test_many_arms_stay_small() -> None:
    losses = list(np.random.default_rng(0).random(5000))
    figure = live_loss([arm(str(number), curve(losses, [1.0])) for number in range(20)])
    assert sum(len(trace["x"]) for trace in figure["data"]) <= MAX_POINTS
    assert len(json.dumps(figure)) < 250_000
