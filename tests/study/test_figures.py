from __future__ import annotations

import json
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.study.arms.arm import arms_of
from core.study.figures.curves import (
    AXES,
    NamedCurve,
    accuracy_curves,
    arm_dots,
    bars,
    export_html,
    live_figure_data,
    loss_curves,
)
from core.study.figures.palette import FULL, LORA, NEUTRAL, colours_of
from core.study.figures.thinning import MAX_POINTS, smooth, thin
from core.study.stats.measures import MEASURES
from tests.study.samples import make_arm_runs, make_curve, make_run

LOSSES = arrays(
    np.float64, st.integers(0, 400), elements=st.floats(-10, 10) | st.sampled_from([np.nan, np.inf, -np.inf])
)
ARMS = arms_of(
    make_arm_runs("full", [95.0, 96.0]) + make_arm_runs("lora", [90.0, 91.0]) + make_arm_runs("lora", [85.0], rank=8)
)


def named(loss, run: str = "a", label: str = "Full", **curve) -> NamedCurve:
    return NamedCurve(run, label, FULL, make_curve(loss, **curve))


def two_curves() -> list[NamedCurve]:
    falling = np.linspace(2, 0.1, 50)
    return [named(falling, "a"), named(falling, "b"), named(falling, "c", "LoRA r=4")]


@given(LOSSES, st.integers(7, 60))
def test_thinning_keeps_a_bounded_ordered_subset_with_ends_and_extremes(y, most):
    kept = thin(y, most)
    assert len(kept) == len(y) if len(y) <= most else 2 <= len(kept) <= most
    assert (np.diff(kept) > 0).all()
    if len(y):
        assert (kept[0], kept[-1]) == (0, len(y) - 1)
    finite = y[np.isfinite(y)]
    if len(finite):
        shown = y[kept][np.isfinite(y[kept])]
        assert (shown.min(), shown.max()) == (finite.min(), finite.max())


@given(LOSSES, st.integers(7, 60))
def test_thinning_never_draws_a_line_across_a_gap(y, most):
    kept = thin(y, most)
    for left, right in pairwise(kept):
        if np.isfinite(y[[left, right]]).all():
            assert np.isfinite(y[left:right]).all()


def test_thinning_keeps_one_spike_among_many_points():
    y = np.zeros(100_000)
    y[54_321] = 9.0
    assert 54_321 in thin(y)
    assert len(thin(y)) <= MAX_POINTS


@given(LOSSES, st.floats(0, 0.99))
def test_smoothing_is_the_bias_corrected_recursion_and_starts_anew_after_a_gap(y, weight):
    expected, state, power = [], 0.0, 1.0
    for value in y:
        if np.isfinite(value):
            state, power = weight * state + (1 - weight) * value, power * weight
            expected.append(state / (1 - power))
        else:
            expected.append(value)
            state, power = 0.0, 1.0
    np.testing.assert_allclose(smooth(y, weight), expected, atol=1e-9)


def test_smoothing_of_a_constant_is_that_constant_from_the_first_step():
    np.testing.assert_allclose(smooth(np.full(20, 3.0), 0.99), 3.0)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("smoothing", [0.0, 0.9])
@pytest.mark.parametrize("log", [False, True])
def test_a_loss_figure_has_the_traces_of_each_run_and_one_legend_entry_a_label(axis, smoothing, log):
    figure = loss_curves(two_curves(), axis, smoothing, log)
    assert len(figure.data) == 3 * (3 if smoothing else 2)
    assert [trace.name for trace in figure.data if trace.showlegend] == ["Full", "LoRA r=4"]
    assert len({trace.uid for trace in figure.data}) == len(figure.data)
    assert {trace.line.dash for trace in figure.data if trace.uid.endswith("validation")} == {"dash"}
    assert all(trace.line.dash is None for trace in figure.data if trace.uid.endswith(("raw", "training")))
    assert figure.layout.xaxis.title.text == AXES[axis]
    assert figure.layout.yaxis.type == ("log" if log else "linear")


