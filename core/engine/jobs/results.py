"""Training a job where no lab records it: what its runs came to, and smaller jobs where memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from core.engine.jobs.halved import free_memory, halved
from core.engine.jobs.job import Job
from core.engine.jobs.messages import Began, Ended, Failed, Message, Noted, OutOfMemory, Reported
from core.engine.jobs.result_file import RunResult
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
