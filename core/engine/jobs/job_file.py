"""Jobs with everything that they refer to, as one file: what is trained where the home folder is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from core.engine.jobs.dependencies import Dependencies
from core.engine.jobs.hashed_zip import HashedZip, indexed
from core.engine.jobs.job import Job, Member
from core.engine.jobs.needs import dependencies_in, needs_of, unpack
from core.run_spec import RunSpec

FORMAT = "lora-lab-jobs-1"
JOBS = "jobs.json"


def packed(jobs: Sequence[Job], dependencies: Dependencies) -> Iterator[tuple[str, bytes]]:
    """The entries of a file of jobs, one after another.

    Args:
        jobs: what to train elsewhere.
        dependencies: what they refer to, on this machine.

    Yields:
        Names and contents: datasets that do not come with LoRA Lab, bases, imported networks and checkpoints; then the
        jobs, with the SHA-256 of each of these.

    Raises:
        LabError: something that a job refers to is missing or damaged.
        OSError: it cannot be read.
    """
    told: list[dict[str, Any]] = []
    yield from indexed(_entries(jobs, dependencies, told), JOBS, lambda: {"format": FORMAT, "jobs": told})


def _entries(
    jobs: Sequence[Job], dependencies: Dependencies, told: list[dict[str, Any]]
) -> Iterator[tuple[str, bytes]]:
    """Checkpoints and what is referred to; ``told`` is filled with what the index says of each job."""
    for number, job in enumerate(jobs):
        members = []
        for place, member in enumerate(job.members):
            start = None
            if member.start is not None:
                start = f"starts/{number}-{place}.safetensors"
                yield start, member.start
            spec = json.loads(member.spec.to_json())
            members.append({"run": member.run, "spec": spec, "start": start, "base": member.base})
        told.append({"members": members, "threads": job.threads})
    for need in needs_of(jobs, dependencies):
        yield from need.entries()


def unpacked(content: bytes | BinaryIO, home: Path) -> tuple[list[Job], Dependencies]:
    """Read a file of jobs.

    Args:
        content: the file; one that is open stays so until this returns.
        home: an empty folder, for what the jobs refer to.

    Raises:
        JobFileError: it is not such a file, is damaged, or is of another version.
        OSError: the folder cannot be written to.
    """
    archive = HashedZip(content, JOBS, FORMAT, "file of jobs", "jobs")
    starts: dict[str, bytes] = {}
    for name in archive.names:
        if name.startswith("starts/"):
            starts[name] = b"".join(archive.pieces(name))
        else:
            unpack([(name, archive.pieces(name))], home)
    try:
        jobs = [
            Job(
                tuple(
                    Member(
                        str(member["run"]),
                        RunSpec.from_json(json.dumps(member["spec"])),
                        starts[member["start"]] if member["start"] else None,
                        member["base"] if "base" in member else job["base"],  # all had the same before
                    )
                    for member in job["members"]
                ),
                job["threads"],
            )
            for job in archive.index["jobs"]
        ]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise archive.damaged() from error
    return jobs, dependencies_in(home)
