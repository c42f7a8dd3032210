"""The machines that an executor's jobs run on."""

from __future__ import annotations

from dataclasses import dataclass

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
