"""Epochs of steps, as a generator of events. Who does not want to go on stops iterating."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.tasks import Task
from core.errors import DivergedError
from core.spec import OptimSpec
from core.training.evaluation import evaluate
from core.training.stepper import Stepper

FLUSH_SECONDS = 0.1
"""How long losses stay on the device before they are reported; also how fast a stop is noticed."""

FLUSH_STEPS = 256
"""The same in steps, for devices that return before they have finished."""


@dataclass(frozen=True)
class StepLoss:
    """Losses of consecutive steps."""

    first_step: int
    """Number of the first of them, from 1."""
    losses: NDArray[np.float32]
    """(n,) mini-batch losses; the last may be NaN, right before the run fails."""
    seconds: NDArray[np.float64]
    """(n,) seconds of training after each step; evaluation does not count."""


@dataclass(frozen=True)
class EpochEnd:
    """Where a run stands after an epoch; accuracies of validation parts, in percent."""

    epoch: int
    step: int
    seconds: float
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    source_accuracy: float | None
    source_accuracy_masked: float | None
    examples_per_second: float


@dataclass(frozen=True)
class Done:
    """The last event of a run that was not stopped."""

    epochs: int
    kept_epoch: int


Event = StepLoss | EpochEnd | Done


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Steps of one pass; the last batch may be smaller."""
    return math.ceil(examples / batch_size)


def data_order(examples: int, seed: int, epoch: int) -> Tensor:
    """The order of one epoch, (examples,) indices.

    It depends on nothing else, so runs of one seed share it whatever their method, and a
    resumed run finds it again.
    """
    return torch.randperm(examples, generator=torch.Generator().manual_seed(seed * 1024 + epoch))


def train(stepper: Stepper, task: Task, optim: OptimSpec, seed: int, source: Task | None = None) -> Iterator[Event]:
    """Train and tell.

    Args:
        stepper: holds the network and its optimiser.
        task: what to learn, on the network's device.
        optim: batch size, epochs, patience and which weights to keep.
        seed: fixes the data order.
        source: the base's own task, watched for forgetting.

    Yields:
        StepLoss every tenth of a second, EpochEnd after each epoch, and Done.

    Raises:
        DivergedError: a loss is not finite; it was reported first.
    """
    x, y, n = task.train_x, task.train_y, len(task.train_x)
    step, training_seconds = 0, 0.0
    best_loss, kept_epoch, stale = math.inf, 0, 0
    best = stepper.trained() if optim.keep == "best" else []
    epoch = 0
    for epoch in range(1, optim.epochs + 1):
        order = data_order(n, seed, epoch).to(x.device)
        epoch_loss, epoch_start = 0.0, training_seconds
        waiting: list[Tensor] = []
        clock = time.perf_counter()
        for start in range(0, n, optim.batch_size):
            batch = order[start : start + optim.batch_size]
            waiting.append(stepper.step(x[batch], y[batch]))
            step += 1
            last = start + optim.batch_size >= n
            if not last and len(waiting) < FLUSH_STEPS and time.perf_counter() - clock < FLUSH_SECONDS:
                continue
            losses = torch.stack(waiting).cpu().numpy()  # the only place that waits for the device
            elapsed = time.perf_counter() - clock
            seconds = training_seconds + elapsed * np.arange(1, len(losses) + 1) / len(losses)
            training_seconds += elapsed
            first_step = step - len(losses) + 1
            finite = np.isfinite(losses)
            if not finite.all():
                bad = int(np.argmin(finite))  # nothing after it means anything
                yield StepLoss(first_step, losses[: bad + 1], seconds[: bad + 1])
                raise DivergedError(first_step + bad)
            yield StepLoss(first_step, losses, seconds)
            # Every batch but the last of an epoch is full, so the mean over examples needs one correction.
            epoch_loss += float(losses.sum()) * optim.batch_size
            if last:
                epoch_loss -= float(losses[-1]) * (optim.batch_size - len(batch))
            waiting = []
            clock = time.perf_counter()

        validation = evaluate(stepper.logits, task.validation_x, task.validation_y, task.classes)
        old = source and evaluate(stepper.logits, source.validation_x, source.validation_y, source.classes)
        yield EpochEnd(
            epoch=epoch,
            step=step,
            seconds=training_seconds,
            train_loss=epoch_loss / n,
            validation_loss=validation.loss,
            validation_accuracy=validation.accuracy,
            source_accuracy=old.accuracy if old else None,
            source_accuracy_masked=old.masked_accuracy if old else None,
            examples_per_second=n / max(training_seconds - epoch_start, 1e-9),
        )
        if validation.loss < best_loss:
            best_loss, kept_epoch, stale = validation.loss, epoch, 0
            best = stepper.trained() if optim.keep == "best" else []
        else:
            stale += 1
        if optim.patience and stale >= optim.patience:
            break
    if optim.keep == "best" and kept_epoch:
        stepper.restore(best)
    yield Done(epochs=epoch, kept_epoch=kept_epoch if optim.keep == "best" else epoch)
