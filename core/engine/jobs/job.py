"""Jobs: runs that train together, as pure data, so that a job can be sent to another process or machine."""

from __future__ import annotations

from dataclasses import dataclass

from core.run_spec import RunSpec


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
    """Runs that train together; :class:`core.engine.jobs.dependencies.Dependencies` has what they refer to."""

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