def test_axes_agree_with_each_other():
    by = {axis: {t.uid: t for t in loss_curves([named(np.ones(50))], axis, 0.0).data} for axis in AXES}
    # Fifty steps in two epochs: the second one ends at step 50.
    for axis, last in (("step", 50), ("epoch", 2.0)):
        assert by[axis]["a:training"].x[-1] == last == by[axis]["a:validation"].x[-1]
    assert by["seconds"]["a:training"].x[-1] == pytest.approx(0.5)


def test_the_first_epoch_is_placed_by_the_plan_and_not_guessed():
    curve = make_curve(np.ones(10), epochs=0)
    with_plan = loss_curves([NamedCurve("a", "Full", FULL, curve, steps_per_epoch=20)], "epoch", 0.0)
    assert with_plan.data[0].x[-1] == 0.5
    without = loss_curves([NamedCurve("a", "Full", FULL, curve)], "epoch", 0.0)
    assert np.isnan(without.data[0].x).all()


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_a_diverged_run_ends_in_a_gap_and_a_cross(lost):
    loss = np.r_[np.linspace(2, 5, 3000), lost, lost]
    figure = loss_curves([named(loss)], "step", 0.9)
    line = next(trace for trace in figure.data if trace.uid == "a:training")
    assert np.isnan(line.y[-1])
    assert line.x[-1] == len(loss)
    cross = next(trace for trace in figure.data if trace.uid == "a:diverged")
    assert (cross.x[0], cross.y[0]) == (3001, 5.0)
    assert "step 3001" in cross.hovertemplate
    live = live_figure_data([named(loss)], "step", 0.9)
    assert next(trace for trace in live["data"] if trace["uid"] == "a:training")["y"][-1] is None


def test_curves_are_short_arrays_however_long_the_runs():
    for count, length in ((1, 200_000), (40, 5_000)):
        loss = np.random.default_rng(0).random(length)
        figure = loss_curves([named(loss, str(i)) for i in range(count)])
        assert all(isinstance(trace.y, np.ndarray) and len(trace.y) <= MAX_POINTS for trace in figure.data)
        assert sum(len(trace.y) for trace in figure.data) < 50_000


@pytest.mark.parametrize("loss", [[], [1.0], [np.nan], [np.inf, 1.0]])
@pytest.mark.parametrize("epochs", [0, 2])
def test_the_shortest_curves_draw(loss, epochs):
    curves = [named(loss, epochs=epochs)]
    for axis in AXES:
        json.dumps(live_figure_data(curves, axis, 0.9, True), allow_nan=False)
        loss_curves(curves, axis).to_json()
        accuracy_curves(curves, axis).to_json()


def test_live_data_is_the_figure_in_plain_json():
    curves = two_curves()
    live = json.loads(json.dumps(live_figure_data(curves, "epoch", 0.5, True), allow_nan=False))
    figure = loss_curves(curves, "epoch", 0.5, True)
    assert [trace["uid"] for trace in live["data"]] == [trace.uid for trace in figure.data]
    for plain, trace in zip(live["data"], figure.data, strict=True):
        np.testing.assert_allclose(plain["x"], trace.x, rtol=1e-4)
        np.testing.assert_allclose(plain["y"], trace.y, rtol=1e-4)
    go.Figure(live["data"], live["layout"])
    assert live["layout"]["uirevision"] == live_figure_data(curves[:1])["layout"]["uirevision"]


def test_source_accuracy_has_its_own_panel_only_where_it_was_measured():
    both = accuracy_curves(two_curves())
    assert len(both.data) == 6
    assert [trace.name for trace in both.data if trace.showlegend] == ["Full", "LoRA r=4"]
    assert [trace.yaxis for trace in both.data] == [None] * 3 + ["y2"] * 3
    assert {trace.line.dash for trace in both.data[3:]} == {"dot"}
    alone = accuracy_curves([named(np.ones(50), source=False)])
    assert len(alone.data) == 1
    assert len(accuracy_curves(two_curves(), masked=True).data) == 3


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("draw", [arm_dots, bars])
def test_arm_figures_draw_every_measure_without_colouring_text(draw, measure):
    for arms in (ARMS, ARMS[:1], []):
        figure = draw(arms, measure)
        layout = json.loads(figure.to_json())["layout"]
        layout.pop("template", None)
        assert '"font"' not in json.dumps(layout)
        assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0, 0, 0, 0)"
        assert layout["title"]["text"] == MEASURES[measure].title
        assert layout["xaxis"]["title"]["text"]


