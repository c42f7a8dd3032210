"""Records of the store: runs with their spec, state and result, curves, and experiments with their stages.

A stage is what was launched together. An experiment that grows is looked at more than once, which counts when a
difference is tested. All runs of one launch are created within milliseconds, and :class:`core.store.store.Store` keeps
launches of one experiment apart by :data:`LAUNCH_GAP`. The time of creation never changes and is in the copy of the
run, so that a run keeps its stage when it is resumed or restored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from sqlite3 import Row
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.errors import DivergedError, SpecError, StoreError, VerificationError
from core.numbers import counted, percent
from core.run_spec import RunSpec

RUN_ID = re.compile(r"r-[0-9a-f]{1,32}")
"""Pattern of the ids of runs, which are also the names of their folders."""

State = Literal["queued", "running", "finished", "stopped", "failed", "interrupted"]

PlanState = Literal["open", "waiting", "complete"]
"""What becomes of the plan of an experiment: more runs may be queued when those that are there have ended; more may be
queued once a person has finished or restored some of them; or nothing will be queued any more."""

WAITING: tuple[State, ...] = ("queued", "running")
"""States that change without anybody's action."""

UNFINISHED: tuple[State, ...] = ("stopped", "interrupted", "failed")
"""States of runs that ended before their last step."""

ENDED: tuple[State, ...] = ("finished", "stopped")
"""States that come with a result."""

PROCESS_ENDED = "Its process ended before it did: finish the run to go on."
"""Cause of a run that is interrupted because the process that trained it is gone."""

EPOCH_COLUMNS = ["epoch", "step", "seconds", "train_loss", "examples_per_second"]
"""Columns that :attr:`Curve.epochs` always has; ``seconds`` is the training time since the start."""


@dataclass(frozen=True)
class Result:
    """Result of a run; sizes are in bytes."""

    measures: Mapping[str, float | None] = field(hash=False)
    """Measures by name, on the test part unless the name says otherwise: ``accuracy``, ``accuracy_before`` of the base,
    ``validation_accuracy`` of the kept weights, ``source_accuracy`` on the source task; see
    :mod:`core.objectives.measure`. None for what the run does not have, such as a source."""
    parameters: int
    """Number of parameters of the whole network, including adapters."""
    trainable_parameters: int
    seconds: float
    """Training time without evaluation. Runs of a bank share its time equally, so that their times add up to the
    time of the bank."""
    examples_per_second: float
    memory: int
    """What the run takes in training alone: weights, gradients, optimiser state, activations, and the products that
    the engine keeps; see ``core/engine/jobs/run_memory.py``. Results of earlier versions have the first three only."""
    checkpoint_bytes: int
    """Size of the fine-tuned network as a full safetensors checkpoint."""
    adapter_bytes: int | None
    """Size of the adapter zip; None for methods without adapters."""
    epochs: int
    """Number of completed epochs."""
    steps: int
    kept_epoch: int
    """The epoch whose weights were kept."""
    device: str
    threads: int
    """Number of CPU threads that the bank was trained on."""
    bank: int = 1
    """Number of runs in its bank, including this one; the largest, where it went on in another after a pause."""
    peak_memory: int | None = None
    """Bytes by which the memory of the process had grown at most while the bank was built, trained and evaluated, as
    sampled; datasets are left out, and so is memory that was free for reuse. None for runs of earlier versions."""
    trends: Mapping[str, float] | None = field(default=None, hash=False)
    """What three times the epochs would add at most to each measure on the validation part, by its name; see
    :func:`core.store.curves.trends_of`. None for runs of earlier versions, and for stopped ones."""

    def to_dict(self) -> dict[str, Any]:
        """Every value under its own name, measures first; as in the store, in files of results and in JSON."""
        values = {about.name: getattr(self, about.name) for about in fields(self)}
        if self.trends is None:  # as earlier versions wrote it
            del values["trends"]
        return {**values.pop("measures"), **values}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Result:
        """Read what :meth:`to_dict` returned. Raises: TypeError: a value is missing, or a measure is no number."""
        own = {about.name for about in fields(cls)} - {"measures"}
        measures = {name: value for name, value in values.items() if name not in own}
        if not all(value is None or type(value) in (int, float) for value in measures.values()):
            raise TypeError("A measure of a result is no number.")
        return cls(measures, **{name: value for name, value in values.items() if name in own})


