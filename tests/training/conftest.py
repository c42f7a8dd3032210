"""Digits, on which networks are trained here, and how two trainings are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from core.data.examples import ImageExamples, Task
from core.data.sources.catalog import Catalog
from core.settings import Settings
from core.tasks.tasks import Tasks
from core.training.checkpoint import Checkpoint, Position, TrainState, checkpoint_of
from core.training.loop import data_order
from core.training.stepper import StepLoss, Stepper
from tests.conftest import DIGITS


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    return Tasks(Catalog(Settings(tmp_path_factory.mktemp("home"))))


@pytest.fixture(scope="module")
def task(tasks: Tasks) -> Task:
    return tasks.get(DIGITS)


@pytest.fixture(autouse=True)
def one_thread_afterwards() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def random_task(count: int = 100, dtype: torch.dtype = torch.float32) -> Task:
    """Random examples of 20 numbers in 4 classes."""
    examples = ImageExamples.random(count, 20, 4, torch.Generator().manual_seed(1))
    return Task.of_one_part(replace(examples, pixels=examples.pixels.to(dtype)), 4)


def rows_of(task: Task, seeds: Sequence[int], steps: int, batch: int) -> Tensor:
    """As the loop would give them, several epochs if need be: (orders, steps, batch)."""
    orders = [
        torch.cat([data_order(task.num_train, seed, epoch) for epoch in range(1, 20)])[: steps * batch]
        for seed in dict.fromkeys(seeds)
    ]
    return torch.stack(orders).view(len(orders), steps, batch)


def reported(events: Iterable[object]) -> np.ndarray:
    """Losses of all steps."""
    return np.concatenate([event.losses for event in events if isinstance(event, StepLoss)])


def equal(one: Iterable[Tensor], other: Iterable[Tensor]) -> bool:
    """Whether these are the same tensors, bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def tensors_of(state: TrainState) -> list[Tensor]:
    """What is trained, and Adam's moments."""
    return [*state.values, *state.first, *state.second]


def check_resumes(make: Callable[[], Stepper], rows: Tensor) -> None:
    """Training has the same bits when it goes on from a file, and when it is evaluated on the way."""
    whole, asked, resumed = make(), make(), make()
    whole.advance(rows)
    half = rows.shape[1] // 2
    asked.advance(rows[:, :half])
    asked.evaluate(0)
    position = Position(half, 1, half, 0.0, 0.0, 0.0, 0.0, 0, 0, 1)
    file = Checkpoint(position, asked.train_state(0), []).to_bytes()
    resumed.resume([checkpoint_of(file).train_state])
    for each in (asked, resumed):
        each.advance(rows[:, half:])
        assert equal(each.trained(0), whole.trained(0))
        assert each.evaluate(0) == whole.evaluate(0)
