"""Runs that are trained elsewhere: sent out as files of jobs, and collected from files of results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from core.adapter import read_adapter
from core.engine.jobs.commands import Commands
from core.engine.jobs.dependencies import Dependencies
from core.engine.jobs.job import Job, Member
from core.engine.jobs.job_file import packed as packed_jobs
from core.engine.jobs.messages import Ended
from core.engine.jobs.predictions import PREDICTIONS
from core.engine.jobs.result_file import RunResult, read_results
from core.engine.jobs.run_files import ADAPTER, NETWORK, base_file
from core.engine.recorder import Recorder
from core.engine.writes import Writes
from core.errors import CheckpointError, JobFileError, UnknownRunError
from core.forecast.packing import packed
from core.settings import Settings
from core.store.checkpoints import read_checkpoint, step_of
from core.store.copies import Copies
from core.store.record import Experiment, Run
from core.store.store import Store
from core.tasks.tasks import Tasks

SENT = "It was written into a file of jobs: collect its result, or finish it here."
"""Why a run that was sent out is interrupted."""

FILES = (NETWORK, ADAPTER, PREDICTIONS)
"""Files that a run may bring."""


class JobFiles:
    """Sends runs out, and collects them."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        tasks: Tasks,
        dependencies: Dependencies,
        copies: Copies,
        owner: str,
        trim: Callable[[str], None],
    ) -> None:
        """Args:
        settings: the home folder.
        store: has the runs.
        tasks: tells which runs fit together.
        dependencies: what jobs refer to.
        copies: writes copies of the store's rows into the folders of the runs.
        owner: name of this process.
        trim: see :class:`core.engine.writes.Writes`.
        """
        self._settings = settings
        self._store = store
        self._tasks = tasks
        self._dependencies = dependencies
        self._copies = copies
        self._owner = owner
        self._trim = trim

    def send(self, experiment: Experiment, count: int) -> list[Iterator[tuple[str, bytes]]]:
        """Take an experiment's runs that wait off the queue, and divide them among files.

        Args:
            experiment: whose queued and interrupted runs are sent.
            count: maximum number of files.

        Returns:
            The entries of each file; see :func:`core.engine.jobs.job_file.packed`.

        Raises:
            JobFileError: no run of it waits, its base has not been trained yet, or a checkpoint cannot be used.
        """
        runs = [run for run in self._store.runs_of(experiment.runs) if run.state in ("queued", "interrupted")]
        if not runs:
            raise JobFileError(f"No run of {experiment.name} waits to be trained.")
        bases = {run.spec.base for run in runs if run.spec.base}
        for base in self._store.runs_of(sorted(bases)):
            if base.result is None:
                raise JobFileError(f"The base {base.id} has not been trained yet: train it first.")
        starts = {run.id: self._start(run) for run in runs}
        # Only now do runs know the step of their checkpoint, at which those of one job must be equal.
        self._store.requeue([run.id for run in runs if run.state == "interrupted"], self._owner)
        runs = self._store.runs_of([run.id for run in runs])
        jobs = self._jobs(runs, starts)  # raises before the queue is changed
        # The queue is left before anything is written: nobody trains here what is trained elsewhere, and what a worker
        # has taken meanwhile is not sent.
        claimed = self._store.claim(runs)
        for run in claimed:
            self._store.interrupt(run, SENT)
        if not claimed:
            raise JobFileError(f"No run of {experiment.name} waits to be trained.")
        if len(claimed) < len(runs):
            jobs = self._jobs(claimed, starts)
        shares = [jobs[number::count] for number in range(count)]
        return [packed_jobs(share, self._dependencies) for share in shares if share]

    def _jobs(self, runs: Sequence[Run], starts: Mapping[str, bytes | None]) -> list[Job]:
        jobs: list[Job] = []
        for step in sorted({run.resumed_step for run in runs}):
            alike = [run for run in runs if run.resumed_step == step]
            banks = packed([run.spec for run in alike], self._tasks, self._settings)
            jobs += [Job(tuple(self._member(alike[k], starts) for k in bank)) for bank in banks]
        return jobs

    def _member(self, run: Run, starts: Mapping[str, bytes | None]) -> Member:
        start = starts[run.id] if run.resumed_step else None
        return Member(run.id, run.spec, start, base_file(self._store, run))

    def _start(self, run: Run) -> bytes | None:
        """A run's checkpoint, if it has one. Raises: JobFileError: it cannot be used."""
        known = self._store.checkpoint(run.id)
        try:
            return read_checkpoint(self._folder(run.id), *known) if known else None
        except CheckpointError as error:
            raise JobFileError(f"Run {run.id}: {error} Finish it here, where it trains from its first step.") from error
        except OSError as error:
            raise JobFileError(f"Run {run.id}: its checkpoint cannot be read ({error.strerror or error}).") from error

    def collect(self, content: bytes | BinaryIO) -> list[Run]:
        """Put the results of a file into the home folder.

        A run that has a result already is left as it is.

        Args:
            content: the file of results; one that is open stays so until this returns.

        Returns:
            The runs of the file, as they are now.

        Raises:
            JobFileError: the file is damaged, or is of other runs than those of this home folder; nothing was changed.
            AdapterError: an adapter in it is damaged; nothing was changed.
            sqlite3.Error: the store cannot be written.
        """
        results = read_results(content)
        for one in results:
            self._check(one)
        for one in results:
            self._record(one)
        for experiment in self._store.experiments_of([one.run for one in results]):
            self._trim(experiment)
        return self._store.runs_of([one.run for one in results])

    def _check(self, one: RunResult) -> None:
        try:
            run = self._store.run(one.run)
        except UnknownRunError as error:
            raise JobFileError(f"The run {one.run!r:.80} is not in this home folder.") from error
        if run.spec != one.spec or base_file(self._store, run) != one.base:
            raise JobFileError(f"This file is of another run {run.id}: its settings or its base differ.")
        first = one.first_step
        kept = self._store.checkpoint(run.id)
        begun = step_of(kept[0]) if kept else 0
        if run.state in ("queued", "interrupted") and first is not None and first - 1 != begun:
            raise JobFileError(f"Run {run.id} was trained on here after it had been sent out: finish it here.")
        if any(name not in FILES for end in one.messages if isinstance(end, Ended) for name in end.files):
            raise JobFileError(f"This file brings files for run {run.id} that runs do not have.")
        for end in one.messages:
            if isinstance(end, Ended) and ADAPTER in end.files:
                read_adapter(end.files[ADAPTER])  # later it counts as a file of our own

    def _record(self, one: RunResult) -> None:
        """Record a run, unless it has a result or is trained somewhere."""
        if self._store.run(one.run).state == "interrupted":
            self._store.requeue([one.run], self._owner)
        for run in self._store.claim([self._store.run(one.run)]):
            writes = Writes(self._store, self._folder, trim=lambda experiment: None)
            recorder = Recorder(self._store, [run], Commands(), writes, self._copies, self._folder, math.inf)
            for message in one.messages:
                recorder.take(message)
            if recorder.open:
                recorder.fail(0, None)

    def _folder(self, run: str) -> Path:
        return self._settings.runs / run
