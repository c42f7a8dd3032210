"""The interface between the training loop and the networks that it trains, and the events of a run in training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.examples import EvaluationPart, Task
from core.training.checkpoint import TrainState
from core.training.evaluation import Evaluation


@dataclass(frozen=True)
class StepLoss:
    """Losses of consecutive steps."""

    first_step: int
    """Number of the first of them, from 1."""
    losses: NDArray[np.float32]
    """(n,) mini-batch losses; the last may be NaN if :class:`Diverged` follows."""
    seconds: NDArray[np.float64]
    """(n,) total training time after each step, without evaluation."""

    def then(self, later: StepLoss) -> StepLoss:
        """These steps and those right after them as one event."""
        losses, seconds = [self.losses, later.losses], [self.seconds, later.seconds]
        return StepLoss(self.first_step, np.concatenate(losses), np.concatenate(seconds))


@dataclass(frozen=True)
class EpochEnd:
    """Measures at the end of an epoch."""

    epoch: int
    step: int
    seconds: float
    train_loss: float
    examples_per_second: float
    measures: Mapping[str, float]
    """On the validation parts, by names as in ``validation_accuracy`` and ``source_accuracy``; see
    :mod:`core.objectives.measure`. Empty after epochs without an evaluation; see
    :func:`core.training.schedule.is_evaluated`."""


@dataclass(frozen=True)
class Done:
    """Last event of a run that completed; its network has the weights to keep."""

    epochs: int
    kept_epoch: int


@dataclass(frozen=True)
class Stopped:
    """Last event of a run that was stopped; its network has the weights at that step."""

    step: int


@dataclass(frozen=True)
class Diverged:
    """Last event of a run whose loss was not finite."""

    step: int
    """First step with such a loss; the last step, if only the evaluation after it found one."""


Event = StepLoss | EpochEnd | Done
"""Events of a run that is not stopped and does not diverge."""


class Stepper(Protocol):
    """Networks trained in lockstep on one task: the members, numbered from 0."""

    @property
    def members(self) -> int:
        """Number of members."""
        ...

    @property
    def device(self) -> torch.device:
        """The device that they are trained on."""
        ...

    @property
    def seeds(self) -> Sequence[int]:
        """Seed of each member; members with the same seed see the data in the same order."""
        ...

    @property
    def task(self) -> Task:
        """The task that they are trained on."""
        ...

    def advance(self, rows: Tensor) -> Tensor:
        """Train for some steps.

        Args:
            rows: (orders, steps, batch) indices into the training part: the images of each step for every distinct
                seed, in the order in which the seeds first occur in :attr:`seeds`.

        Returns:
            The mean cross entropies before each step, of shape (steps, members), detached, on the device.
        """
        ...

    @property
    def shards(self) -> int:
        """Number of parts that can be trained in parallel; a single one splits its products over threads."""
        ...

    @property
    def threads(self) -> int:
        """Number of CPU threads in use."""
        ...

    def use_threads(self, count: int, slowest: float = math.inf, evaluation: int | None = None) -> None:
        """Set the number of CPU threads.

        Args:
            count: number of threads.
            slowest: seconds per step beyond which threads that split products are reduced to one.
            evaluation: number of threads of evaluations, which never wait for each other; None for ``count``.
        """
        ...

    def rehearse(self, rows: Tensor) -> None:
        """Do the work of :meth:`advance` without changing any weights, to measure its speed."""
        ...

    def evaluate(
        self,
        member: int,
        part: EvaluationPart = "validation",
        source: bool = True,
        look: Callable[[], None] = lambda: None,
    ) -> tuple[Evaluation, Evaluation | None]:
        """Evaluate a member that is in training or was retired after the last step.

        Args:
            member: number of the member.
            part: which part of the task, and of the source task, to use.
            source: whether to evaluate on the source task too, if there is one.
            look: called before each batch; an exception from it ends the evaluation.
        """
        ...

    def trained(self, member: int) -> list[Tensor]:
        """Copies of the tensors that training changes in a member: parameters and running statistics."""
        ...

    def restore(self, member: int, trained: list[Tensor]) -> None:
        """Restore tensors that :meth:`trained` returned."""
        ...

    def train_state(self, member: int) -> TrainState:
        """Copies of a member's trained tensors and of the optimiser's state for each."""
        ...

    def resume(self, states: Sequence[TrainState]) -> None:
        """Restore, before the first step, what :meth:`train_state` returned for each member.

        Raises:
            CheckpointError: it is of another network, or the members were at different steps.
        """
        ...

    def write_back(self, member: int) -> None:
        """Copy the trained values into the member's own module."""
        ...

    def retire(self, member: int) -> None:
        """Stop training a member; its values are undefined from the next step on."""
        ...
