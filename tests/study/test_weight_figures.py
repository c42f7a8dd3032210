from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from core.objectives.classification import ClassificationSpec
from core.results.arm import Arm, arms_of
from core.results.row import rows_of
from core.study.figures.palette import NEUTRAL
from core.study.weights.curves import cut_curves, strength_curve
from core.study.weights.figures import (
    NamedSpectrum,
    TrainedRank,
    scores_of_cuts,
    scores_over_strength,
    similarity_map,
    singular_value_figure,
)
from core.study.weights.spectrum import Spectrum, mean_text, spectrum_text
from tests.study.changes import PATHS, evaluator_of, full_change, lora_change, spectra_of
from tests.study.samples import make_arm_runs

RED, BLUE = "#D55E00", "#0072B2"


def drawn(figure, name: str):
    return next(trace for trace in figure.data if trace.name == name)


def named(values: list[float], label: str = "LoRA r=2", chosen: bool = True, seed: int = 0) -> NamedSpectrum:
    return NamedSpectrum(label, RED, seed, Spectrum(np.array(values), 1.0), chosen)


def test_values_of_zero_are_left_out_of_a_logarithmic_figure():
    figure = singular_value_figure([named([3.0, 2.0, 0.0, 0.0])], np.array([5.0, 4.0, 3.0, 2.0]))
    line = drawn(figure, "LoRA r=2")
    assert line.y[:2].tolist() == [3.0, 2.0]
    assert np.isnan(line.y[2:]).all()
    assert (figure.layout.yaxis.type, figure.layout.xaxis.type) == ("log", "log")
    assert drawn(figure, "W before training").line.color == NEUTRAL


def test_an_arm_stands_in_the_legend_once_and_its_other_seeds_beneath_in_one_line_with_gaps():
    others = [named([2.5, 2.0], chosen=False, seed=seed) for seed in (1, 2)]
    figure = singular_value_figure([others[0], named([3.0, 2.0]), others[1]], np.ones(2))
    lines = [trace for trace in figure.data if trace.name == "LoRA r=2"]
    assert [line.showlegend for line in lines] == [False, True]
    assert lines[0].opacity < lines[1].opacity
    np.testing.assert_array_equal(lines[0].y, [2.5, 2.0, np.nan, 2.5, 2.0])
    assert (lines[0].x[[0, 1, 3, 4]].tolist(), lines[0].customdata[[0, 4]].tolist()) == ([1, 2, 1, 2], [1, 2])


@pytest.mark.parametrize("source", [True, False])
def test_cuts_are_drawn_beside_what_lora_trained(source):
    change = full_change()
    evaluator = evaluator_of(change.tuned, source=source)
    (curve,) = cut_curves(change, [evaluator])
    trained = TrainedRank("LoRA r=2", RED, 2, 0, evaluator.of_networks([lora_change(rank=2).plain]))
    figure = scores_of_cuts([curve, curve], BLUE, [trained], 4)
    cut = drawn(figure, "Full, cut to rank r")
    assert cut.x.tolist() == [1, 2, 4, 8, 12]
    assert cut.y == pytest.approx(curve.scores.target)
    assert drawn(figure, "LoRA r=2").x.tolist() == [2]
    assert ("yaxis2" in figure.layout) == source
    if source:
        line = next(trace for trace in figure.data if trace.yaxis == "y2" and trace.name == "Full, cut to rank r")
        assert line.y == pytest.approx(curve.scores.source)
    assert figure.layout.shapes[-1].x0 == 4


def test_a_similarity_map_has_a_fixed_scale_and_the_first_direction_on_top():
    figure = similarity_map(np.full((2, 3), 0.4), "a", "b")
    (trace,) = figure.data
    assert (trace.zmin, trace.zmax) == (0, 1)
    assert (trace.y.tolist(), trace.x.tolist()) == ([1, 2], [1, 2, 3])
    assert figure.layout.yaxis.autorange == "reversed"


@pytest.mark.parametrize(("source", "lines"), [(True, 2), (False, 1)])
def test_the_chosen_strength_is_marked_on_every_line(source, lines):
    change = lora_change(rank=2)
    curve = strength_curve(change, evaluator_of(change.plain, source=source))
    figure = scores_over_strength(curve, 2.0, RED)
    dots = [trace for trace in figure.data if trace.mode == "markers"]
    assert len(dots) == lines == len(figure.data) / 2
    assert all(dot.x.tolist() == [2.0] for dot in dots)
    assert dots[0].y[0] == curve.scores.target[20]
    assert [shape.x0 for shape in figure.layout.shapes] == [1.0, 2.0]


def test_every_figure_is_plain_json():
    change = full_change()
    evaluator = evaluator_of(change.tuned)
    figures = [
        singular_value_figure([named([1.0, 0.0])], np.ones(2)),
        scores_of_cuts(cut_curves(change, [evaluator]), BLUE, [], 1),
        scores_over_strength(strength_curve(change, evaluator), 0.0, BLUE),
    ]
    for figure in figures:
        assert json.loads(figure.to_json())["data"]


def arms_and_spectra() -> tuple[list[Arm], dict[str, dict[str, Spectrum]]]:
    arms = arms_of(rows_of([*make_arm_runs("full", [90.0, 91.0]), *make_arm_runs("lora", [88.0], rank=3)]))
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


def test_means_have_half_of_their_interval():
    assert mean_text([3.0, 3.0, 3.0], 1) == "3.0"
    assert mean_text([1.0, 2.0, 3.0], 1) == "2.0 ± 2.5"
    assert mean_text([2.0], 2) == "2.00"
    assert mean_text([], 2) == "–"


def test_figures_and_tables_by_a_loss_have_its_titles_numbers_and_direction():
    change = full_change()
    evaluator = replace(evaluator_of(change.tuned), objective=ClassificationSpec.of(measure="loss"))
    curve, (cuts,) = strength_curve(change, evaluator), cut_curves(change, [evaluator])
    figure = scores_over_strength(curve, 2.0, RED)
    assert figure.layout.title.text == "Loss against the strength of ΔW"
    assert figure.layout.yaxis.title.text == "Loss"
    assert figure.layout.yaxis.range is None
    assert "%{y:.4g} at" in figure.data[0].hovertemplate
    assert scores_of_cuts([cuts], BLUE, [], 4).layout.yaxis2.title.text == "Source"
