"""An executor: a place where jobs run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from core.engine.jobs.commands import Commands
from core.engine.jobs.job import Job
from core.engine.jobs.messages import Message
from core.engine.jobs.supplies import Supplies


class Executor(ABC):
    """Runs jobs, as many at once as there are workers. Thread-safe."""

    def __init__(self, supplies: Supplies) -> None:
        """Args: supplies: what jobs refer to, on this machine; an executor elsewhere sends along what a job needs."""
        self.supplies = supplies

    @abstractmethod
    def start(self, job: Job, commands: Commands) -> Iterator[Message]:
        """Start a job, and yield its messages as they come; see :func:`core.engine.jobs.run_job.run_job`.

        A worker thread iterates over them. If it closes the iterator, nobody listens any more, and the job is to end.

        Args:
            job: what to train.
            commands: given by other threads while the job runs. An executor elsewhere takes them whenever it has heard
                from the job, and passes them on.

        Raises:
            ExecutorError: the job ended early, as in a process that was killed. Members that have not ended can be
                resumed.
        """
