"""The training loop: same numbers for the same seed, honest events, and a stop whenever asked."""

from __future__ import annotations

import math
from itertools import cycle, islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from core.data.examples import Task
from core.data.task_spec import TaskSpec
from core.networks.perceptron import PerceptronSpec
from core.run_spec import OptimSpec
from core.tasks.tasks import Tasks
from core.training.autograd import AutogradStepper
from core.training.bank.bank import Bank
from core.training.evaluation import evaluate
from core.training.loop import FIRST_STEPS, FLUSH_SECONDS, FLUSH_STEPS, SLOW_SECONDS, steps_at_once, train
from core.training.schedule import evaluations, examples_seen, steps_per_epoch
from core.training.stepper import Diverged, Done, EpochEnd, Event, StepLoss, Stepper, Stopped
from tests.training.conftest import equal, reported
from tests.training.plain import batches_of, plainly

Told = Event | Stopped | Diverged


def stepper_for(task: Task, optim: OptimSpec, seed: int, kind: str, source: Task | None = None) -> Stepper:
    network = PerceptronSpec.of().build(seed)
    if kind == "bank":
        return Bank([network], [optim.learning_rate], [seed], task, source)
    return AutogradStepper(network, optim, task, seed, source)


def events(
    task: Task, optim: OptimSpec, seed: int = 0, source: Task | None = None, kind: str = "autograd"
) -> list[Told]:
    return [event for _, event in train(stepper_for(task, optim, seed, kind, source), [optim])]


@pytest.mark.parametrize("batch_size", [64, 100, 5000])
def test_every_step_is_reported_once_and_in_order(task: Task, batch_size: int) -> None:
    found = events(task, OptimSpec.of(epochs=2, batch_size=batch_size))
    steps = [
        step for e in found if isinstance(e, StepLoss) for step in range(e.first_step, e.first_step + len(e.losses))
    ]
    assert steps == list(range(1, 2 * steps_per_epoch(task.num_train, batch_size) + 1))
    seconds = np.concatenate([event.seconds for event in found if isinstance(event, StepLoss)])
    assert (np.diff(seconds) > 0).all()


