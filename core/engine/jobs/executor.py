"""An executor: what runs jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from core.engine.jobs.commands import Commands
from core.engine.jobs.job import Job
from core.engine.jobs.messages import Message
from core.engine.jobs.supplies import Supplies
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


class Executor(ABC):
    """Runs jobs, several at once where there is room. Thread-safe.

    Only :meth:`start` has to be written; everything else describes this process, and an executor elsewhere says what
    is different there.
    """

    title = ""
    """What it is, for people."""

    def __init__(self, supplies: Supplies) -> None:
        """Args: supplies: what jobs refer to, on this machine; an executor elsewhere sends along what a job needs."""
        self.supplies = supplies

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
        """Whether people may choose it where another one is set."""
        return True

    def open(self) -> None:
        """Begin to look for machines. Raises: ExecutorError: something is not installed."""
        return

    def close(self, timeout: float) -> None:
        """Let go of them, in ``timeout`` seconds at most."""
        return

    def places(self, workers: int) -> int:
        """How many jobs there is room for now, those that run included.

        Args:
            workers: the number that the settings ask for in this process.
        """
        return workers

    def machines(self) -> int:
        """How many jobs can run at once that do not share cores, at least 1: by so much several end earlier."""
        return 1

    def problem(self) -> str | None:
        """Why no job can be started now, in one sentence; None if one can."""
        return None

    def devices(self) -> list[str]:
        """Devices that jobs can train on, the fastest first."""
        return available_devices()

    def nodes(self) -> list[Node]:
        """The machines of its cluster; none if jobs run on this one."""
        return []

    def running(self) -> list[ClusterJob]:
        """The jobs that are on other machines, running or waiting for room there."""
        return []
