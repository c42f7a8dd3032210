from __future__ import annotations

import json
import tomllib
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.methods.method import Role
from core.methods.registry import methods
from core.objectives.registry import CLASSIFICATION
from core.results.arm import arms_of
from core.results.row import rows_of
from core.results.setting import setting_of
from core.study.figures.curves import (
    AXES,
    MAX_POINTS,
    NamedCurve,
    live_losses,
    loss_curves,
    measure_curves,
    smooth,
    thin,
)
from core.study.figures.intervals import arm_dots
from core.study.figures.palette import (
    CONTROLS,
    FULL,
    NEUTRAL,
    RANKS,
    colour_of,
    colours_of,
    rank_colour,
    shade_of,
)
from core.study.figures.style import LINE_HEIGHT, MAX_LINE, export_html, layout_of, subtitle_lines
from tests.study.samples import make_arm_runs, make_curve, make_run
from tests.study.shown import contrast, linear, luminance, parts_of, read, themed

CONFIG = Path(__file__).parents[2] / ".streamlit" / "config.toml"
LOSSES = arrays(
    np.float64, st.integers(0, 400), elements=st.floats(-10, 10) | st.sampled_from([np.nan, np.inf, -np.inf])
)
ARMS = arms_of(
    rows_of(
        make_arm_runs("full", [95.0, 96.0])
        + make_arm_runs("lora", [90.0, 91.0])
        + make_arm_runs("lora", [85.0], rank=8)
    )
)


def named(loss, run: str = "a", label: str = "Full", **curve) -> NamedCurve:
    return NamedCurve(run, label, FULL, make_curve(loss, **curve), run)


def two_curves() -> list[NamedCurve]:
    falling = np.linspace(2, 0.1, 50)
    return [named(falling, "a"), named(falling, "b"), named(falling, "c", "LoRA r=4")]


@given(LOSSES, st.integers(7, 60))
def test_thinning_keeps_a_bounded_ordered_subset_with_ends_and_extremes_and_draws_no_line_across_a_gap(y, most):
    kept = thin(y, most)
    assert len(kept) == len(y) if len(y) <= most else 2 <= len(kept) <= most
    assert (np.diff(kept) > 0).all()
    if len(y):
        assert (kept[0], kept[-1]) == (0, len(y) - 1)
    finite = y[np.isfinite(y)]
    if len(finite):
        shown = y[kept][np.isfinite(y[kept])]
        assert (shown.min(), shown.max()) == (finite.min(), finite.max())
    for left, right in pairwise(kept):
        if np.isfinite(y[[left, right]]).all():
            assert np.isfinite(y[left:right]).all()


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


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("smoothing", [0.0, 0.9])
@pytest.mark.parametrize("log", [False, True])
def test_a_loss_figure_has_the_traces_of_each_run_and_one_legend_entry_a_label(axis, smoothing, log):
    figure = loss_curves(two_curves(), axis, smoothing, log)
    assert len(figure.data) == 3 * (3 if smoothing else 2)
    assert [trace.name for trace in figure.data if trace.showlegend] == ["Full", "LoRA r=4"]
    assert len({trace.uid for trace in figure.data}) == len(figure.data)
    assert {trace.line.dash for trace in figure.data if trace.uid.endswith("validation_loss")} == {"dash"}
    assert all(trace.line.dash is None for trace in figure.data if trace.uid.endswith(("raw", "training")))
    assert figure.layout.xaxis.title.text == AXES[axis]
    assert figure.layout.yaxis.type == ("log" if log else "linear")


def test_axes_agree_with_each_other():
    by = {axis: {t.uid: t for t in loss_curves([named(np.ones(50))], axis, 0.0).data} for axis in AXES}
    # Fifty steps in two epochs: the second one ends at step 50.
    for axis, last in (("step", 50), ("epoch", 2.0)):
        assert by[axis]["a:training"].x[-1] == last == by[axis]["a:validation_loss"].x[-1]
    assert by["seconds"]["a:training"].x[-1] == pytest.approx(0.5)


