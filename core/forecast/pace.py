"""What finished runs tell about the time of others: the shape of the work, and the pace at which it was done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

from core.data.task_spec import TaskSpec
from core.methods.method import MethodSpec, Role
from core.networks.network import NetworkSpec
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import RunSpec
from core.store.record import Run
from core.training.bank.bank import shard_size
from core.training.threads import available_cores

NEWEST = 5
"""Number of banks whose median counts."""

ALONE = 2.0
"""Spread that is expected of banks while only one is known."""

MAX_OVERHEAD = 600.0
"""Maximum seconds besides training per run that are believed."""

LONG_EPOCH = 8
"""Steps per epoch from which on the smaller last batch makes no difference."""


@dataclass(frozen=True)
class Work:
    """All that the time of a training step depends on."""

    network: NetworkSpec
    method: MethodSpec
    """The method's :meth:`core.methods.method.MethodSpec.shape`, of size 1 if it has a size."""
    batch: int
    device: str
    members: int
    """Number of runs in the bank."""
    rank: float = 0.0
    """Mean rank of its runs; 0 without adapters."""
    threads: int | None = None
    """Number of threads, where the settings fix it."""
    task: TaskSpec | None = None
    """The task, where epochs are so short that the last batch counts, and where it consists of texts."""
    length: int = 0
    """Mean tokens per text of a batch; only of what is calibrated, where it stands for the task."""
    training: tuple[tuple[str, Any], ...] = ()
    """Settings of the optimizer that change what a step computes; see
    :attr:`core.run_spec.OptimSpec.beyond_plain_adam`."""
    objective: ObjectiveSpec = CLASSIFICATION
    """What is learned, which decides whether there is a fast step."""

    @classmethod
    def of(cls, bank: Sequence[RunSpec], steps_per_epoch: float, device: str, threads: int | None) -> Work:
        """The work of runs that are trained together, on a device of this name."""
        first = bank[0]
        return cls(
            network=first.trained_network,
            # Of the highest rank, whose layers have room for the mean.
            method=_shape(max(bank, key=lambda spec: spec.method.size or 0)),
            batch=first.optim.batch_size,
            device=device,
            members=len(bank),
            rank=fmean(spec.method.size or 0 for spec in bank),
            threads=threads,
            task=first.task if steps_per_epoch < LONG_EPOCH or first.network.reads_tokens else None,
            training=tuple(sorted(first.optim.beyond_plain_adam.items())),
            objective=first.objective.without_choices(),
        )

    @property
    def cores(self) -> int:
        """Number of cores that a bank may keep busy."""
        return self.threads or available_cores()

    @property
    def share(self) -> float:
        """Time of a bank's step for each run, in units of the time of one run on one core.

        Shards of a bank are spread over the cores, so the bank takes as long as the core with most of them. Networks
        that read tokens have their steps dealt out, which keeps all cores busy.
        """
        if self.network.reads_tokens:
            return 1 / min(self.members, self.cores)
        size = shard_size(self.members, self.rank > 0, "cpu")
        shards = math.ceil(self.members / size)
        return math.ceil(shards / self.cores) * size / self.members

    def factor(self, other: Work) -> float | None:
        """Time of this work's step as a multiple of the other's, both for each run; None if they do not compare.

        1 for the same work. Between banks of different sizes on a CPU it follows from :attr:`share`. A run alone
        splits its products over the cores instead, so it compares with no bank; but a network that reads tokens keeps
        all cores busy alone or side by side.
        """
        if replace(other, members=self.members, rank=self.rank) != self:
            return None
        if self.rank == other.rank and (self.members == other.members or self.network.reads_tokens):
            return 1.0
        sizes = sorted((self.members, other.members))
        alike = max(self.rank, other.rank) <= 2 * min(self.rank, other.rank) and sizes[1] <= 4 * sizes[0]
        if not alike or (sizes[0] == 1 < sizes[1]) or (self.device != "cpu" and sizes[0] < sizes[1]):
            return None
        return self.share / other.share


@dataclass(frozen=True)
class Record:
    """One bank that was trained to the end. Times are for each of its runs, in seconds."""

    work: Work
    like: RunSpec
    """Spec of its first run."""
    steps: int
    per_step: float
    overhead: float | None
    """Time besides training: evaluation, files, loading the data; None if it is not known."""


def records_of(runs: Iterable[Run], threads: int | None) -> list[Record]:
    """Banks among finished runs, in the order of their first run.

    Args:
        runs: finished runs with results.
        threads: number of threads that the settings fix, or None.
    """
    banks: dict[tuple[str, float | None], list[Run]] = {}
    for run in runs:  # the runs of a bank are claimed at the same moment by the same process
        banks.setdefault((run.owner, run.started), []).append(run)
    records = [_record(bank, threads) for bank in banks.values()]
    return [record for record in records if record is not None]


def _record(bank: Sequence[Run], threads: int | None) -> Record | None:
    results = [run.result for run in bank if run.result]
    first = results[0]
    even = len({result.steps for result in results}) == 1 and first.steps and first.seconds > 0 and first.epochs
    if not even or len(results) < first.bank or (threads and first.threads != threads):
        return None
    work = Work.of([run.spec for run in bank], first.steps / first.epochs, first.device, threads)
    seconds = sum(result.seconds for result in results) / len(results)
    ends = [run.ended for run in bank if run.ended is not None]
    overhead: float | None = None
    if ends and bank[0].started is not None and not any(run.resumed_step for run in bank):
        overhead = (max(ends) - bank[0].started) / len(bank) - seconds
        if not 0 <= overhead < MAX_OVERHEAD:  # the machine's time of day was set meanwhile
            overhead = None
    return Record(work, bank[0].spec, first.steps, seconds / first.steps, overhead)


@dataclass(frozen=True)
class Pace:
    """What banks like one to come took."""

    step: float
    """Seconds per step and run: the median of the newest banks."""
    exact: bool
    """Whether they did the same work, and less than ten times as many steps, or as few."""
    spread: float
    """Ratio of the slowest to the fastest of them; of one alone, :data:`ALONE`."""


def pace_of(records: Iterable[Record], work: Work, steps: int) -> Pace | None:
    """The pace of banks that did the same work, else of similar ones; None if there are none.

    Args:
        records: newest first.
        work: what is to be trained.
        steps: number of steps; what took a hundred times fewer or more says nothing, as preparation counts too.
    """
    exact: list[float] = []
    near: list[float] = []
    for record in records:
        factor, ratio = work.factor(record.work), max(steps, record.steps) / max(1, min(steps, record.steps))
        if factor is not None and ratio < 100:
            same = record.work == work and ratio < 10
            (exact if same else near).append(factor * record.per_step)
    newest = (exact or near)[:NEWEST]
    if not newest:
        return None
    return Pace(median(newest), bool(exact), max(newest) / min(newest) if len(newest) > 1 else ALONE)


def _shape(spec: RunSpec) -> MethodSpec:
    return spec.method.of_size(1).shape()


def overhead_seconds(records: Iterable[Record], spec: RunSpec) -> float | None:
    """Time besides training of a run like this one: the median of the newest; None if there is none."""

    def key(spec: RunSpec) -> tuple[object, ...]:
        # What a method trains of a network of blocks decides which of them are frozen, and computed beforehand.
        method = _shape(spec) if spec.network.reads_tokens else spec.role is not Role.ADAPTER
        return spec.trained_network, method, spec.task, spec.source, spec.optim.epochs

    found = [record.overhead for record in records if record.overhead is not None and key(record.like) == key(spec)]
    return median(found[:NEWEST]) if found else None
