"""The executor ``ray``: jobs run on the nodes of a Ray cluster, which needs no folder in common with the lab."""

from __future__ import annotations

import logging
import os
import pickle
import queue
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property

from core.engine.cluster.connection import Connection
from core.engine.cluster.host import versions
from core.engine.jobs.commands import Command, Commands, Drop, Leave
from core.engine.jobs.dependencies import Dependencies
from core.engine.jobs.executor import Executor
from core.engine.jobs.job import Job
from core.engine.jobs.machines import ClusterJob, Machines, Node
from core.engine.jobs.messages import Left, Message
from core.engine.jobs.needs import Need, needs_of
from core.errors import ExecutorError, LabError, LostError

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


log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Interval at which a job that says nothing is looked at: if it was abandoned, its place goes to others."""


class RayExecutor(Executor):
    """Sends each job to an actor, which has CPUs, and a GPU where the cluster has some, of its own."""

    title = "Ray cluster"

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__(dependencies)
        self._connection = Connection(os.environ.get("RAY_ADDRESS") or None)
        self.machines: RayNodes = RayNodes(self._connection)

    @classmethod
    def is_offered(cls) -> bool:
        return bool(os.environ.get("RAY_ADDRESS"))

    def close(self, timeout: float) -> None:
        self._connection.close(timeout)

    @cached_property
    def versions(self) -> dict[str, str]:
        """Versions that nodes must have, too."""
        return versions()

    def start(self, job: Job, commands: Commands) -> Iterator[Message]:
        needs = {(need.name, need.version): need for need in needs_of([job], self.dependencies)}
        cpus, gpus = self.machines.size(job.specs[0].device)
        number, heard = self._connection.begin(
            {
                "job": pickle.dumps(job, protocol=5),
                "needs": list(needs),
                "cpus": cpus,
                "gpus": gpus,
                "versions": self.versions,
            }
        )
        label, runs = job.specs[0].label, tuple(member.run for member in job.members)
        given: list[Command] = []
        is_placed = False
        try:
            while not commands.abandoned:
                try:
                    frame = heard.get(timeout=LOOK_SECONDS)
                except queue.Empty:
                    continue
                match frame:
                    case ("at", _, node):
                        is_placed = bool(node)
                        self.machines.place(number, ClusterJob(node, label, runs))
                        given += commands.take()
                    case ("lacks", _, need):
                        self._connection.send("give", number, _contents(needs[need]))
                        given += commands.take()
                    case ("heard", _, went_on, messages):
                        given += commands.take() if went_on else []
                        for content in messages:
                            yield pickle.loads(content)  # noqa: S301 - from our own code on the cluster
                    case ("over", _, cause, lost):
                        if lost:
                            raise LostError(cause)
                        if cause:
                            raise ExecutorError(cause)
                        return
                if is_placed and given:
                    self._connection.send("tell", number, pickle.dumps(given, protocol=5))
                    given = []
                elif given and _is_unwanted(given, len(runs)):
                    yield from map(Left, range(len(runs)))
                    return
        finally:
            self._connection.end(number)
            self.machines.place(number, None)


def _contents(need: Need) -> list[tuple[str, bytes]] | None:
    """The files of what a job needs; None if they cannot be read, so that the job says what is missing."""
    try:
        return list(need.entries())
    except (LabError, OSError) as error:
        log.warning("%s cannot be sent to the cluster: %s", need.name, error)
        return None


def _is_unwanted(given: Sequence[Command], members: int) -> bool:
    """Whether nobody waits for a job any more that has not begun yet."""
    dropped = {command.member for command in given if isinstance(command, Drop)}
    return len(dropped) == members or any(isinstance(command, Leave) for command in given)