def test_the_first_epoch_is_placed_by_the_plan_and_not_guessed():
    curve = make_curve(np.ones(10), epochs=0)
    with_plan = loss_curves([NamedCurve("a", "Full", FULL, curve, "a", steps_per_epoch=20)], "epoch", 0.0)
    assert with_plan.data[0].x[-1] == 0.5
    without = loss_curves([NamedCurve("a", "Full", FULL, curve, "a")], "epoch", 0.0)
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
    live = live_losses(named(loss))
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
    json.dumps(live_losses(curves[0]), allow_nan=False)
    for axis in AXES:
        loss_curves(curves, axis).to_json()
        measure_curves(curves, axis, False, CLASSIFICATION).to_json()


def test_live_data_is_the_figure_in_plain_json():
    (curve, *_) = two_curves()
    live = json.loads(json.dumps(live_losses(curve), allow_nan=False))
    figure = loss_curves([curve])
    assert [trace["uid"] for trace in live["data"]] == [trace.uid for trace in figure.data]
    for plain, trace in zip(live["data"], figure.data, strict=True):
        np.testing.assert_allclose(plain["x"], trace.x, rtol=1e-4)
        np.testing.assert_allclose(plain["y"], trace.y, rtol=1e-4)
    go.Figure(live["data"], live["layout"])


def test_source_accuracy_has_its_own_panel_only_where_it_was_measured():
    both = measure_curves(two_curves(), "epoch", False, CLASSIFICATION)
    assert len(both.data) == 6
    assert [trace.name for trace in both.data if trace.showlegend] == ["Full", "LoRA r=4"]
    assert [trace.yaxis for trace in both.data] == [None] * 3 + ["y2"] * 3
    assert {trace.line.dash for trace in both.data[3:]} == {"dot"}
    alone = measure_curves([named(np.ones(50), source=False)], "epoch", False, CLASSIFICATION)
    assert len(alone.data) == 1
    axes = (alone.layout.yaxis, both.layout.yaxis, both.layout.yaxis2)
    assert {axis.autorangeoptions.clipmax for axis in axes} == {100.0}
    assert len(measure_curves(two_curves(), "epoch", True, CLASSIFICATION).data) == 3


def test_rows_show_each_run_and_no_mean_of_one_and_colour_no_text():
    figure = arm_dots(ARMS, colours_of(ARMS))
    assert themed(figure)["title"]["text"] == "Accuracy on the target"
    means = [trace for trace in figure.data if trace.marker.symbol == "diamond"]
    assert [list(trace.x) for trace in figure.data if trace not in means] == [[95.0, 96.0], [90.0, 91.0], [85.0]]
    assert [trace.x[0] for trace in means] == [95.5, 90.5]
    assert means[0].error_x.arrayminus[0] == pytest.approx(ARMS[0].interval("accuracy").half_width)
    assert means[0].error_x.array[0] == 100 - 95.5


def test_a_missing_value_is_said_not_left_blank():
    lost = arms_of(rows_of([make_run("full", accuracy=np.nan)]))
    assert arm_dots(lost, colours_of(lost)).layout.annotations[0].text == "not a number"


@given(st.lists(st.text("ab", max_size=80), max_size=6).map("; ".join))
def test_a_subtitle_keeps_its_words_in_lines_that_fit_a_phone_and_in_room_of_its_own(subtitle):
    lines = subtitle_lines(subtitle)
    assert " ".join(lines) == subtitle
    assert all(len(line) <= MAX_LINE + 1 or "; " not in line for line in lines)
    one, wrapped = layout_of("Title", "subtitle", "x", "y"), layout_of("Title", subtitle, "x", "y")
    if subtitle:
        more = LINE_HEIGHT * (len(lines) - 1)
        assert wrapped["height"] - one["height"] == wrapped["margin"]["t"] - one["margin"]["t"] == more


def test_an_exported_page_needs_no_network_and_is_always_the_same():
    page = export_html(loss_curves(two_curves()), "e-1-loss")
    assert b'"filename": "e-1-loss"' in page
    assert not [attributes for _, attributes in read(page.decode()).elements if {"src", "href"} & set(attributes)]
    assert b"LoRA r=4" in page
    assert page == export_html(loss_curves(two_curves()), "e-1-loss")


SPECS = [
    make_run("full").spec,
    make_run("pretrain").spec,
    *(make_run("full", spec={"method": control}).spec for control in methods(Role.CONTROL)),
    *(make_run("lora", rank=rank).spec for rank in (1, 2, 4, 8, 16, 32, 64, 100, 512)),
]


