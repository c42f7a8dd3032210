from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from core.lab import Lab
from core.methods.roles import Layers
from core.objectives.classification import ClassificationSpec
from core.settings import Settings
from core.study.arms.arm import Arm, arms_of
from core.study.figures.palette import NEUTRAL
from core.study.weights.change import Changes, layer_shapes
from core.study.weights.directions import FACTORS, ScalingCheck
from core.study.weights.figures import (
    NamedSpectrum,
    TrainedRank,
    energy_held,
    likeness_bars,
    scores_of_cuts,
    scores_of_scaling,
    scores_over_strength,
    similarity_map,
    singular_values,
)
from core.study.weights.layer_map import MAP_MEASURES, layer_map, map_numbers, map_sentence
from core.study.weights.rank import cut_curves
from core.study.weights.scores import Scores
from core.study.weights.spectrum import Spectrum
from core.study.weights.strength import strength_curve, switches
from core.study.weights.subspace import Intruders, amplification
from core.study.weights.tables import (
    amplification_sentence,
    amplification_text,
    combinations_text,
    contributions_text,
    layer_text,
    mean_text,
    spectrum_numbers,
    spectrum_text,
)
from tests.study.changes import PATHS, evaluator_of, full_change, lora_change, spectra_of
from tests.study.samples import make_arm_runs, make_run
from tests.study.transformers_changed import tiny_spec

RED, BLUE = "#D55E00", "#0072B2"


def drawn(figure, name: str):
    return next(trace for trace in figure.data if trace.name == name)


def named(values: list[float], label: str = "LoRA r=2", chosen: bool = True, seed: int = 0) -> NamedSpectrum:
    return NamedSpectrum(label, RED, seed, Spectrum(np.array(values), 1.0), chosen)


def test_values_of_zero_are_left_out_of_a_logarithmic_figure():
    figure = singular_values([named([3.0, 2.0, 0.0, 0.0])], np.array([5.0, 4.0, 3.0, 2.0]))
    line = drawn(figure, "LoRA r=2")
    assert line.y[:2].tolist() == [3.0, 2.0]
    assert np.isnan(line.y[2:]).all()
    assert (figure.layout.yaxis.type, figure.layout.xaxis.type) == ("log", "log")
    assert drawn(figure, "W before training").line.color == NEUTRAL


def test_an_arm_stands_in_the_legend_once_and_its_other_seeds_beneath_in_one_line_with_gaps():
    others = [named([2.5, 2.0], chosen=False, seed=seed) for seed in (1, 2)]
    figure = singular_values([others[0], named([3.0, 2.0]), others[1]], np.ones(2))
    lines = [trace for trace in figure.data if trace.name == "LoRA r=2"]
    assert [line.showlegend for line in lines] == [False, True]
    assert lines[0].opacity < lines[1].opacity
    np.testing.assert_array_equal(lines[0].y, [2.5, 2.0, np.nan, 2.5, 2.0])
    assert (lines[0].x[[0, 1, 3, 4]].tolist(), lines[0].customdata[[0, 4]].tolist()) == ([1, 2, 1, 2], [1, 2])


def test_energy_is_drawn_in_percent_with_the_share_marked():
    figure = energy_held([named([3.0, 4.0][::-1])], 0.9)
    assert drawn(figure, "LoRA r=2").y == pytest.approx([64, 100])
    assert figure.layout.shapes[0].y0 == 90


