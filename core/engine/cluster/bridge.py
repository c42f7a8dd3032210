"""The process between a lab and a Ray cluster, started by :mod:`core.engine.cluster.executor`.

Ray ends the process that has called ``ray.init()`` once its cluster has been gone for a minute. That must not be the
dashboard. This process imports nothing of LoRA Lab; jobs, commands and messages pass through it as bytes.

It reads frames from its standard input and writes frames to its standard output, each a pickled tuple whose first item
says what it is. It ends at the end of its input, and with it everything that it has started on the cluster.

Frames that it reads:

- ``("start", job, request)``: start a job; see :class:`Request`.
- ``("give", job, entries)``: what a job has lacked, or None if that could not be read.
- ``("tell", job, commands)``: commands, pickled.
- ``("end", job)``: nobody listens to a job any more.

Frames that it writes:

- ``("joined", address)`` once, or ``("refused", cause)``.
- ``("nodes", nodes, room)`` once per second: what is known of each node, and how many CPUs others leave.
- ``("at", job, node)``: where a job is trained now; an empty node while it waits for its place.
- ``("lacks", job, need)``: what the cluster does not have yet.
- ``("heard", job, went_on, messages)``: whether a job has taken commands since, and what it said, pickled.
- ``("over", job, cause, lost)``: the job has ended; without a cause, after its last message.
"""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import queue
import sys
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

NODES_SECONDS = 1.0
"""Interval between two looks at the nodes."""

IDLE_SECONDS = 30.0
"""Time for which a process that has trained a job is kept for the next one."""

WAIT_SECONDS = 0.2
"""Interval at which a job that waits for its place says so."""

KEPT = 32
"""Datasets, bases and networks that are kept in the object store for the next jobs."""

HOST = "core.engine.cluster.host"


class Host:
    """An actor of Ray: :class:`core.engine.cluster.host.JobHost`, which only nodes import."""

    def __init__(self) -> None:
        self._host: Any = None

    def call(self, name: str, *args: Any) -> Any:
        """Call a method of the host, which the first call makes: what a node lacks is an error of that call, and not
        the end of the actor, which would look like a lost node.
        """
        if self._host is None:
            self._host = importlib.import_module(HOST).JobHost()
        return getattr(self._host, name)(*args)

    def place(self) -> str:
        """The id of the node."""
        return str(ray.get_runtime_context().get_node_id())


@dataclass(frozen=True)
class Request:
    """What a lab asks for one job."""

    job: bytes
    """The job, pickled."""
    needs: list[tuple[str, str]]
    """Name and version of what it refers to."""
    cpus: int
    gpus: int
    versions: dict[str, str]
    """Versions of Python and of packages; the node must have the same."""


class VersionError(Exception):
    """A node has other versions than the lab."""


