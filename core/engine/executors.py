"""The executors, by the name that ``LORA_LAB_EXECUTOR`` has, and the one that runs the next jobs."""

from __future__ import annotations

from core.engine.cluster.executor import RayExecutor
from core.engine.jobs.executor import ClusterJob, Executor, Node
from core.engine.jobs.in_thread import ThreadExecutor
from core.engine.jobs.supplies import Supplies
from core.errors import SpecError
from core.settings import THREADS

EXECUTORS: dict[str, type[Executor]] = {
    THREADS: ThreadExecutor,
    "ray": RayExecutor,
}
"""The class of each."""


class Executors:
    """The executors of one lab."""

    def __init__(self, name: str, supplies: Supplies) -> None:
        """Make the one of this name, and those that people may choose beside it.

        Raises:
            SpecError: there is none of this name.
        """
        if name not in EXECUTORS:
            known = ", ".join(EXECUTORS)
            raise SpecError(f"There is no executor {name[:60]!r}; set LORA_LAB_EXECUTOR to one of: {known}.")
        self._made = {each: make(supplies) for each, make in EXECUTORS.items() if each == name or make.is_offered()}
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
        return [node for executor in self._made.values() for node in executor.nodes()]

    def running(self) -> list[ClusterJob]:
        """The jobs that are on a cluster."""
        return [job for executor in self._made.values() for job in executor.running()]

    def choose(self, name: str) -> None:
        """Have the next jobs run elsewhere; those that run stay where they are.

        Raises:
            SpecError: there is no such executor here.
            ExecutorError: something that it needs is not installed.
        """
        if name not in self._made:
            raise SpecError(f"There is no executor {name[:60]!r} here.")
        self._made[name].open()
        self.name = name

    def close(self, timeout: float) -> None:
        """Close all."""
        for executor in self._made.values():
            executor.close(timeout)
