"""Jobs: runs that train together, as pure data that can be sent to another process or machine; what they refer to, as
entries that can be sent, too, and the initial network that follows; and commands, which a job is told while it trains.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

import torch
from torch import nn

from core.data.sources.catalog import SOURCES, Catalog
from core.engine.jobs.base_evaluations import BaseEvaluations
from core.errors import LeftError, SpecError
from core.files import write_atomically
from core.methods.method import MethodSpec
from core.networks.library.networks import Networks
from core.networks.network import NetworkSpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.tasks.tasks import Tasks


@dataclass(frozen=True)
class Member:
    """One run of a job. Messages and commands name it by its index in the job."""

    run: str
    """Id of the run, for its model card."""
    spec: RunSpec
    start: bytes | None = None
    """Checkpoint to resume from, see :meth:`core.training.checkpoint.Checkpoint.to_bytes`; None for the first step."""
    base: str | None = None
    """SHA-256 of the file of its base; None if there is none, or the file is not to be checked."""


@dataclass(frozen=True)
class Job:
    """Runs that train together; :class:`Dependencies` has what they refer to."""

    members: tuple[Member, ...]
    """At least one; all with the same :func:`core.training.sharing.bank_key` and the same step to resume from."""
    threads: int | None = None
    """Number of CPU threads to train on; None chooses it by a short trial."""

    @classmethod
    def of(cls, run: str, spec: RunSpec, threads: int | None = None) -> Job:
        """A job of one run from its first step."""
        return cls((Member(run, spec),), threads=threads)

    @property
    def specs(self) -> list[RunSpec]:
        """The spec of each member."""
        return [member.spec for member in self.members]


@dataclass(frozen=True)
class Dependencies:
    """Data, bases and imported networks.

    Specs refer to datasets by names that never change their meaning, to bases by the id of their run, with the SHA-256
    in the job, and to imported networks by the digest of their files.
    """

    tasks: Tasks
    networks: Networks | None = None
    """The networks that somebody imported; None if there are none."""
    base: Callable[[str], Path] | None = None
    """Gives the file of a base's weights, by the id of its run; None if there are no bases."""
    bases: BaseEvaluations = field(default_factory=BaseEvaluations)
    """What is known of bases already."""


@dataclass(frozen=True)
class Need:
    """A dataset, a base or an imported network that jobs refer to."""

    name: str
    """What it is, as in ``base r-12ab34cd``."""
    version: str
    """Changes with the contents."""
    entries: Callable[[], Iterator[tuple[str, bytes]]]
    """Gives the names and contents of its files. Raises: LabError: it is missing or damaged. OSError."""


def needs_of(jobs: Sequence[Job], dependencies: Dependencies) -> list[Need]:
    """What jobs refer to and does not come with LoRA Lab.

    Args:
        jobs: what is trained elsewhere.
        dependencies: has what they refer to, on this machine.

    Raises:
        SpecError: this machine has no bases or no networks.
    """
    catalog = dependencies.tasks.catalog
    specs = [spec for job in jobs for spec in job.specs]
    datasets = {task.dataset for spec in specs for task in (spec.task, spec.source) if task}
    bases = {(member.spec.base, member.base or "") for job in jobs for member in job.members if member.spec.base}
    networks = {spec.network.brought for spec in specs if spec.network.brought}
    if bases and dependencies.base is None:
        raise SpecError("The weights of bases are not on this machine.")
    if networks and dependencies.networks is None:
        raise SpecError("Imported networks are not on this machine.")
    return [
        *(
            Need(f"dataset {name}", str(catalog.revision(name)), partial(_dataset, catalog, name))
            for name in sorted(datasets)
            if not catalog.comes_along(name)
        ),
        *(Need(f"base {id}", sha256, partial(_base, str(id), dependencies)) for id, sha256 in sorted(bases)),
        *(Need(f"network {digest}", "", partial(_network, digest, dependencies)) for digest in sorted(networks)),
    ]


def _dataset(catalog: Catalog, name: str) -> Iterator[tuple[str, bytes]]:
    file, content = catalog.as_file(name)
    yield f"datasets/own/{file}", content


def _base(id: str, dependencies: Dependencies) -> Iterator[tuple[str, bytes]]:
    if dependencies.base is not None:
        yield f"bases/{id}.safetensors", dependencies.base(id).read_bytes()


