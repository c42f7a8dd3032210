"""The executors, by the name that ``LORA_LAB_EXECUTOR`` has, and the one that runs the next jobs."""

from __future__ import annotations

from collections.abc import Iterator

from core.engine.cluster.executor import RayExecutor
from core.engine.jobs.executor import ClusterJob, Executor, Node
from core.engine.jobs.job import Commands, Dependencies, Job
from core.engine.jobs.messages import Message
from core.engine.jobs.run_job import run_job
from core.errors import SpecError
from core.settings import THREADS


class ThreadExecutor(Executor):
    """Runs each job in the worker thread that iterates over its messages."""

    title = "This machine"

    def start(self, job: Job, commands: Commands) -> Iterator[Message]:
        return run_job(job, self.dependencies, commands)


EXECUTORS: dict[str, type[Executor]] = {
    THREADS: ThreadExecutor,
    "ray": RayExecutor,
}
"""The class of each."""


class Executors:
    """The executors of one lab."""

    def __init__(self, name: str, dependencies: Dependencies) -> None:
        """Create the named executor and all that users may switch to. Raises: SpecError: no executor has this name."""
        if name not in EXECUTORS:
            known = ", ".join(EXECUTORS)
            raise SpecError(f"There is no executor {name[:60]!r}; set LORA_LAB_EXECUTOR to one of: {known}.")
        self._made = {each: make(dependencies) for each, make in EXECUTORS.items() if each == name or make.is_offered()}
        self.name = name
        """Name of the executor that runs the next jobs."""

    @property
    def current(self) -> Executor:
        """The executor that runs the next jobs."""
        return self._made[self.name]

    @property
    def titles(self) -> dict[str, str]:
        """Names and titles of those that can be chosen."""
        return {name: executor.title for name, executor in self._made.items()}

    def nodes(self) -> list[Node]:
        """The machines of all clusters."""
        return [node for executor in self._made.values() for node in executor.machines.nodes()]

    def running(self) -> list[ClusterJob]:
        """The jobs that are on a cluster."""
        return [job for executor in self._made.values() for job in executor.machines.running()]

    def choose(self, name: str) -> None:
        """Have the next jobs run elsewhere; those that run stay where they are.

        Raises:
            SpecError: there is no such executor here.
            ExecutorError: something that it needs is not installed.
        """
        if name not in self._made:
            raise SpecError(f"There is no executor {name[:60]!r} here.")
        self._made[name].machines.open()
        self.name = name

    def close(self, timeout: float) -> None:
        """Close all."""
        for executor in self._made.values():
            executor.close(timeout)