class Lifecycle:
    """What the state of a run says."""

    state: State
    cause: str | None
    archived: bool

    @property
    def is_live(self) -> bool:
        """Whether it is queued or running."""
        return self.state in WAITING

    @property
    def has_diverged(self) -> bool:
        """Whether training has made its numbers unusable, so that it would end alike if it was trained again: the loss
        is no number, or the adapter does not pass the checks of its certificate.
        """
        beginnings = DivergedError.BEGINNING, VerificationError.BEGINNING
        return self.state == "failed" and (self.cause or "").startswith(beginnings)

    @property
    def is_unfinished(self) -> bool:
        """Whether it ended before its last step, and may be trained to it: it was stopped or interrupted, or failed
        for a reason that may have passed.
        """
        return self.state in UNFINISHED and not self.has_diverged

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it: it is neither live nor unfinished; what is archived counts as it is."""
        return not self.is_live and (self.archived or not self.is_unfinished)


@dataclass(frozen=True)
class Run(Lifecycle):
    """One run as stored. Points in time are seconds since 1970, UTC."""

    id: str
    spec: RunSpec
    state: State
    experiment: str | None
    """The experiment as one of whose runs it was read: of those that have it the one in whose place in the queue it is
    trained, where nobody asked for the runs of another one."""
    created: float
    started: float | None
    ended: float | None
    cause: str | None
    """Why it failed or was interrupted, in one sentence."""
    traceback: str | None
    result: Result | None
    """Set for finished runs, and for stopped runs that had learned something. A stopped run that is queued again has
    none, although the store keeps it until the run has begun."""
    step: int
    """Number of optimiser steps done."""
    steps: int
    """Number of optimiser steps of the whole run; 0 before it starts."""
    training_seconds: float
    examples_per_second: float | None
    """Mean over the training so far."""
    owner: str = ""
    """Name of the process that trains it, or will."""
    stop_asked: bool = False
    """Whether somebody asked to stop it."""
    resumed_step: int = 0
    """Step of the checkpoint that it was resumed from; 0 if it was not."""
    resumed_seconds: float = 0.0
    """Training time at that checkpoint."""
    archived: bool = False
    """Whether somebody put it away. What was stopped and is archived keeps no verdict waiting."""
    plan: PlanState | None = None
    """What becomes of the plan of its experiment; None where all runs of it were known when they were launched."""

    @property
    def score(self) -> float | None:
        """The primary measure of its objective on the test part; None without a result."""
        return None if self.result is None else self.result.measures.get(self.spec.objective.primary.name)

    def score_text(self, digits: int = 2) -> str:
        """The same in words, as in ``97.31 %``; a dash without a result. Args: digits: decimals of a percentage."""
        return self.spec.objective.primary.text(self.score, digits)

    @property
    def epochs_text(self) -> str:
        """How long it was trained, as in ``5 epochs``, or where it ended early ``stopped at 39 % of 5 epochs``."""
        whole = counted(self.spec.optim.epochs, "epoch")
        return f"{self.state} at {percent(100 * self.progress, 0)} of {whole}" if self.is_unfinished else whole

    @property
    def validated(self) -> float | None:
        """The same on the validation part, by which settings are chosen."""
        return None if self.result is None else self.result.measures.get(self.spec.objective.validated)

    @property
    def progress(self) -> float:
        """Share of its steps that are done, from 0 to 1."""
        return self.step / self.steps if self.steps else 0.0

    @property
    def eta(self) -> float | None:
        """Estimated seconds of training left, from the pace since it was last resumed; None if unknown."""
        done = self.step - self.resumed_step
        if self.state != "running" or done <= 0:
            return None
        return (self.training_seconds - self.resumed_seconds) / done * (self.steps - self.step)


@dataclass(frozen=True)
class Curve:
    """Learning curve of a run."""

    step: NDArray[np.int64]
    """(n,) optimiser steps, from 1."""
    seconds: NDArray[np.float64]
    """(n,) training time after each step."""
    loss: NDArray[np.float32]
    """(n,) training loss of each mini-batch."""
    epochs: pd.DataFrame
    """One row per epoch: :data:`EPOCH_COLUMNS`, and before the last of them a column for each measure, such as
    ``validation_accuracy``."""

    @classmethod
    def of_epochs(cls, epochs: pd.DataFrame) -> Curve:
        """One that has epochs alone: losses are long, and epochs are a few rows."""
        return cls(np.empty(0, np.int64), np.empty(0), np.empty(0, np.float32), epochs)

    def measured(self, name: str) -> NDArray[np.float64]:
        """A measure after each epoch, (epochs,); NaN where it was not measured."""
        if name not in self.epochs:
            return np.full(len(self.epochs), np.nan)
        return self.epochs[name].to_numpy(np.float64)


@dataclass(frozen=True)
class Experiment:
    """Runs that are compared: same base, and same task unless that is what a study varies. It grows by further
    launches; see :func:`stages_of`.
    """

    id: str
    name: str
    created: float
    base: str
    """Id of the pretrain run that they start from; of the first seed's if each seed has its own base."""
    runs: tuple[str, ...]
    """Ids of the fine-tune runs, in the order they were queued."""
    trim: bool = False
    """Whether only the networks of chosen settings are to be kept; see :func:`core.results.choice.unchosen`."""
    plan: str | None = None
    """JSON of the :class:`core.plan.plan.Plan` that decides which runs are queued next; None where all runs were known
    when they were launched."""


