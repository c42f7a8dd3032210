"""Running a job: what happens between its data and its messages, on whatever machine that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

from core.engine.jobs.bank_run import BankRun
from core.engine.jobs.job import Commands, Dependencies, Job
from core.engine.jobs.messages import Ended, Failed, Fault, Left, Message, OutOfMemory
from core.errors import CheckpointError, LeftError, SpecError
from core.memory import freed_memory_kept, is_out_of_memory
from core.training.bank.shard import no_denormals
from core.training.checkpoint import checkpoint_of
from core.training.sharing import bank_key


def run_job(job: Job, dependencies: Dependencies, commands: Commands) -> Iterator[Message]:
    """Train the members of a job together, and yield what becomes of them.

    Nothing else leaves the job: it writes no file, knows no store, and raises no exception. Messages say what goes
    wrong.

    Args:
        job: what to train.
        dependencies: what it refers to.
        commands: taken after each report, and between the parts of what takes longer.
    """
    left = list(range(len(job.members)))
    last: list[Message] = []
    try:
        # A bank of perceptrons allocates once; only autograd on a large network allocates and frees in each step.
        memory = freed_memory_kept() if job.specs[0].network.brought else nullcontext()
        with no_denormals(), memory:  # before torch starts the threads that inherit the first setting
            for message in _trained(job, dependencies, commands):
                if isinstance(message, Ended | Left | Failed):
                    left.remove(message.member)
                yield message
                del message  # it may hold a checkpoint, and the next one needs the memory
    except LeftError:
        last = [Left(member) for member in left]
    except Exception as error:  # noqa: BLE001 - whatever it is, each member must be told of
        if len(job.members) > 1 and is_out_of_memory(error):
            last = [OutOfMemory()]
        else:
            fault = Fault.of(error)
            last = [Failed(member, fault) for member in left]
    yield from last  # not above, where the error still holds the bank's memory


def _trained(job: Job, dependencies: Dependencies, commands: Commands) -> Iterator[Message]:
    """Check and train the members.

    Raises:
        SpecError: they cannot be trained together, or their task does not fit the network.
        CheckpointError: they do not fit their checkpoints.
        LeftError: the job was told to leave before the first step.
        LabError: data or base cannot be used; the message says why.
        MemoryError, RuntimeError: out of memory.
    """
    if len({bank_key(spec) for spec in job.specs}) > 1:
        raise SpecError("Runs of a bank share base, task, method, batch size and epochs: train the others separately.")
    if len({member.start is None for member in job.members}) > 1:
        raise CheckpointError("Runs of a bank resume from the same step: train these separately.")
    starts = [checkpoint_of(member.start) for member in job.members if member.start is not None]
    yield from BankRun(job, starts, dependencies, commands).messages()
