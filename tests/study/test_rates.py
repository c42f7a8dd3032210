"""A sweep chooses on validation and never on test, counts only what finished, and draws whatever it is given."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SpecError
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.results.arm import Arm
from core.results.choice import best
from core.results.intervals import t_interval
from core.results.row import rows_of
from core.results.setting import setting_of
from core.run_spec import OptimSpec
from core.store.record import Run
from core.study.arms.rates import (
    Grid,
    at_alpha,
    best_adapters,
    chosen,
    is_sweep,
    trained_seconds,
    tried_arms,
)
from core.study.figures.palette import FULL, RANKS, colour_of
from core.study.figures.rates import heat_map, ink_on, lowest_of_interest, rate_curves, size_curve
from tests.study.samples import make_run, within
from tests.study.shown import contrast, themed

GRID = Grid(
    varied={"rank": (8, 1), "alpha": (16.0, 8.0)}, learning_rates=(0.01, 0.001), full_learning_rates=(0.001,), seeds=3
)


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


def test_a_grid_is_every_combination_once_and_full_fine_tuning_first():
    optim, lora = OptimSpec.of(epochs=3), LoRASpec.of(scaling="alpha")
    arms = GRID.arms(optim, lora)
    assert arms[0] == (optim.but(learning_rate=0.001), FullSpec())
    found = [(lora.rank, lora.alpha, optim.learning_rate) for optim, lora in arms[1:] if isinstance(lora, LoRASpec)]
    assert found == [(r, a, rate) for r in (1, 8) for a in (8.0, 16.0) for rate in (0.001, 0.01)]
    assert {optim.epochs for optim, _ in arms} == {3}
    assert {lora.scaling for _, lora in arms if isinstance(lora, LoRASpec)} == {"alpha"}
    assert (GRID.num_arms, GRID.num_runs) == (len(arms), 27)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seeds": 250}, "at most 2,000 runs and this one has 2,250"),
        ({"varied": {"rank": (), "alpha": (8.0,)}}, "at least 4 settings and this one has 1"),
        ({"varied": {"rank": (), "alpha": (8.0,)}, "full_learning_rates": ()}, "this one has 0"),
        ({"varied": {"rank": (1, 1000), "alpha": (8.0,)}}, "Rank must be at most 512"),
        ({"learning_rates": (0.1, 2.0)}, "Learning rate must be at most 1"),
    ],
)
def test_a_grid_that_does_not_hold_gets_a_sentence(changes, sentence):
    with pytest.raises(SpecError, match=sentence):
        replace(GRID, **changes).arms(OptimSpec.of(), LoRASpec.of())


def test_what_differs_in_four_settings_is_a_sweep_and_seeds_are_no_setting():
    runs = [run for arm in ARMS for run in arm.runs]
    assert is_sweep(map(setting_of, (run.spec for run in runs)))
    assert not is_sweep(map(setting_of, (run.spec for arm in ARMS[:3] for run in arm.runs)))
    assert not is_sweep(map(setting_of, (make_run("lora", seed).spec for seed in range(9))))


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
    (tile,) = heat_map(sweep(again)).tiles
    assert "2 of 2 seeds" in tile.label


def test_one_alpha_or_the_best_at_each_place():
    assert [c.spec.method.strength for c in at_alpha(ARMS, 8.0) if c.spec.method.size == 4] == [8.0]
    assert {c.spec.method.strength for c in at_alpha(ARMS, None) if c.spec.method.size == 4} == {16.0}
    for alpha in (8.0, 16.0, None):
        shown = at_alpha(ARMS, alpha)
        places = [(arm.spec.kind, arm.spec.method.size, arm.learning_rate) for arm in shown]
        assert len(places) == len(set(places))
        assert [arm for arm in shown if arm.spec.kind == "full"] == ARMS[:3]


POINTS = st.lists(st.tuples(st.integers(1, 9).map(float), st.integers(0, 9).map(float)), max_size=12)


def test_a_clock_that_is_set_changes_no_duration():
    for started, ended in ((0.0, 10.0), (1e9, 0.0), (0.0, 1e9)):
        run = replace(make_run("lora"), training_seconds=10.0, started=started, ended=ended)
        assert trained_seconds(rows_of([run, replace(run, state="running", training_seconds=4.0, step=50)])) == 14


def test_the_heat_map_has_a_tile_a_cell_with_its_value_and_key():
    heat = heat_map(ARMS, None, chosen(ARMS))
    assert heat.columns == ("Full", "r=1", "r=4")
    assert heat.rows == ("0.0005", "0.001", "0.002", "0.01", "0.1")
    by_key = {arm.key: arm for arm in ARMS}
    assert len({(tile.column, tile.row) for tile in heat.tiles}) == len(heat.tiles) == 9
    for tile in heat.tiles:
        arm = by_key[tile.key]
        assert heat.rows[tile.row] == f"{arm.learning_rate:g}"
        assert heat.columns[tile.column] == (f"r={arm.spec.method.size}" if arm.spec.method.size else "Full")
        assert tile.text == f"{arm.validated.mean:.1f}"
        assert arm.label in tile.label
    assert max(heat.tiles, key=lambda tile: float(tile.text)).colour == heat.scale[-1]
    full, lora = chosen(ARMS)
    assert {tile.key: tile.frame for tile in heat.tiles if tile.frame} == {full.key: FULL, lora.key: RANKS[4]}


def test_a_tile_says_what_waits_and_what_failed():
    part = made(4, 0.01, [90.0, 91.0])
    part[1] = replace(part[1], state="failed", result=None)
    waiting = {0.02: "failed", 0.05: "queued", 0.1: "stopped"}
    heat = heat_map(sweep(part, *(made(4, rate, [90.0], state=state) for rate, state in waiting.items())))
    tiles = {heat.rows[tile.row]: tile for tile in heat.tiles}
    found = {rate: (tile.text, tile.colour is None) for rate, tile in tiles.items()}
    assert found == {"0.01": ("90.0 ✕", False), "0.02": ("✕", True), "0.05": ("", True), "0.1": ("", True)}
    assert "1 of 2 seeds, 1 failed" in tiles["0.01"].label
    assert "no result yet" in tiles["0.05"].label
    assert tiles["0.1"].label.endswith("no result")


def test_numbers_on_tiles_are_read_on_every_colour():
    arms = sweep(*(made(rank, 0.01, [50.0 + rank]) for rank in range(1, 40)))
    for tile in heat_map(arms).tiles:
        channels = [float(part) for part in tile.colour.removeprefix("rgb(").removesuffix(")").split(",")]
        assert contrast(channels, {"black": [0] * 3, "white": [255] * 3}[tile.ink]) >= 4.5
    assert (ink_on("rgb(255, 255, 255)"), ink_on("rgb(0, 0, 0)")) == ("black", "white")


def test_one_setting_that_learnt_nothing_does_not_make_the_others_look_alike():
    assert lowest_of_interest([10.0, 95.0, 96.0, 97.0]) == pytest.approx(95.5 - 4.5)
    assert lowest_of_interest([95.0, 96.0, 97.0]) == 95.0
    assert lowest_of_interest([90.0]) == 90.0
    heat = heat_map(sweep(*(made(4, rate, [v]) for rate, v in ((0.1, 10.0), (0.2, 95.0), (0.3, 96.0), (0.4, 97.0)))))
    assert heat.low.startswith("≤ ")
    assert len({tile.colour for tile in heat.tiles}) == 4


def test_a_low_loss_is_the_good_end_of_the_heat_map_and_a_high_one_is_cut_off():
    losses = {0.1: 9.0, 0.2: 0.5, 0.3: 0.4, 0.4: 0.3}
    runs = [made(4, rate, [90.0], validation_loss=loss, loss=loss)[0] for rate, loss in losses.items()]
    arms = tried_arms(rows_of(within(runs, None, "loss")))
    heat = heat_map(arms)
    tiles = {heat.rows[tile.row]: tile for tile in heat.tiles}
    assert [tiles[rate].text for rate in ("0.1", "0.4")] == ["9.000", "0.300"]
    assert (tiles["0.1"].colour, tiles["0.4"].colour) == (heat.scale[0], heat.scale[-1])
    assert len({tile.colour for tile in heat.tiles}) == 4
    assert (heat.low, heat.high) == ("≥ 0.900", "0.300")
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
    heat_map(arms)