class Bridge:
    """Starts jobs on the cluster that this process has joined, and passes on what they say."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        """Args: source: frames from the lab; sink: frames to the lab."""
        self._source, self._sink = source, sink
        self._writing = threading.Lock()
        self._jobs: dict[int, Talk] = {}
        self._idle: list[tuple[float, tuple[int, int], Any]] = []
        """Actors without a job: since when, their CPUs and GPUs, and a handle."""
        self._borrowing = threading.Lock()
        self._busy: dict[int, int] = {}
        """CPUs of the jobs in flight."""
        self._put: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._putting = threading.Lock()

    def send(self, *frame: Any) -> None:
        """Write a frame; a lab that is gone is noticed by whoever reads."""
        with self._writing, suppress(OSError, ValueError):
            pickle.dump(frame, self._sink, protocol=5)
            self._sink.flush()

    def run(self) -> None:
        """Read frames until the lab closes or is gone."""
        threading.Thread(target=self._watch, daemon=True).start()
        with suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                what, job, *rest = pickle.load(self._source)  # noqa: S301 - from the lab that has started this process
                if what == "start":
                    self._jobs[job] = talk = Talk()
                    threading.Thread(target=self._train, args=(job, Request(**rest[0]), talk), daemon=True).start()
                elif job in self._jobs:
                    self._jobs[job].hear(what, *rest)

    def _watch(self) -> None:
        """Say every second what nodes there are, and end actors that nobody has wanted for a while."""
        while True:
            with suppress(RayError, ConnectionError):
                nodes = [
                    {
                        "id": node["NodeID"],
                        "name": node["NodeManagerHostname"],
                        "address": node["NodeManagerAddress"],
                        "cpus": int(node["Resources"].get("CPU", 0)),
                        "gpus": int(node["Resources"].get("GPU", 0)),
                        "memory": int(node["Resources"].get("memory", 0)),
                    }
                    for node in ray.nodes()  # type: ignore[no-untyped-call]
                    if node["Alive"]
                ]
                free = ray.available_resources().get("CPU", 0.0)  # type: ignore[no-untyped-call]
                with self._borrowing:
                    ours = sum(self._busy.values()) + sum(cpus for _, (cpus, _), _ in self._idle)
                self.send("nodes", nodes, int(free) + ours)
            self._end_idle(time.monotonic() - IDLE_SECONDS)
            time.sleep(NODES_SECONDS)

    def _end_idle(self, before: float, but: tuple[int, int] | None = None) -> None:
        """End actors that have been idle since before some time, or that have other sizes than the wanted ones."""
        with self._borrowing:
            old = [one for one in self._idle if one[0] < before or (but is not None and one[1] != but)]
            self._idle = [one for one in self._idle if one not in old]
        for _, _, actor in old:
            ray.kill(actor)

    # One job

    def _train(self, job: int, request: Request, talk: Talk) -> None:
        """Have a job trained, and pass on what it says."""
        size = (request.cpus, request.gpus)
        with self._borrowing:
            self._busy[job] = request.cpus
        actor = None
        cause, lost, good = "", False, False
        try:
            actor = self._placed(job, request, size, talk)
            if actor is not None:
                self._supply(job, request, actor, talk)
                good = self._listen(job, request, actor, talk)
        except VersionError as error:
            cause = str(error)
        except RayTaskError as error:
            cause = f"The node could not train it ({str(error.cause or error).splitlines()[-1][:300]})."
        except (RayError, ConnectionError) as error:
            cause, lost = f"The node that trained it was lost ({type(error).__name__}).", True
        except Exception as error:  # noqa: BLE001 - whatever it is, the lab has to be told
            cause = f"The cluster could not train it ({type(error).__name__}: {' '.join(str(error).split())[:300]})."
        finally:
            with self._borrowing:
                del self._busy[job]
                if good:
                    self._idle.append((time.monotonic(), size, actor))
            if actor is not None and not good:
                ray.kill(actor)
            self._jobs.pop(job, None)
            self.send("over", job, cause, lost)

    def _placed(self, job: int, request: Request, size: tuple[int, int], talk: Talk) -> Any:
        """An actor on a node that has room, with the same versions; None once nobody waits for it any more."""
        self._end_idle(0.0, but=size)
        while True:
            known = self._borrowed(size)
            actor = known or self._new(size)
            try:
                asked = actor.place.remote()
                while not ray.wait([asked], timeout=WAIT_SECONDS)[0]:
                    if talk.ended:
                        ray.kill(actor)
                        return None
                    self.send("at", job, "")
                self.send("at", job, ray.get(asked))
                versions = ray.get(actor.call.remote("versions"))
            except RayActorError:
                if known is None:
                    raise
                continue  # an idle one whose node has gone meanwhile
            for name, wanted in request.versions.items():
                if versions.get(name) != wanted:
                    ray.kill(actor)
                    raise VersionError(
                        f"A node of the cluster has {name} {versions.get(name) or 'not at all'}, and this machine has "
                        f"{wanted}: install the same version on both."
                    )
            return actor

    def _borrowed(self, size: tuple[int, int]) -> Any:
        """An idle actor of a size; None if there is none."""
        with self._borrowing:
            for one in self._idle:
                if one[1] == size:
                    self._idle.remove(one)
                    return one[2]
        return None

    def _new(self, size: tuple[int, int]) -> Any:
        cpus, gpus = size
        environment = {"env_vars": {"LORA_LAB_CORES": str(cpus)}}
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_concurrency": 4, "runtime_env": environment}
        return ray.remote(Host).options(**options).remote()

    def _supply(self, job: int, request: Request, actor: Any, talk: Talk) -> None:
        """Give an actor what its job refers to, through the object store, where each node fetches it once."""
        for need in ray.get(actor.call.remote("lacks", request.needs)):
            with self._putting:
                if need in self._put:
                    self._put.move_to_end(need)
                else:
                    self.send("lacks", job, need)
                    entries = talk.given.get()
                    if entries is None:
                        continue  # the job says what is missing
                    self._put[need] = ray.put(entries)
                    if len(self._put) > KEPT:
                        self._put.popitem(last=False)
                entries = self._put[need]
            ray.get(actor.call.remote("take", need, entries))

    def _listen(self, job: int, request: Request, actor: Any, talk: Talk) -> bool:
        """Pass commands and messages on. Returns: whether the job has ended, so that its actor is free."""
        ray.get(actor.call.remote("start", request.job))
        while not talk.ended:
            asked = actor.call.remote("talk", talk.commands())
            while True:
                with suppress(GetTimeoutError):
                    went_on, messages, over = ray.get(asked, timeout=5.0)
                    break
                if talk.ended:
                    return False
            if went_on or messages:
                self.send("heard", job, went_on, messages)
            if over:
                return True
        return False


class Talk:
    """What the lab has said about one job."""

    def __init__(self) -> None:
        self.given: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.ended = False
        self._commands: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def hear(self, what: str, *rest: Any) -> None:
        """Take a frame."""
        if what == "give":
            self.given.put(*rest)
        elif what == "tell":
            self._commands.put(*rest)
        elif what == "end":
            self.ended = True
            self.given.put(None)

    def commands(self) -> list[bytes]:
        """The commands that have arrived since the last call, pickled."""
        return [self._commands.get() for _ in range(self._commands.qsize())]


def main() -> None:
    """Join the cluster that ``RAY_ADDRESS`` names, or start one on this machine; then work until the lab is gone."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever Ray prints must not come between the frames
    address = os.environ.get("RAY_ADDRESS") or None
    bridge = Bridge(source, sink)
    try:
        ray.init(
            address=address,
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            namespace="lora-lab",
            runtime_env={"py_modules": [sys.argv[1]]},  # so that nodes run the code of the lab
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, the lab has to be told
        bridge.send("refused", " ".join(str(error).split())[:300])
        return
    bridge.send("joined", address or "this machine")
    bridge.run()
    ray.shutdown()


if __name__ == "__main__":
    main()