def _network(digest: str, dependencies: Dependencies) -> Iterator[tuple[str, bytes]]:
    if dependencies.networks is None:
        return
    folder = dependencies.networks.folder(digest)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield f"networks/{digest}/{path.relative_to(folder).as_posix()}", path.read_bytes()


def unpack(entries: Iterable[tuple[str, bytes]], home: Path) -> None:
    """Write the entries of a :class:`Need` into a folder. Raises: OSError: the folder cannot be written to."""
    for name, content in entries:
        write_atomically(home / name, content)


def dependencies_in(home: Path) -> Dependencies:
    """Dependencies from a folder that :func:`unpack` has filled, or will fill."""
    settings = Settings(home)
    along = [make for make in SOURCES if getattr(make, "is_own", False) or getattr(make, "comes_along", False)]
    networks = Networks(settings)
    tasks = Tasks(Catalog(settings, along), tokenizer=networks.tokenizer)
    return Dependencies(tasks, networks, lambda run: home / "bases" / f"{run}.safetensors")


@dataclass(frozen=True)
class Stop:
    """End a member, and keep what it has learned."""

    member: int


@dataclass(frozen=True)
class Drop:
    """End a member without a result, and without a checkpoint: nobody waits for it any more."""

    member: int


@dataclass(frozen=True)
class Save:
    """Make a checkpoint of every member."""


@dataclass(frozen=True)
class Leave:
    """Make a checkpoint of every member and end all of them without a result: they are resumed later."""


Command = Stop | Drop | Save | Leave


class Commands:
    """The commands of one job. Any thread may give one; the job takes them between its steps.

    What the job knows changes in :meth:`is_due` and :meth:`check` only. The loop asks for a checkpoint before it asks
    who is to stop, so whoever leaves has had a checkpoint made.
    """

    def __init__(self) -> None:
        self._given: SimpleQueue[Command] = SimpleQueue()
        self._stopping: set[int] = set()
        self._dropped: set[int] = set()
        self._leaving = False
        self._saving = False
        self.beat = time.monotonic()
        """When the job last took commands, which shows that it goes on."""
        self.abandoned = False
        """Whether nobody listens to the job any more, since it did not go on. Its executor gives up what it takes."""

    def send(self, command: Command) -> None:
        """Give a command."""
        self._given.put(command)

    def take(self) -> list[Command]:
        """The commands that were given since; called by the job, or by an executor that passes them on.

        Call it only when the job has shown that it goes on: that is what :attr:`beat` stands for.
        """
        self.beat = time.monotonic()
        taken = []
        while True:
            try:
                taken.append(self._given.get_nowait())
            except Empty:
                return taken

    # What the job asks

    def check(self, members: Iterable[int]) -> None:
        """Take commands before the first step. Raises: LeftError: no member is to be trained any more."""
        self._take()
        if self._leaving or self._dropped.issuperset(members):
            raise LeftError

    def is_due(self) -> bool:
        """Take commands, and return whether to make a checkpoint of every member."""
        self._take()
        return self._saving or self._leaving

    def saved(self) -> None:
        """Called with the first checkpoint after :meth:`is_due`: those that are due are being made."""
        self._saving = False

    def is_stopping(self, member: int) -> bool:
        """Whether a member is to end now."""
        return member in self._stopping or self.is_left(member)

    def is_left(self, member: int) -> bool:
        """Whether a member is to end without a result."""
        return self._leaving or member in self._dropped

    def _take(self) -> None:
        for command in self.take():
            match command:
                case Stop(member):
                    self._stopping.add(member)
                    self._saving = True  # so that it can go on from there
                case Drop(member):
                    self._dropped.add(member)
                case Save():
                    self._saving = True
                case Leave():
                    self._leaving = True


def network_of(spec: RunSpec, base: nn.Module | None, copied: bool = True) -> nn.Module:
    """Build the network of a run before its first step.

    Args:
        spec: the run.
        base: the network to start from: that of a pretrain run, or one that somebody imported; None if there is none.
        copied: whether ``base`` is to stay as it is; otherwise it becomes the run's network itself.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    from_base = base is not None and spec.method.starts_from_base
    if not from_base or base is None:
        network = spec.network.build(spec.seed)
    else:
        network = copy.deepcopy(base) if copied else base
    spec.trained_network.marked(network)
    return spec.method.prepare(network, torch.Generator().manual_seed(spec.seed))


def untrained(network: NetworkSpec, method: MethodSpec) -> nn.Module:
    """Build a network of a run's sizes on no base in particular, as one needs it to count what the run takes.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    return method.prepare(network.build())