@given(st.sets(st.integers(0, len(SPECS) - 1)), st.sampled_from([0.0001, 0.005, 0.3]))
def test_a_method_and_rank_has_one_colour_whatever_is_beside_it_and_however_it_was_tuned(places, rate):
    for place in places:
        spec = SPECS[place]
        tuned = spec.but(optim=spec.optim.but(learning_rate=rate))
        beside = colours_of([*(SPECS[other] for other in places), tuned])
        assert beside[spec.arm] == beside[tuned.arm] == colours_of([spec])[spec.arm] == colour_of(setting_of(spec))


def test_arms_and_their_specs_get_the_same_colours_all_different():
    runs = [make_run("lora", rank=rank) for rank in range(1, 65)]
    runs += [make_run("full"), make_run("pretrain")]
    colours = colours_of(arms_of(rows_of(runs)))
    assert colours == colours_of(run.spec for run in runs)
    assert len(set(colours.values())) == len(runs)


def test_a_subset_keeps_its_colours():
    assert arm_dots(ARMS[2:], colours_of(ARMS)).data[0].marker.color == RANKS[8]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.label)
def test_shades_tell_learning_rates_apart_and_appear_only_where_there_are_several(spec):
    tried = [spec.but(optim=spec.optim.but(learning_rate=rate)) for rate in (0.0001, 0.001, 0.01, 0.1)]
    shades = colours_of(tried, by_rate=True)
    assert [shades[one.arm] for one in tried] == [shade_of(setting_of(one)) for one in tried]
    light = [luminance(parts_of(shade)) for shade in shades.values()]
    assert light == sorted(light)
    assert len(set(shades.values())) == len(tried)
    assert colours_of(tried[:1], by_rate=True) == colours_of(tried[:1])


def test_colours_and_shades_have_a_contrast_of_3_with_both_pages():
    specs = [spec.but(optim=spec.optim.but(learning_rate=rate)) for spec in SPECS for rate in (1e-6, 0.001, 0.01, 1.0)]
    settings = [setting_of(spec) for spec in specs]
    colours = {NEUTRAL, *map(colour_of, settings), *map(shade_of, settings), *map(rank_colour, range(1, 1025))}
    theme = tomllib.loads(CONFIG.read_text())["theme"]
    for background in (theme["light"]["backgroundColor"], theme["dark"]["backgroundColor"]):
        for colour in colours:
            assert contrast(parts_of(colour), parts_of(background)) >= 3, (colour, background)


def test_a_higher_rank_is_darker():
    light = [luminance(parts_of(rank_colour(rank))) for rank in (1, 2, 4, 8, 16, 32, 64)]
    assert light == sorted(light, reverse=True)


SIGHTS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Linear red, green and blue as seen. Source: Machado, Oliveira and Fernandes (2009), severity 1."""


def distance(one: str, other: str, sight: str = "normal") -> float:
    """Distance in Oklab, times 100; two similar colours begin to look different at about 2. Source: Ottosson (2020)."""
    to_cone = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    seen = [np.clip(np.asarray(SIGHTS[sight]) @ linear(parts_of(colour)), 0, 1) for colour in (one, other)]
    first, second = (np.asarray(to_lab) @ np.cbrt(np.asarray(to_cone) @ light) for light in seen)
    return 100 * float(np.linalg.norm(first - second))


@pytest.mark.parametrize("sight", SIGHTS)
def test_ranks_full_and_controls_can_be_told_apart(sight):
    ranks = [rank_colour(rank) for rank in (1, 2, 4, 8, 16, 32, 64)]
    others = [FULL, *CONTROLS]
    close, apart = {}, {}
    for (i, one), (j, other) in combinations(enumerate(ranks), 2):
        (close if j == i + 1 else apart)[one, other] = distance(one, other, sight)
    full = min(distance(FULL, rank, sight) for rank in ranks)
    controls = min(distance(*pair, sight) for pair in combinations([*others[1:], NEUTRAL], 2))
    both = min(distance(one, other, sight) for one in ranks for other in others[1:])
    assert min(close.values()) > (6 if sight == "normal" else 3)
    assert min(apart.values()) > 6
    assert full > 8
    if sight == "normal":  # otherwise controls are told by their dots and squares
        assert min(controls, both) > 8
