"""Training jobs where no lab records them: what their runs came to, and the files with that; smaller jobs where memory
does not suffice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from core.engine.jobs.halved import free_memory, halved
from core.engine.jobs.hashed_zip import write_file
from core.engine.jobs.job import Job
from core.engine.jobs.messages import Began, Ended, Failed, Message, Noted, OutOfMemory, Reported
from core.engine.jobs.result_file import RunResult, entries_of, joined
from core.errors import JobFileError, os_error_as
from core.training.sharing import bank_key


def results_of(
    job: Job, train: Callable[[Job], Iterable[Message]], fitting: dict[str, int] | None = None
) -> Iterator[RunResult]:
    """Train a job, and yield what each run came to as soon as it has ended. Checkpoints are not kept.

    Runs that are out of memory together are trained again half as many at a time, as a lab does it.

    Args:
        job: what to train.
        train: trains a job, see :func:`core.engine.jobs.run_job.run_job`.
        fitting: maximum number of runs in a job by bank key, where more ran out of memory; this function adds to it.
    """
    fitting = {} if fitting is None else fitting
    key, notes = bank_key(job.specs[0]), list[Message]()
    waiting = list(job.members)
    while waiting:
        size = min(len(waiting), fitting.get(key, len(waiting)))
        now, waiting = replace(job, members=tuple(waiting[:size])), waiting[size:]
        open_ = {k: RunResult(member.run, member.spec, member.base, [*notes]) for k, member in enumerate(now.members)}
        for message in train(now):
            match message:
                case Began(member) | Noted(member) | Reported(member):
                    open_[member].messages.append(replace(message, member=0))
                case Ended(member) | Failed(member):
                    one = open_.pop(member)
                    one.messages.append(replace(message, member=0))
                    yield one
                case OutOfMemory():
                    fitting[key], together = halved(size)
                    notes.append(Noted(0, f"Out of memory with {size} runs trained together: {together}."))
                    waiting = [now.members[k] for k in open_] + waiting
            del message  # it may hold a checkpoint, and the next one needs the memory
        free_memory()


ENDING = ".results.zip"


class ResultParts:
    """Files with the results of one job each, beside the file that is to have the results of all.

    Each is whole or not there, so that a process which is ended loses the results of no job that had ended before.
    """

    def __init__(self, out: Path, count: int) -> None:
        """Args: out: the file of all results; count: number of jobs."""
        self._out, self._count = out, count
        self._files: list[Path] = []

    @property
    def pattern(self) -> str:
        """What the names of the files have in common; empty if there are none."""
        return str(self._path("*")) if self._files else ""

    def add(self, number: int, results: Sequence[RunResult]) -> None:
        """Write what runs of a job came to, if any has ended. Raises: JobFileError: it cannot be written."""
        if results:
            path = self._path(str(number))
            write_file(path, entries_of(results))
            self._files.append(path)

    def join(self) -> None:
        """Write the file of all results, and delete those of single jobs. Raises: JobFileError: it is not written."""
        with os_error_as(JobFileError, f"{self._out} cannot be written"):
            if len(self._files) == 1:
                self._files[0].replace(self._out)
            else:
                write_file(self._out, joined(self._files))
                for file in self._files:
                    file.unlink()

    def _path(self, number: str) -> Path:
        stem = self._out.name.removesuffix(ENDING).removesuffix(".zip")
        return self._out.with_name(f"{stem}-job-{number}-of-{self._count}{ENDING}")
