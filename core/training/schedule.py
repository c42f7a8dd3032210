"""The learning rate of each step, and the epochs after which a run is evaluated: functions of step and epoch alone, so
that a resumed run goes on with the right ones.
"""

from __future__ import annotations

import math

from core.run_spec import OptimSpec


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Number of batches per epoch; the last one may be smaller."""
    return math.ceil(examples / batch_size)


def total_steps(optim: OptimSpec, examples: int) -> int:
    """Number of optimiser steps of a run that is not stopped early, on a training part of this many examples."""
    return optim.epochs * steps_per_epoch(examples, optim.batch_size)


def examples_seen(examples: int, batch_size: int, step: int) -> int:
    """Number of examples that a run has trained on after ``step`` steps; one counts in each epoch again."""
    epochs, more = divmod(step, steps_per_epoch(examples, batch_size))
    return epochs * examples + more * batch_size


EVERY_EPOCH = 20
"""Number of epochs that all end with an evaluation."""


def is_evaluated(optim: OptimSpec, epoch: int) -> bool:
    """Whether a run is evaluated after an epoch, counted from 1: after each of the first twenty, every second one of
    the next twenty, every third one of the twenty after that and so on, and the last one.

    Curves are read by the logarithm of the epoch, and evaluations after all of many short epochs would take longer than
    the training. Patience and the best epoch need all of them.
    """
    needs_all = optim.patience > 0 or optim.keep == "best"
    return needs_all or epoch == optim.epochs or epoch % math.ceil(epoch / EVERY_EPOCH) == 0


def evaluations(optim: OptimSpec) -> int:
    """Number of evaluations of a run at the ends of its epochs."""
    return sum(is_evaluated(optim, epoch) for epoch in range(1, optim.epochs + 1))


def earliest_end(optim: OptimSpec) -> OptimSpec:
    """The settings with the fewest epochs after which patience may end a run: its loss gets worse from the first on."""
    return optim.but(epochs=min(optim.epochs, 1 + optim.patience)) if optim.patience else optim


def rate_at(optim: OptimSpec, step: int, total: int) -> float:
    """The learning rate of one step, as transformers' schedules have it.

    Args:
        optim: rate, warm-up and decay.
        step: number of steps done before it.
        total: number of steps of the whole run.
    """
    warmup = math.ceil(optim.warmup * total)
    if step < warmup:
        return optim.learning_rate * step / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    match optim.decay:
        case "constant":
            return optim.learning_rate
        case "linear":
            return optim.learning_rate * (1 - done)
        case "cosine":
            return optim.learning_rate * (1 + math.cos(math.pi * done)) / 2
