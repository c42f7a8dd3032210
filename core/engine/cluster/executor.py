"""The executor ``ray``: jobs run on the nodes of a Ray cluster, which needs no folder in common with the lab.

The connection to it is a process of its own; if that ends, it is started anew.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import core
from core.engine.cluster.host import versions
from core.engine.jobs.executor import ClusterJob, Executor, Machines, Node
from core.engine.jobs.job import Command, Commands, Dependencies, Drop, Job, Leave, Need, needs_of
from core.engine.jobs.messages import Left, Message
from core.errors import ExecutorError, LabError, LostError
from core.optional_packages import check_installed

log = logging.getLogger(__name__)

BRIDGE = Path(__file__).with_name("bridge.py")

SILENT_SECONDS = 10.0
"""Time without news of the nodes after which the cluster counts as gone. News comes every second."""

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before each further attempt to join the cluster; the last one counts from then on."""

Frame = tuple[Any, ...]


class Connection:
    """Frames to and from the bridge, see :mod:`core.engine.cluster.bridge`. Thread-safe."""

    def __init__(self, address: str | None) -> None:
        """Args: address: of the cluster; None starts one on this machine."""
        self.address = address
        self.problem: str | None = "The cluster has not been joined yet."
        """Why no job can be started, in one sentence; None if one can."""
        self.nodes: Sequence[Mapping[str, Any]] = ()
        """The nodes that are alive, as last heard."""
        self.room = 0
        """CPUs that others leave to this lab."""
        self._heard = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._writing = threading.Lock()
        self._jobs: dict[int, queue.SimpleQueue[Frame]] = {}
        self._count = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ray", daemon=True)

    def open(self) -> None:
        """Join the cluster, in the background. Raises: ExecutorError: Ray is not installed."""
        check_installed("ray", "Training on a cluster needs", "ray", ExecutorError)
        if not self._thread.is_alive():
            self._thread.start()

    def close(self, timeout: float) -> None:
        """Leave the cluster, and end what this lab has started there."""
        self._closing.set()
        with self._writing:
            if self._process and self._process.stdin:
                with suppress(OSError):
                    self._process.stdin.close()
        if self._thread.is_alive():
            self._thread.join(timeout)
        if self._process and self._process.poll() is None:
            self._process.kill()

    @property
    def is_silent(self) -> bool:
        """Whether the cluster has stopped answering."""
        return time.monotonic() - self._heard > SILENT_SECONDS

    def begin(self, values: Mapping[str, Any]) -> tuple[int, queue.SimpleQueue[Frame]]:
        """Ask for a job.

        Args:
            values: the fields of a :class:`core.engine.cluster.bridge.Request`.

        Returns:
            Its number, and the queue of the frames about it. If the bridge ends, the last one says that it is lost.
        """
        heard: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        with self._writing:
            self._count += 1
            number = self._count
            self._jobs[number] = heard
        self.send("start", number, dict(values))
        return number, heard

    def send(self, *frame: Any) -> None:
        """Write a frame; if there is nobody to read it, whoever waits for the answer is told."""
        with self._writing:
            try:
                if self._process is None or self._process.stdin is None:
                    raise BrokenPipeError
                pickle.dump(frame, self._process.stdin, protocol=5)
                self._process.stdin.flush()
            except (OSError, ValueError):
                self._lose(frame[1])

    def end(self, number: int) -> None:
        """Say that nobody listens to a job any more."""
        if self._jobs.pop(number, None) is not None:
            self.send("end", number)

    def _lose(self, number: int) -> None:
        if heard := self._jobs.get(number):
            heard.put(("over", number, self.problem or "The cluster is gone.", True))

    def _work(self) -> None:
        """Keep a bridge, and hand its frames to whoever waits for them."""
        attempt = 0
        while not self._closing.is_set():
            try:
                joined = self._listen()
            except OSError as error:
                joined, self.problem = False, f"{self._cluster} cannot be joined ({error.strerror or error})."
            with self._writing:
                self.nodes, self.room = (), 0
                if self.problem is None:
                    self.problem = f"{self._cluster} does not answer any more."
                for number in list(self._jobs):
                    self._lose(number)
            if self._closing.is_set():
                return
            log.warning("%s", self.problem)
            attempt = 0 if joined else attempt + 1
            self._closing.wait(PAUSES[min(attempt, len(PAUSES) - 1)])

    @property
    def _cluster(self) -> str:
        return f"The Ray cluster at {self.address}" if self.address else "The Ray cluster of this machine"

    def _listen(self) -> bool:
        """Start a bridge and listen until it ends. Returns: whether it had joined the cluster."""
        joined = False
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        if self.address:
            environment["RAY_ADDRESS"] = self.address
        command = [sys.executable, "-P", str(BRIDGE), str(Path(core.__file__).parent)]
        process = subprocess.Popen(  # noqa: S603 - our own script
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        threading.Thread(target=_log, args=(process.stderr,), daemon=True).start()
        with self._writing:
            self._process = process
        with process, suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                frame: Frame = pickle.load(process.stdout)  # type: ignore[arg-type]  # noqa: S301 - from our process
                match frame:
                    case ("joined", _):
                        joined, self.problem, self._heard = True, None, time.monotonic()
                    case ("refused", cause):
                        self.problem = f"{self._cluster} cannot be joined ({cause})."
                    case ("nodes", nodes, room):
                        self.nodes, self.room, self._heard = nodes, room, time.monotonic()
                    case (_, number, *_):
                        if heard := self._jobs.get(number):
                            heard.put(frame)
        return joined


def _log(lines: IO[bytes] | None) -> None:
    """Pass what Ray prints on to the log of debugging."""
    for line in lines or ():
        log.debug("%s", line.decode(errors="replace").rstrip())


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