def test_epoch_loss_is_the_mean_over_examples_though_the_last_batch_is_smaller(task: Task) -> None:
    optim = OptimSpec.of(epochs=1, batch_size=100)
    assert task.num_train % 100
    found = events(task, optim)
    (end,) = [event for event in found if isinstance(event, EpochEnd)]
    sizes = [100] * (task.num_train // 100) + [task.num_train % 100]
    assert end.train_loss == pytest.approx(float(np.average(reported(found), weights=sizes)), rel=1e-6)


@given(st.integers(1, 50), st.integers(1, 80), st.integers(0, 40))
def test_examples_are_counted_as_they_come(examples: int, batch_size: int, step: int) -> None:
    batches = [min(batch_size, examples - start) for start in range(0, examples, batch_size)]
    assert examples_seen(examples, batch_size, step) == sum(islice(cycle(batches), step))


@pytest.mark.parametrize("kind", ["autograd", "bank"])
def test_the_loop_is_the_textbook_loop(task: Task, kind: str) -> None:
    network, optim = PerceptronSpec.of().build(seed=3), OptimSpec.of(epochs=2, learning_rate=0.002)

    def loss_of(batch: Tensor) -> Tensor:
        return F.cross_entropy(network(task.train.all_pixels()[batch]), task.train.labels[batch])

    expected = plainly(network, optim, loss_of, batches_of(optim, task.num_train, seed=3))
    found = reported(events(task, optim, seed=3, kind=kind))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_same_seed_same_numbers_and_global_randomness_is_left_alone(task: Task) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = reported(events(task, OptimSpec.of(epochs=1), seed=5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert np.array_equal(first, reported(events(task, OptimSpec.of(epochs=1), seed=5)))
    assert not np.array_equal(first, reported(events(task, OptimSpec.of(epochs=1), seed=6)))


@pytest.mark.parametrize("kind", ["autograd", "bank"])
def test_a_diverged_run_ends_at_once_and_names_the_step(task: Task, kind: str) -> None:
    optim = OptimSpec.of(epochs=5)
    stepper = stepper_for(task, optim, 0, kind)
    weight, *rest = stepper.trained(0)
    weight[0, 0] = math.nan
    stepper.restore(0, [weight, *rest])
    (_, first), (_, second) = train(stepper, [optim])
    assert np.isnan(reported([first])).tolist() == [True]
    assert second == Diverged(step=1)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_run_whose_last_update_is_not_finite_has_diverged(task: Task, keep: str) -> None:
    optim = OptimSpec.of(epochs=1, batch_size=8192, keep=keep)
    found = [event for _, event in train(Bank([PerceptronSpec.of().build(0)], [1e30], [0], task), [optim])]
    assert np.isfinite(reported(found)).all()
    assert found[-1] == Diverged(step=1)


def test_a_stop_is_heard_within_the_time_between_reports_and_keeps_the_weights(task: Task) -> None:
    optim = OptimSpec.of(epochs=200)
    stepper = stepper_for(task, optim, 0, "bank")
    reports: list[float] = []
    found = []
    for _, event in train(stepper, [optim], stop=lambda _: len(reports) >= 3):
        found.append(event)
        if isinstance(event, StepLoss):
            reports.append(float(event.seconds[-1]))
    end = found[-1]
    assert end == Stopped(step=len(reported(found)))
    assert len(reports) == 3
    assert equal(stepper.networks[0].parameters(), stepper.trained(0))


@pytest.mark.parametrize("kind", ["autograd", "bank"])
@pytest.mark.parametrize("keep", ["last", "best"])
def test_patience_ends_a_run_that_no_longer_improves_with_the_weights_that_are_kept(
    task: Task, kind: str, keep: str
) -> None:
    optim = OptimSpec.of(epochs=200, patience=2, learning_rate=0.05, keep=keep)
    stepper = stepper_for(task, optim, 0, kind)
    found = [event for _, event in train(stepper, [optim])]
    validation = [event.measures["validation_loss"] for event in found if isinstance(event, EpochEnd)]
    best = int(np.argmin(validation)) + 1
    assert len(validation) == best + 2 < 200
    kept = best if keep == "best" else best + 2
    assert found[-1] == Done(best + 2, kept)
    network = stepper.networks[0] if kind == "bank" else stepper.network
    with torch.no_grad():
        now = evaluate(network, task.validation, task.classes)
    assert now.loss == pytest.approx(validation[kept - 1], rel=1e-5)


def test_later_epochs_are_evaluated_at_growing_intervals_unless_all_are_needed(task: Task) -> None:
    """With the numbers that an evaluation after every epoch finds; each epoch ends with an event either way."""
    optim = OptimSpec.of(epochs=45, learning_rate=0.01, batch_size=512)
    each = optim.but(keep="best")
    own, all_of_them = ([e for e in events(task, o) if isinstance(e, EpochEnd)] for o in (optim, each))
    assert [event.epoch for event in own] == list(range(1, 46))
    evaluated = [event.epoch for event in own if event.measures]
    assert evaluated == [*range(1, 21), *range(22, 41, 2), 42, 45]
    assert len(evaluated) == evaluations(optim)
    for event, other in zip(own, all_of_them, strict=True):
        assert (event.train_loss, event.measures) == (other.train_loss, other.measures if event.measures else {})


def test_source_is_watched_and_masking_can_only_help(task: Task, tasks: Tasks) -> None:
    source = tasks.get(TaskSpec.of(dataset="digits", classes=tuple(range(5))))
    found = events(task, OptimSpec.of(epochs=1), source=source)
    (end,) = [event for event in found if isinstance(event, EpochEnd)]
    assert end.measures["source_accuracy_masked"] >= end.measures["source_accuracy"]


def test_evaluation_is_the_whole_sets_whatever_the_batch(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    network = PerceptronSpec.of().build(1)
    whole = evaluate(lambda x: network(x).detach(), task.test, task.classes)
    monkeypatch.setattr("core.training.evaluation.BATCH", 7)
    parts = evaluate(lambda x: network(x).detach(), task.test, task.classes)
    assert dict(parts.measures) == pytest.approx(dict(whole.measures), rel=1e-5)
    logits = network(task.test.all_pixels())
    right = (logits.argmax(1) == task.test.labels).float().mean().item() * 100
    assert whole.measures["accuracy"] == pytest.approx(right, rel=1e-6)
    assert whole.loss == pytest.approx(F.cross_entropy(logits, task.test.labels).item(), rel=1e-6)


@given(st.floats(1e-6, 1e3))
def test_reports_come_in_time_and_never_without_a_step(pace: float) -> None:
    steps = steps_at_once(pace)
    assert 1 <= steps <= FLUSH_STEPS
    assert steps == 1 or steps * pace <= (FLUSH_SECONDS if pace < FLUSH_SECONDS else SLOW_SECONDS) * (1 + 1e-9)


def test_the_first_report_is_of_one_step() -> None:
    assert steps_at_once(SLOW_SECONDS / FIRST_STEPS) == 1
