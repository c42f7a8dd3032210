"""An executor: what runs jobs, and the machines that they run on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from core.engine.jobs.job import Commands, Dependencies, Job
from core.engine.jobs.messages import Message
from core.settings import available_devices


@dataclass(frozen=True)
class Node:
    """A machine of a cluster."""

    id: str
    name: str
    cpus: int
    gpus: int
    memory: int
    """Bytes that jobs may use."""


@dataclass(frozen=True)
class ClusterJob:
    """A job on a cluster: on which node, and what it trains."""

    node: str
    """Id of the node; empty while it waits for room."""
    label: str
    """Label of the job's method and settings."""
    runs: tuple[str, ...]
    """Ids of the job's runs."""


class Machines:
    """The machines of an executor: this one alone, unless a subclass says what is different. Thread-safe."""

    def open(self) -> None:
        """Begin to look for machines. Raises: ExecutorError: something is not installed."""
        return

    def places(self, workers: int) -> int:
        """Number of jobs that there is room for now, running ones included.

        Args:
            workers: number of jobs at once that the settings ask for in this process.
        """
        return workers

    def count(self) -> int:
        """Number of jobs that can run at once without sharing cores, at least 1; forecasts divide by it."""
        return 1

    def problem(self) -> str | None:
        """Why no job can be started now, in one sentence; None if one can."""
        return None

    def devices(self) -> list[str]:
        """Devices that jobs can train on, the fastest first."""
        return available_devices()

    def nodes(self) -> list[Node]:
        """The nodes of a cluster; none for this machine."""
        return []

    def running(self) -> list[ClusterJob]:
        """Jobs that run on other machines, or wait for room there."""
        return []


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
        so it is where :attr:`core.engine.jobs.job.Commands.abandoned` is set while the thread waits.

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
