"""What is known of a run: its spec, where it stands, its curve, and what it came to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from sqlite3 import Row
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.spec import RunSpec

State = Literal["queued", "running", "finished", "stopped", "failed", "interrupted"]

WAITING: tuple[State, ...] = ("queued", "running")
"""States that still change by themselves."""

EPOCH_COLUMNS = [
    "epoch",
    "step",
    "seconds",
    "train_loss",
    "validation_loss",
    "validation_accuracy",
    "source_accuracy",
    "source_accuracy_masked",
    "examples_per_second",
]
"""Columns of :attr:`Curve.epochs`; accuracies in percent, ``seconds`` of training since the start."""


@dataclass(frozen=True)
class Result:
    """What a run came to. Accuracies are of the test part, in percent; sizes in bytes."""

    accuracy: float
    accuracy_before: float | None
    """The base's accuracy on the target task, before fine-tuning; None for a pretrain run."""
    source_accuracy: float | None
    source_accuracy_before: float | None
    source_accuracy_masked: float | None
    """On the source task, choosing only among the source's classes."""
    source_accuracy_masked_before: float | None
    parameters: int
    """Of the whole network, adapters included."""
    trainable_parameters: int
    seconds: float
    """Spent in training, evaluation left out. A run that was trained beside others has its equal
    share of the time that passed, so the seconds of a bank's runs add up to the bank's own."""
    examples_per_second: float
    memory: int
    """Weights, gradients and optimiser state."""
    checkpoint_bytes: int
    """The fine-tuned network as a full safetensors checkpoint."""
    adapter_bytes: int | None
    """The adapter zip; None for a method that makes none."""
    epochs: int
    """Epochs that were completed."""
    steps: int
    kept_epoch: int
    """The epoch whose weights were kept."""
    device: str
    threads: int
    """CPU threads that the bank was trained on."""
    bank: int = 1
    """Runs that were trained together, this one included."""
    validation_accuracy: float | None = None
    """Of the weights that were kept, on the validation part, in percent: what settings are chosen by."""


@dataclass(frozen=True)
class Run:
    """One run as the store knows it. Times are seconds since 1970, UTC."""

    id: str
    spec: RunSpec
    state: State
    experiment: str | None
    created: float
    started: float | None
    ended: float | None
    cause: str | None
    """Why it failed or was interrupted, in one sentence."""
    traceback: str | None
    result: Result | None
    """Also there for a stopped run that had learnt something."""
    step: int
    """Optimiser steps done."""
    steps: int
    """Optimiser steps of the whole run; 0 before it started."""
    training_seconds: float
    examples_per_second: float | None
    """Of the latest epoch, or of the steps so far."""
    owner: str = ""
    """The process that trains it, or is to."""
    stop_asked: bool = False
    """Whether it is to stop as soon as its worker hears of it."""
    resumed_step: int = 0
    """Optimiser steps that were done when this session began: it went on from a checkpoint."""
    resumed_seconds: float = 0.0
    """Its seconds of training then."""

    @property
    def is_live(self) -> bool:
        """Whether it still waits or trains."""
        return self.state in WAITING

    @property
    def progress(self) -> float:
        """Share of its steps that are done, 0 to 1."""
        return self.step / self.steps if self.steps else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds of training that are left, from the pace of this session; None where there is none yet."""
        done = self.step - self.resumed_step
        if self.state != "running" or done <= 0:
            return None
        return (self.training_seconds - self.resumed_seconds) / done * (self.steps - self.step)


@dataclass(frozen=True)
class Curve:
    """What a run went through, for plots."""

    step: NDArray[np.int64]
    """(n,) optimiser steps, from 1."""
    seconds: NDArray[np.float64]
    """(n,) seconds of training after each of them."""
    loss: NDArray[np.float32]
    """(n,) training loss of the mini-batch."""
    epochs: pd.DataFrame
    """One row an epoch; see :data:`EPOCH_COLUMNS`."""


@dataclass(frozen=True)
class Experiment:
    """Runs launched together to be compared: same base, same task."""

    id: str
    name: str
    created: float
    base: str
    """The pretrain run whose network they start from."""
    runs: tuple[str, ...]
    """Ids of the fine-tune runs, in the order they were queued."""


@lru_cache(maxsize=4096)
def spec_of(text: str) -> RunSpec:
    """A spec never changes, and pages read the same ones every second."""
    return RunSpec.from_json(text)


def run_of(row: Row) -> Run:
    """The run in a row of the store's table of runs."""
    return Run(
        owner=row["owner"],
        id=row["id"],
        spec=spec_of(row["spec"]),
        state=row["state"],
        experiment=row["experiment"],
        created=row["created"],
        started=row["started"],
        ended=row["ended"],
        cause=row["cause"],
        traceback=row["traceback"],
        result=Result(**json.loads(row["result"])) if row["result"] else None,
        step=row["step"],
        steps=row["steps"],
        training_seconds=row["seconds"],
        examples_per_second=row["rate"],
        stop_asked=bool(row["stop_asked"]),
        resumed_step=row["resumed_step"],
        resumed_seconds=row["resumed_seconds"],
    )
