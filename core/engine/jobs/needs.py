"""What jobs refer to, as entries that can be sent to another machine and used there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.data.sources.catalog import Catalog
from core.data.sources.registry import SOURCES
from core.engine.jobs.dependencies import Dependencies
from core.engine.jobs.job import Job
from core.errors import SpecError
from core.files import write_atomically
from core.networks.library.networks import Networks
from core.settings import Settings
from core.tasks.tasks import Tasks


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
