"""Dropout is on and BatchNorm moves while a network trains, and neither while it is evaluated."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from core.adapter.certificate import logits_of
from core.data.examples import Task
from core.methods.adapted import base_copy
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.networks.forward import evaluating, start_training
from core.run_spec import OptimSpec
from core.study.weights.scores import Evaluator, Part
from core.training.autograd import AutogradStepper
from core.training.evaluation import evaluate, evaluate_both
from core.training.loop import train
from tests.methods.samples import weights
from tests.training.conftest import equal, reported

PLAIN, FAST = OptimSpec.of(learning_rate=0.01), OptimSpec.of(learning_rate=0.05)


def network(adapted: bool = False, affine: bool = True) -> nn.Module:
    """Dropout and BatchNorm between two linear layers; the second BatchNorm may have no parameters."""
    torch.manual_seed(3)
    norms = nn.BatchNorm1d(16), nn.BatchNorm1d(10, affine=affine)
    model = nn.Sequential(nn.Linear(784, 16), norms[0], nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10), norms[1])
    return add_lora(model, LoRASpec(rank=2)) if adapted else model


EVALUATIONS: dict[str, Callable[[nn.Module, Task], object]] = {
    "evaluate": lambda model, task: evaluate(model, task.test, task.classes),
    "evaluate_both": lambda model, task: evaluate_both(model, task, task, "test"),
    "stepper": lambda model, task: AutogradStepper(model, PLAIN, task, source=task).evaluate(0, "test"),
    "evaluator": lambda model, task: Evaluator(Part(task.test, task.classes), None).of_networks([model]).target[0],
    "certificate": lambda model, task: logits_of(model, {"pixels": task.test.all_pixels()}).sum().item(),
}


@pytest.mark.parametrize("how", EVALUATIONS)
@pytest.mark.parametrize("training", [True, False])
def test_evaluating_is_deterministic_changes_nothing_and_restores_every_modules_mode(task, how, training) -> None:
    model = network().train(training)
    model[3].train(not training)
    before, modes = weights(model), [module.training for module in model.modules()]
    one, other = (EVALUATIONS[how](model, task) for _ in range(2))
    assert one == other == EVALUATIONS[how](copy.deepcopy(model).eval(), task)
    assert weights(model) == before
    assert [module.training for module in model.modules()] == modes


def test_the_mode_comes_back_after_an_error() -> None:
    model = network()
    with pytest.raises(RuntimeError), evaluating(model):
        model(torch.zeros(1, 3))
    assert all(module.training for module in model.modules())


def losses(stepper: AutogradStepper, optim: OptimSpec) -> np.ndarray:
    return reported(event for _, event in train(stepper, [optim]))


def test_training_has_dropout_on_and_moves_the_statistics_whatever_mode_the_network_came_in(task: Task) -> None:
    model, still = network().eval(), network().eval()
    still[3].p = 0.0
    steppers = [AutogradStepper(each, PLAIN, task, seed=5) for each in (model, still)]
    optim = OptimSpec.of(epochs=2, batch_size=100)
    with_dropout, without = (losses(stepper, optim) for stepper in steppers)
    assert not np.array_equal(with_dropout, without)
    assert model[1].running_mean.abs().sum() > 0
    assert model[1].num_batches_tracked == len(with_dropout)
    again, other = (losses(AutogradStepper(network(), PLAIN, task, seed=seed), optim) for seed in (5, 6))
    assert np.array_equal(again, with_dropout)
    assert not np.array_equal(other, with_dropout)


@pytest.mark.parametrize("affine", [True, False])
def test_the_statistics_of_a_frozen_base_stay_while_its_adapters_train(task: Task, affine: bool) -> None:
    model = network(adapted=True, affine=affine)
    base, before = weights(base_copy(model)), weights(model)
    losses(AutogradStepper(model, PLAIN, task), OptimSpec.of(epochs=1, batch_size=100))
    assert weights(base_copy(model)) == base
    assert weights(model) != before
    assert model[3].training


def test_the_statistics_of_a_layer_that_is_trained_move_though_others_are_frozen() -> None:
    model = network(adapted=True)
    model[1].bias.requires_grad = True
    start_training(model)
    assert model[1].training
    assert not model[5].training


def test_what_was_measured_or_evaluated_in_between_changes_nothing(task: Task) -> None:
    rows = torch.arange(1000).view(1, 10, 100)
    plain, disturbed = (AutogradStepper(model, PLAIN, task) for model in (network(), network()))
    expected = plain.advance(rows)
    state = torch.get_rng_state()
    disturbed.rehearse(rows)
    assert torch.equal(torch.get_rng_state(), state)
    for step in range(10):
        assert torch.equal(disturbed.advance(rows[:, step : step + 1])[0], expected[step])
        assert disturbed.evaluate(0) == disturbed.evaluate(0)
    assert equal(plain.trained(0), disturbed.trained(0))


def test_restoring_trained_tensors_restores_the_statistics(task: Task) -> None:
    stepper = AutogradStepper(network(), PLAIN, task)
    kept, before, expected = stepper.trained(0), weights(stepper.network), stepper.evaluate(0)
    stepper.advance(torch.arange(200).view(1, 2, 100))
    assert stepper.evaluate(0) != expected
    stepper.restore(0, kept)
    assert stepper.evaluate(0) == expected
    assert weights(stepper.network) == before