@dataclass(frozen=True)
class ExperimentRow:
    """An experiment as a list shows it, without its runs."""

    id: str
    name: str
    created: float
    counts: dict[State, int]
    """Number of its runs in each state that occurs."""
    seconds: float = 0.0
    """Training time of all its runs."""
    changes: int = 0
    """Number of changes to its runs that the store has counted: what follows from its runs is the same while it is."""

    @property
    def total(self) -> int:
        """Number of its runs."""
        return sum(self.counts.values())

    @property
    def live(self) -> int:
        """Number of its runs that are queued or running."""
        return sum(self.counts.get(state, 0) for state in WAITING)


def is_under_way(runs: Iterable[Run]) -> bool:
    """Whether runs are queued or running, or will be without anybody's action."""
    return any(run.is_live or run.plan == "open" for run in runs)


def columns_in(experiment: str) -> str:
    """What :func:`run_of` reads, of the store's ``runs`` table under the name ``r``, as of a run of an experiment.

    Args:
        experiment: SQL of its id.
    """
    return f"r.*, (SELECT plan_state FROM experiments e WHERE e.id = {experiment} AND plan IS NOT NULL) AS plan_state"  # noqa: S608


COLUMNS_OF_RUN = columns_in("r.experiment")
"""The same for the experiment in whose place in the queue a run is trained."""


@lru_cache(maxsize=4096)
def spec_of(text: str) -> RunSpec:
    """Parse a stored spec; cached, since pages read the same ones every second.

    Raises:
        StoreError: another version wrote it.
    """
    try:
        return RunSpec.from_json(text)
    except SpecError as error:
        what = str(error).removesuffix(".")
        raise StoreError(
            f"This version of LoRA Lab cannot read a run of this home ({what}): open it with the version that made it."
        ) from error


@lru_cache(maxsize=4096)
def _result_of(text: str) -> Result:
    """Parse a stored result; cached like specs."""
    return Result.of(json.loads(text))


def run_of(row: Row) -> Run:
    """Make a run from a row with :data:`COLUMNS_OF_RUN`."""
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
        result=_result_of(row["result"]) if row["result"] and row["state"] in ENDED else None,
        step=row["step"],
        steps=row["steps"],
        training_seconds=row["seconds"],
        examples_per_second=row["rate"],
        stop_asked=bool(row["stop_asked"]),
        resumed_step=row["resumed_step"],
        resumed_seconds=row["resumed_seconds"],
        archived=bool(row["archived"]),
        plan=row["plan_state"],
    )


LAUNCH_GAP = 1.0
"""Minimum number of seconds between the last run of a launch and the first one of the next, in one experiment."""


def stages_of(runs: Iterable[Run]) -> list[tuple[Run, ...]]:
    """Runs of one experiment by launch, the first launch first, in the order in which they were queued.

    Args:
        runs: in any order and state; runs that were deleted leave no gap that could be taken for a launch.
    """
    stages: list[list[Run]] = []
    for run in sorted(runs, key=lambda run: (run.created, run.id)):
        if stages and run.created - stages[-1][-1].created < LAUNCH_GAP / 2:
            stages[-1].append(run)
        else:
            stages.append([run])
    return [tuple(stage) for stage in stages]