@pytest.mark.parametrize("source", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_cuts_are_drawn_beside_what_lora_trained(source, masked):
    change = full_change()
    evaluator = evaluator_of(change.tuned, source=source)
    (curve,) = cut_curves(change, [evaluator])
    trained = TrainedRank("LoRA r=2", RED, 2, 0, evaluator.of_networks([lora_change(rank=2).plain]))
    figure = scores_of_cuts([curve, curve], BLUE, [trained], 4, masked)
    cut = drawn(figure, "Full, cut to rank r")
    assert cut.x.tolist() == [1, 2, 4, 8, 12]
    assert cut.y == pytest.approx(curve.scores.target)
    assert drawn(figure, "LoRA r=2").x.tolist() == [2]
    assert ("yaxis2" in figure.layout) == source
    if source:
        line = next(trace for trace in figure.data if trace.yaxis == "y2" and trace.name == "Full, cut to rank r")
        assert line.y == pytest.approx(curve.scores.line("source", masked))
    assert figure.layout.shapes[-1].x0 == 4


def test_a_similarity_map_has_a_fixed_scale_and_the_first_direction_on_top():
    figure = similarity_map(np.full((2, 3), 0.4), "φ", "s", "a", "b")
    (trace,) = figure.data
    assert (trace.zmin, trace.zmax) == (0, 1)
    assert (trace.y.tolist(), trace.x.tolist()) == ([1, 2], [1, 2, 3])
    assert figure.layout.yaxis.autorange == "reversed"


@pytest.mark.parametrize(("source", "masked", "lines"), [(True, True, 4), (True, False, 2), (False, True, 2)])
def test_the_chosen_strength_is_marked_on_every_line(source, masked, lines):
    change = lora_change(rank=2)
    curve = strength_curve(change, evaluator_of(change.plain, source=source))
    figure = scores_over_strength(curve, 2.0, RED, masked)
    dots = [trace for trace in figure.data if trace.mode == "markers"]
    assert len(dots) == lines == len(figure.data) / 2
    assert all(dot.x.tolist() == [2.0] for dot in dots)
    assert dots[0].y[0] == curve.scores.target[20]
    assert [shape.x0 for shape in figure.layout.shapes] == [1.0, 2.0]


def test_intruders_have_the_arms_colour_and_the_others_none():
    figure = likeness_bars(Intruders(np.array([0.9, 0.2]), 0.5), RED)
    assert list(figure.data[0].marker.color) == [NEUTRAL, RED]
    assert figure.layout.shapes[0].y0 == 0.5


def test_scaling_is_drawn_for_intruders_and_control():
    values = np.linspace(50, 90, len(FACTORS))
    scores = Scores(values, values, values - 5, values - 3)
    figure = scores_of_scaling(ScalingCheck(np.array(FACTORS), scores, scores), RED, masked=True)
    names = [f"{name}, {on}" for name in ("Intruders", "Other directions") for on in ("target", "source")]
    assert [trace.name for trace in figure.data] == names
    assert drawn(figure, "Intruders, source").y == pytest.approx(values - 3)
    alone = Scores(values, values, None, None)
    assert len(scores_of_scaling(ScalingCheck(np.array(FACTORS), alone, alone), RED, True).data) == 2


def test_every_figure_is_plain_json():
    change = full_change()
    evaluator = evaluator_of(change.tuned)
    figures = [
        singular_values([named([1.0, 0.0])], np.ones(2)),
        scores_of_cuts(cut_curves(change, [evaluator]), BLUE, [], 1, False),
        scores_over_strength(strength_curve(change, evaluator), 0.0, BLUE, True),
    ]
    for figure in figures:
        assert json.loads(figure.to_json())["data"]


def arms_and_spectra() -> tuple[list[Arm], dict[str, dict[str, Spectrum]]]:
    arms = arms_of([*make_arm_runs("full", [90.0, 91.0]), *make_arm_runs("lora", [88.0], rank=3)])
    changes = [full_change(0), full_change(1), lora_change(rank=3)]
    runs = [run for arm in arms for run in arm.runs]
    return arms, {run.id: spectra_of(change) for run, change in zip(runs, changes, strict=True)}


def test_the_table_of_spectra_has_a_row_a_layer_and_arm():
    arms, spectra = arms_and_spectra()
    table = spectrum_text(arms, spectra, 0.8)
    assert table["Layer"].tolist() == [path for path in PATHS for _ in arms]
    assert table["Setting"].tolist() == ["Full", "LoRA r=3"] * 3
    assert table["Largest possible"].tolist() == ["12", "12", "12", "12", "5", "5"]
    lora = table[table["Setting"] == "LoRA r=3"]
    for path, text in zip(lora["Layer"], lora["Rank for 80 %"], strict=True):
        assert text == f"{spectra[arms[1].runs[0].id][path].rank_holding(0.8)}.0"


def test_the_numbers_to_download_have_a_row_a_run_with_every_singular_value():
    arms, spectra = arms_and_spectra()
    numbers = spectrum_numbers(arms, spectra)
    assert len(numbers) == 9
    row = numbers[(numbers["Layer"] == "layers.2") & (numbers["Setting"] == "LoRA r=3")].iloc[0]
    assert row["Singular values above zero"] == 3
    assert row["σ1"] == spectra[row["Run"]]["layers.2"].values[0]
    assert row["σ4"] == 0


def test_the_contribution_of_a_layer_is_what_is_lost_without_it():
    change = full_change()
    found = switches(change, evaluator_of(change.tuned))
    contributions, every = contributions_text(found, True), combinations_text(found, True, 3)
    assert contributions["Layer"].tolist() == list(PATHS)
    without = found.scores.target[found.without("layers.2")]
    assert contributions["Contribution"][1] == f"+{100 - without:.2f} points"
    assert len(every) == 8
    assert every["Shown"].tolist() == ["", "", "", "●", "", "", "", ""]
    assert every.loc[0, "Target"] == "100.00 %"
    assert every.loc[7, "layers.0"] == "off"
    alone = switches(change, evaluator_of(change.tuned, source=False))
    assert "Source" not in combinations_text(alone, True)
    assert list(combinations_text(found, False))[-2:] == ["Target", "Source"]
    assert list(contributions_text(found, False))[-1] == "Source, only this layer"
    assert list(contributions_text(alone, False))[-1] == "Target, only this layer"


def test_the_amplification_table_has_the_factor_and_that_of_a_random_delta():
    weight = np.diag([4.0, 2.0, 1.0])
    table = amplification_text([("LoRA r=1", amplification(2 * weight, weight, 1))])
    assert table["Amplification"].tolist() == ["2.00 ×"]
    assert table["‖UᵀWV‖ along W"].tolist() == ["4.00"]
    strong, weak = (amplification(np.diag(entries), weight, 1) for entries in ([8.0, 0, 0], [0, 0, 8.0]))
    assert "2.00 times as large as W in the same directions" in amplification_sentence("Full", "a", strong)
    assert "8.00 times as large" in amplification_sentence("Full", "a", weak)
    assert [("weaker" in amplification_sentence("Full", "a", each)) for each in (strong, weak)] == [False, True]
    assert amplification_sentence("Full", "a", amplification(0 * weight, weight, 1)) == ""


def test_words_and_means():
    assert layer_text("layers.0", (128, 784)) == "layers.0 · 784 → 128"
    assert mean_text([3.0, 3.0, 3.0], 1) == "3.0"
    assert mean_text([1.0, 2.0, 3.0], 1) == "2.0 ± 2.5"
    assert mean_text([2.0], 2) == "2.00"
    assert mean_text([], 2) == "–"


def test_figures_and_tables_by_a_loss_have_its_titles_numbers_and_direction():
    change = full_change()
    evaluator = replace(evaluator_of(change.tuned), objective=ClassificationSpec.of(measure="loss"))
    curve, (cuts,) = strength_curve(change, evaluator), cut_curves(change, [evaluator])
    figure = scores_over_strength(curve, 2.0, RED, False)
    assert figure.layout.title.text == "Loss against the strength of ΔW"
    assert figure.layout.yaxis.title.text == "Loss"
    assert figure.layout.yaxis.range is None
    assert "%{y:.4g} at" in figure.data[0].hovertemplate
    assert scores_of_cuts([cuts], BLUE, [], 4, False).layout.yaxis2.title.text == "Source"
    found = switches(change, evaluator)
    without, trained = (found.scores.target[place] for place in (found.without("layers.2"), found.everything))
    told = contributions_text(found, False).set_index("Layer").loc["layers.2"]
    assert told["Target without it"] == f"{without:.4f}"
    assert told["Contribution"].replace("−", "-") == f"{without - trained:+.4f}"


SHAPES = layer_shapes(tiny_spec("bert"))
LAYERS = Layers(tuple(SHAPES))
QUERY = "bert.encoder.layer.1.attention.self.query"


def test_each_layer_has_a_tile_and_only_changed_ones_have_a_value():
    values = {path: float(place) for place, path in enumerate(SHAPES) if "attention" in path}
    heat = layer_map(LAYERS, SHAPES, MAP_MEASURES["rank"], values, QUERY, "red")
    tiles = {tile.key: tile for tile in heat.tiles}
    assert set(tiles) == set(SHAPES)
    assert {path for path, tile in tiles.items() if tile.colour} == set(values)
    assert [path for path, tile in tiles.items() if tile.frame] == [QUERY]
    tile = tiles[QUERY]
    assert (heat.rows[tile.row], heat.columns[tile.column]) == ("1", "query")
    assert tile.label.startswith("block 1, attention query, 16 → 16: rank ")
    assert tile.text == f"{values[QUERY]:.0f}"
    assert "did not change it" in tiles["bert.encoder.layer.0.output.dense"].label
    assert sum(width for _, width in heat.groups) == len(heat.columns)
    assert [name for name, _ in heat.groups][:2] == ["Attention", "Feed-forward"]
    # Drawn from the bottom to the top, so that the first block comes first.
    assert list(reversed(heat.rows))[:2] == ["0", "1"]


def test_without_any_change_the_map_is_there_and_empty():
    heat = layer_map(LAYERS, SHAPES, MAP_MEASURES["change"], {}, QUERY, "red")
    assert not any(tile.colour for tile in heat.tiles)
    assert not heat.high
    assert map_sentence(MAP_MEASURES["change"], {}) == ""


def test_the_sentence_names_the_highest_and_the_table_all():
    values = dict.fromkeys(SHAPES, 1.0) | {QUERY: 3.0}
    assert map_sentence(MAP_MEASURES["new"], values).startswith(f"Highest in {QUERY}: 3 of the 10 strongest")
    same = map_sentence(MAP_MEASURES["new"], dict.fromkeys(SHAPES, 0.0))
    assert same == f"The same in all {len(SHAPES)} layers: 0 of the 10 strongest directions are new."
    table = map_numbers(LAYERS, {"Rank": values}).set_index("Layer")
    assert table["Rank"].to_dict() == values
    assert table.loc[QUERY, ["Block", "Role", "Kind"]].tolist() == ["1", "attention", "query"]


@pytest.mark.parametrize(("limit", "reads"), [(10**9, 3), (0, 4)])
def test_changes_are_read_once_within_the_bound_and_the_latest_is_always_kept(tmp_path, limit, reads):
    runs, seen = [make_run("full", seed) for seed in range(3)], []

    def read(lab, run, base):
        seen.append(run.id)
        return full_change(run.spec.seed)

    lab = Lab(Settings(tmp_path))
    changes = Changes(limit, read)
    for run in (*runs, runs[2], runs[0]):
        assert changes.get(lab, run) is changes.get(lab, run)
    lab.close()
    assert len(seen) == reads
