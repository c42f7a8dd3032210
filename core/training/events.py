"""What happens to a run while it trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StepLoss:
    """Losses of consecutive steps."""

    first_step: int
    """Number of the first of them, from 1."""
    losses: NDArray[np.float32]
    """(n,) mini-batch losses; the last may be NaN, right before the run fails."""
    seconds: NDArray[np.float64]
    """(n,) the run's seconds of training after each step; evaluation does not count."""


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
    """The last event of a run that went to its end; its network has the weights to keep."""

    epochs: int
    kept_epoch: int


@dataclass(frozen=True)
class Stopped:
    """The last event of a run that was stopped; its network has what it had learnt."""

    step: int


@dataclass(frozen=True)
class Diverged:
    """The last event of a run whose loss was not finite."""

    step: int
    """The first step with such a loss."""


Event = StepLoss | EpochEnd | Done
"""What happens to a run that nothing stops."""
