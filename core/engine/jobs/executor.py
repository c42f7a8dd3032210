"""An executor: what runs jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from core.engine.jobs.commands import Commands
from core.engine.jobs.dependencies import Dependencies
from core.engine.jobs.job import Job
from core.engine.jobs.machines import Machines
from core.engine.jobs.messages import Message


class Executor(ABC):
    """Runs jobs, several at once where there is room. Thread-safe.

    An executor is one method. This one trains in the thread that asks, and counts::

        class CountingExecutor(Executor):
            title = "This machine, counted"
            count = 0

            def start(self, job: Job, commands: Commands) -> Iterator[Message]:
                self.count += 1
                yield from run_job(job, self.dependencies, commands)

    An executor whose jobs run elsewhere sets :attr:`machines` too.
    """

    title = ""
    """What it is, for people."""

    def __init__(self, dependencies: Dependencies) -> None:
        """Args: dependencies: what jobs refer to on this machine; an executor elsewhere sends it along."""
        self.dependencies = dependencies
        self.machines = Machines()
        """The machines that its jobs run on."""

    @abstractmethod
    def start(self, job: Job, commands: Commands) -> Iterator[Message]:
        """Start a job, and yield its messages as they come; see :func:`core.engine.jobs.run_job.run_job`.

        A worker thread iterates over them. If it closes the iterator, nobody listens any more, and the job is to end;
        so it is where :attr:`core.engine.jobs.commands.Commands.abandoned` is set while the thread waits.

        Args:
            job: what to train.
            commands: given by other threads while the job runs. An executor elsewhere takes them whenever it has heard
                from the job, and passes them on.

        Raises:
            ExecutorError: the job ended early, as in a process that was killed. Members that have not ended can be
                resumed.
            LostError: the machine that trained it is gone. Members that have not ended are queued again.
        """

    @classmethod
    def is_offered(cls) -> bool:
        """Whether people may choose it where another executor is set."""
        return True

    def close(self, timeout: float) -> None:
        """Release what it holds, in ``timeout`` seconds at most."""
        return
