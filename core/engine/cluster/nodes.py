"""The nodes of a Ray cluster, and the jobs that are there."""

from __future__ import annotations

import threading

from core.engine.cluster.connection import Connection
from core.engine.jobs.machines import ClusterJob, Machines, Node

CPUS = 4
"""CPUs per job at most: a step of a bank gains little from more."""


class RayNodes(Machines):
    """What the process that is connected with the cluster has heard of its nodes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: dict[int, ClusterJob] = {}
        self._lock = threading.Lock()

    def open(self) -> None:
        self._connection.open()

    def places(self, workers: int) -> int:
        connection = self._connection
        if connection.problem is not None or connection.is_silent:
            return 0
        cpus, gpus = self.size("auto")
        each = (min(node.cpus // cpus, node.gpus if gpus else node.cpus) for node in self.nodes())
        return min(sum(each), connection.room // cpus)

    def count(self) -> int:
        return max(1, self.places(1))

    def problem(self) -> str | None:
        connection = self._connection
        if connection.problem is None and connection.is_silent:
            return "The Ray cluster has stopped answering. Runs wait until it does."
        return connection.problem

    def devices(self) -> list[str]:
        return ["cuda", "cpu"] if any(node.gpus for node in self.nodes()) else ["cpu"]

    def nodes(self) -> list[Node]:
        return [
            Node(node["id"], f"{node['name']} ({node['address']})", node["cpus"], node["gpus"], node["memory"])
            for node in self._connection.nodes
        ]

    def running(self) -> list[ClusterJob]:
        with self._lock:
            return list(self._jobs.values())

    def size(self, device: str) -> tuple[int, int]:
        """CPUs and GPUs of a job."""
        nodes = self.nodes()
        cpus = min((node.cpus for node in nodes if node.cpus), default=1)
        gpus = any(node.gpus for node in nodes) and device in ("auto", "cuda")
        return min(cpus, CPUS), int(gpus)

    def place(self, number: int, job: ClusterJob | None) -> None:
        """Note where a job is; None once it is nowhere."""
        with self._lock:
            if job is None:
                self._jobs.pop(number, None)
            else:
                self._jobs[number] = job
