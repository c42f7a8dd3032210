"""Messages of a job: everything that its receiver learns about it, as pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.engine.jobs.fault import Fault
from core.store.record import Result
from core.training.events import EpochEnd, StepLoss


@dataclass(frozen=True)
class Began:
    """A member is about to train: data and base are loaded."""

    member: int
    steps: int
    """Number of steps of the whole run."""
    seconds: float
    """Training time up to the checkpoint that it resumes from."""


@dataclass(frozen=True)
class Noted:
    """A sentence for the log of a member."""

    member: int
    text: str


@dataclass(frozen=True)
class Reported:
    """A member has done some steps, or an epoch."""

    member: int
    event: StepLoss | EpochEnd


@dataclass(frozen=True)
class Saved:
    """A checkpoint of a member, made since that was asked for."""

    member: int
    step: int
    content: bytes


@dataclass(frozen=True)
class Ended:
    """A member has a result."""

    member: int
    result: Result
    files: Mapping[str, bytes]
    """Content of each file of the run, by name."""
    stopped: bool
    """Whether it was stopped before its last step."""


@dataclass(frozen=True)
class Left:
    """A member was left without a result, since that was asked for; it can be resumed from its checkpoint."""

    member: int


@dataclass(frozen=True)
class Failed:
    """A member ended without a result."""

    member: int
    fault: Fault


@dataclass(frozen=True)
class OutOfMemory:
    """The job ended, since its members together need more memory than there is: fewer of them may have enough."""


OfMember = Began | Noted | Reported | Saved | Ended | Left | Failed
"""A message about one member."""

Message = OfMember | OutOfMemory
"""What a job says. The last message about a member is Ended, Left or Failed, or else OutOfMemory, which is about all
that have not ended."""
