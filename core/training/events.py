"""Events of a run in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
