from __future__ import annotations

import copy
import dataclasses
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import LoRAError
from core.lab import Lab
from core.objectives.classification import ClassificationSpec
from core.study.weights.change import WeightChange, read_change, scaled_networks
from core.study.weights.curves import MAX_STRENGTH, StrengthCurve, strength_curve
from core.study.weights.scores import Evaluator, Scores, evaluator_for
from core.training.evaluation import evaluate
from core.training.threads import one_thread
from tests.conftest import BOTH, DIGITS, compared, finish, short
from tests.study.changes import evaluator_of, full_change, inputs, lora_change

CHANGES = [
    lora_change(rank=3, alpha=6.0),
    lora_change(rank=2, scaling="alpha/sqrt(r)"),
    lora_change(rank=2, scaling="alpha"),
    lora_change(rank=2, target_modules=("layers.2",)),
    full_change(),
]


def outputs_at(change: WeightChange, strengths: list[float]) -> list[torch.Tensor]:
    """What the base answers with each multiple of its change."""
    with torch.no_grad():
        return [network(inputs()) for network in scaled_networks(change, strengths)]


@pytest.mark.parametrize("change", CHANGES)
def test_strength_0_is_the_base_bit_for_bit_and_1_the_trained_network(change):
    none, whole = outputs_at(change, [0.0, 1.0])
    with torch.no_grad():
        before, after = change.base(inputs()), change.tuned(inputs())
    assert torch.equal(none, before)
    assert (whole - after).abs().max() <= 1e-5 * after.abs().max()


@pytest.mark.parametrize("scaling", ["alpha/r", "alpha", "alpha/sqrt(r)"])
@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_a_strength_is_what_that_multiple_of_alpha_gives(scaling, factor):
    """The adapter with another alpha, computed by its own forward pass, is the oracle."""
    change = lora_change(rank=2, alpha=3.0, scaling=scaling)
    other = lora_change(rank=2, alpha=3.0 * factor, scaling=scaling)
    (found,) = outputs_at(change, [factor])
    with torch.no_grad():
        expected = other.tuned(inputs())
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_what_changed_beside_linear_layers_cannot_be_scaled_by_them():
    base = nn.Sequential(OrderedDict(norm=nn.BatchNorm1d(20), output=nn.Linear(20, 5)))
    tuned = copy.deepcopy(base)
    tuned(inputs())
    change = WeightChange(base, tuned)
    assert change.changed_elsewhere == ("norm.running_mean", "norm.running_var", "norm.num_batches_tracked")
    with pytest.raises(LoRAError, match=r"^Training also changed what is not linear in this network \(norm\), so"):
        next(scaled_networks(change, [1.0]))
    assert not CHANGES[0].changed_elsewhere
    assert not CHANGES[0].elsewhere_text


def test_the_curve_starts_at_the_base_and_passes_the_trained_network():
    change = lora_change(rank=3)
    evaluator = evaluator_of(change.plain)
    curve = strength_curve(change, evaluator)
    ends = evaluator.of_networks([change.base, change.plain])
    at = [curve.place(0.0), curve.place(1.0)]
    assert curve.strengths[at].tolist() == [0.0, 1.0]
    assert curve.strengths[-1] == MAX_STRENGTH
    for on, values in curve.scores.lines.items():
        assert values[at].tolist() == ends.lines[on].tolist()
    # The labels are those of the trained network, so nothing is better than it.
    assert curve.scores.target[at[1]] == 100
    assert curve.best == 1.0


def test_the_best_strength_is_the_nearest_to_the_trained_one_among_equals():
    curve = strength_curve(lora_change(rank=2), evaluator_of(lora_change(rank=2).plain))
    scores = curve.scores.at(*range(len(curve.strengths)))
    scores.target[:] = 50.0
    scores.target[[2, 12, 30]] = 80.0
    assert StrengthCurve(curve.strengths, scores).best == pytest.approx(1.2)
    assert np.diff(curve.strengths) == pytest.approx(np.full(len(curve.strengths) - 1, 0.1))


def test_by_a_loss_the_best_strength_is_the_lowest_and_what_is_no_number_is_the_worst():
    change, by_loss = lora_change(rank=2), ClassificationSpec.of(measure="loss")
    evaluator = dataclasses.replace(evaluator_of(change.plain), objective=by_loss)
    curve = strength_curve(change, evaluator)
    part = evaluator.target
    found = evaluate(change.plain, part.examples, part.classes, objective=by_loss)
    assert curve.scores.target[curve.place(1.0)] == pytest.approx(found.loss)
    assert list(curve.scores.lines) == ["target", "source"]
    scores = curve.scores.at(*range(len(curve.strengths)))
    assert scores.measure == by_loss.primary
    scores.target[:] = 0.5
    scores.target[[2, 12, 30]] = 0.1, 0.1, np.nan
    assert scores.oriented[[0, 2, 30]].tolist() == [-0.5, -0.1, -np.inf]
    assert StrengthCurve(curve.strengths, scores).best == pytest.approx(1.2)


def test_by_macro_f1_scores_are_of_that_measure():
    change, judge_by = full_change(), ClassificationSpec.of(measure="macro_f1")
    evaluator = dataclasses.replace(evaluator_of(change.plain), objective=judge_by)
    found = evaluator.of_networks([change.base, change.plain])
    part = evaluator.source
    expected = [evaluate(each, part.examples, part.classes).measures for each in (change.base, change.plain)]
    assert found.source.tolist() == pytest.approx([each["macro_f1"] for each in expected])
    assert Scores.joined([found, found]).objective == judge_by


def test_without_a_source_apart_from_the_target_there_are_no_source_scores():
    change = lora_change(rank=2)
    evaluator = evaluator_of(change.plain, source=False)
    found = evaluator.of_networks([change.plain])
    assert found.source is None
    assert list(found.lines) == ["target"]


def test_products_stay_on_one_thread_and_the_callers_count_comes_back():
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        with pytest.raises(RuntimeError, match="x"), one_thread():
            raise RuntimeError("x")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_the_exam_of_a_run_gives_the_accuracies_that_stand_in_its_result(lab: Lab):
    experiment = compared(lab, "split", "digits", None, short(rate=0.001), BOTH, seeds=[0])
    for run in finish(lab, *experiment.runs):
        evaluator, change = evaluator_for(lab, run, "test"), read_change(lab, run)
        scores = evaluator.of_networks([change.base, change.plain])
        measures = run.result.measures
        plain = dataclasses.replace(evaluator, is_split=False).of_networks([change.base, change.plain])
        assert evaluator.is_split
        for name, found in (
            ("accuracy", scores.target),
            ("source_accuracy", plain.source),
            ("source_accuracy_masked", scores.source),
        ):
            assert found.tolist() == pytest.approx([measures[f"{name}_before"], measures[name]])
        validation = evaluator_for(lab, run, "validation").of_networks([change.plain])
        assert validation.target[0] == pytest.approx(measures["validation_accuracy"])
        curve = strength_curve(change, evaluator)
        assert curve.scores.target[[0, curve.place(1.0)]] == pytest.approx(scores.target)


def test_a_run_on_its_own_source_has_no_second_part(lab: Lab):
    experiment = compared(lab, "same", "digits", None, short(rate=0.001), BOTH[1:], seeds=[0])
    (run,) = finish(lab, *experiment.runs)
    assert run.spec.task == run.spec.source == DIGITS
    assert isinstance(evaluator_for(lab, run, "test"), Evaluator)
    assert evaluator_for(lab, run, "test").source is None
