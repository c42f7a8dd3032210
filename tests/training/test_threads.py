"""The thread count: one unless more clearly pay, and one again when they no longer do."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import pytest
import torch

from core.data.examples import Task
from core.networks.perceptron import PerceptronSpec
from core.run_spec import OptimSpec
from core.training import threads as threads_module
from core.training.autograd import AutogradStepper
from core.training.bank.bank import Bank
from core.training.threads import CHUNK, COUNTS, WORTH_A_TRIAL, Threads, available_cores, fastest
from tests.training.conftest import equal


@pytest.fixture(autouse=True)
def tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is tried how many threads pay, which other tests leave out."""
    monkeypatch.setattr(threads_module, "WORTH_A_TRIAL", WORTH_A_TRIAL)


def clock(**seconds: list[float]) -> Callable[[int], float]:
    """Times that come round and round, by thread count."""
    waiting = {int(name[1:]): cycle(values) for name, values in seconds.items()}
    return lambda threads: next(waiting[threads])


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"t1": [1.0], "t2": [0.55]}, 2),
        ({"t1": [1.0], "t2": [0.9]}, 1),
        ({"t1": [1.0], "t2": [0.55, 0.55, 8.0, 0.55, 0.55]}, 2),
        ({"t1": [1.0], "t2": [0.55, 8.0, 8.0, 0.55, 0.55]}, 1),
        ({"t1": [1.0, 1.0, 9.0, 1.0, 1.0], "t2": [0.55]}, 2),
        ({"t1": [1.0], "t2": [0.55], "t4": [0.3]}, 4),
        ({"t1": [1.0], "t2": [0.55], "t4": [0.5]}, 2),
        ({"t1": [1.0], "t2": [3.0], "t4": [0.6]}, 4),
    ],
)
def test_more_threads_must_be_clearly_faster_all_but_once(times: dict[str, list[float]], expected: int) -> None:
    assert fastest([int(name[1:]) for name in times], clock(**times)) == expected


def bank(task: Task, members: int) -> Bank:
    return Bank([PerceptronSpec.of().build(k) for k in range(members)], [0.001] * members, [0] * members, task)


def test_a_wish_is_met_without_a_trial(task: Task) -> None:
    stepper = bank(task, 1)
    assert Threads(stepper, 64, wanted=2).count == 2
    assert torch.get_num_threads() == 2


def test_a_short_step_is_not_split(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "SHORT_STEP", 10.0)
    monkeypatch.setattr(threads_module, "fastest", lambda counts, seconds, rounds: max(counts))
    assert Threads(bank(task, 1), 64, limit=2).count == 1
    monkeypatch.setattr(threads_module, "SHORT_STEP", 0.0)
    assert Threads(bank(task, 1), 64, limit=2).count == 2


def test_a_short_training_is_not_worth_a_trial(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "_timer", lambda *_: lambda n: 1.0 / n**2)
    assert Threads(bank(task, 1), 64, limit=2, steps=1).count == 1
    assert Threads(bank(task, 1), 64, limit=2, steps=10).count == 2


def test_shards_get_a_thread_each_as_far_as_there_are_cores(task: Task) -> None:
    assert [Threads(bank(task, members), 64, limit=3).count for members in (2, 3, 5)] == [2, 3, 3]
    assert torch.get_num_threads() == 1


def test_the_trial_leaves_what_will_be_trained_as_it_was(task: Task) -> None:
    stepper = bank(task, 1)
    before = stepper.trained(0)
    chosen = Threads(stepper, 5000)
    assert 1 <= chosen.count <= max(c for c in COUNTS if c <= available_cores())
    assert equal(before, stepper.trained(0))


@pytest.mark.parametrize("kind", ["bank", "autograd"])
def test_threads_that_have_become_slow_are_given_up_for_good(task: Task, kind: str) -> None:
    alone = AutogradStepper(PerceptronSpec.of().build(0), OptimSpec.of(learning_rate=0.001), task)
    stepper = bank(task, 1) if kind == "bank" else alone
    rows = torch.arange(64).repeat(1, 3 * CHUNK, 1)
    stepper.use_threads(2, slowest=100.0)
    assert len(stepper.advance(rows)) == 3 * CHUNK
    assert stepper.threads == torch.get_num_threads() == 2
    stepper.use_threads(2, slowest=1e-9)
    assert len(stepper.advance(rows)) == 3 * CHUNK
    assert stepper.threads == torch.get_num_threads() == 1
    stepper.advance(rows)
    assert stepper.threads == 1