def test_dots_show_each_run_and_no_mean_of_one():
    figure = arm_dots(ARMS, "accuracy")
    dots = [trace for trace in figure.data if not trace.uid.endswith(":mean")]
    assert [list(trace.x) for trace in dots] == [[95.0, 96.0], [90.0, 91.0], [85.0]]
    means = [trace for trace in figure.data if trace.uid.endswith(":mean")]
    assert [trace.x[0] for trace in means] == [95.5, 90.5]
    assert means[0].error_x.arrayminus[0] == pytest.approx(ARMS[0].interval("accuracy").half_width)
    assert means[0].error_x.array[0] == 100 - 95.5


def test_a_missing_value_is_said_not_left_blank():
    for draw in (arm_dots, bars):
        assert [(note.y, note.text) for note in draw(ARMS, "adapter_bytes").layout.annotations] == [(0, "none")]
    lost = arms_of([make_run("full", accuracy=np.nan)])
    assert arm_dots(lost, "accuracy").layout.annotations[0].text == "not a number"


def test_bars_are_logarithmic_only_where_sizes_are_far_apart():
    wide, narrow = bars(ARMS, "trainable_parameters"), bars(ARMS, "checkpoint_bytes")
    assert wide.layout.xaxis.type == "log"
    assert "log scale" in wide.layout.xaxis.title.text
    assert 10 ** wide.layout.xaxis.range[0] < 6_248 < 136_074 < 10 ** wide.layout.xaxis.range[1]
    assert narrow.layout.xaxis.type is None
    assert narrow.layout.xaxis.range[0] == 0


def test_an_exported_page_needs_no_network_and_is_always_the_same():
    page = export_html(loss_curves(two_curves()), "e-1-loss")
    assert b'"filename": "e-1-loss"' in page
    addresses = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: addresses.extend(  # type: ignore[method-assign]
        value for name, value in attributes if name in ("src", "href")
    )
    parser.feed(page.decode())
    assert addresses == []
    assert b"LoRA r=4" in page
    assert page == export_html(loss_curves(two_curves()), "e-1-loss")


@given(st.permutations(range(6)))
def test_colours_depend_on_the_arms_and_not_on_their_order(order):
    specs = [
        make_run("full").spec,
        make_run("pretrain").spec,
        *(make_run("lora", rank=rank).spec for rank in (1, 2, 4, 8)),
    ]
    colours = colours_of(specs[i] for i in order)
    assert colours == colours_of(specs)
    assert colours[specs[0].arm] == FULL
    assert colours[specs[1].arm] == NEUTRAL
    assert [colours[spec.arm] for spec in specs[2:]] == list(LORA[:4])


def test_a_subset_drawn_with_the_experiments_colours_keeps_them():
    colours = colours_of(ARMS)
    for draw in (arm_dots, bars):
        figure = draw(ARMS[2:], "accuracy", colours)
        drawn = figure.data[0].marker.color
        assert (drawn if isinstance(drawn, str) else drawn[0]) == colours[ARMS[2].key] == LORA[1]


def test_arms_and_their_specs_get_the_same_colours_all_different():
    runs = [make_run("lora", rank=rank) for rank in range(1, 19)]
    runs += [make_run("full", optim={"learning_rate": rate}) for rate in (0.001, 0.002, 0.003)]
    colours = colours_of(arms_of(runs))
    assert colours == colours_of(run.spec for run in runs)
    assert len(set(colours.values())) == len(runs)


def test_the_colours_of_the_first_arms_stand_out_on_white_and_on_near_black():
    def luminance(colour: str) -> float:
        # Relative luminance and the contrast of 3:1 for graphics: WCAG 2.2, SC 1.4.11.
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for colour in (FULL, NEUTRAL, *LORA[:3]):
        for background in ("#FFFFFF", "#0E1117"):
            low, high = sorted((luminance(colour), luminance(background)))
            assert (high + 0.05) / (low + 0.05) >= 3
    assert max(LORA, key=luminance) == LORA[-1]
