"""Messages of a job: everything that its receiver learns about it, and faults, which say why a run ended without a
result; as pure data.
"""

from __future__ import annotations

import errno
import sqlite3
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import (
    CheckpointError,
    DivergedError,
    ExecutorError,
    LabError,
    SpecError,
    StoreBusyError,
    VerificationError,
)
from core.memory import is_out_of_memory
from core.store.record import Result
from core.training.stepper import EpochEnd, StepLoss


@dataclass(frozen=True)
class Fault:
    """Why a run failed or was interrupted."""

    cause: str
    """One sentence for the person who started it."""
    traceback: str | None = None
    can_go_on: bool | None = False
    """Whether the run can be resumed, as after a full disk; None where it depends on whether there is a checkpoint to
    resume from, as after a file that could not be read."""

    @classmethod
    def of(cls, error: Exception) -> Fault:
        """The fault that an exception is about."""
        return cls(cause_of(error), "".join(traceback.format_exception(error)), _can_go_on(error))


def _can_go_on(error: Exception) -> bool | None:
    if isinstance(error, sqlite3.Error | ExecutorError):
        return True
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    # These would come again at the same step; anything else may pass, such as a disk that is not there.
    return False if isinstance(error, DivergedError | VerificationError | SpecError | CheckpointError) else None


def cause_of(error: Exception) -> str:
    """What an error means, in one sentence for the person who started the run."""
    if isinstance(error, LabError) and not isinstance(error, StoreBusyError):
        return str(error)
    if is_out_of_memory(error):
        return "Out of memory: choose a smaller batch or network, or another device."
    if isinstance(error, sqlite3.Error):
        said = error.__cause__ or error
        return f"The store of runs could not be written ({said}): see that the disk has space, then finish the run."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full: free some space, then finish the run."
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return "A file is larger than this system allows: raise the limit, then finish the run."
    if isinstance(error, OSError):
        return f"A file could not be read or written: {error.strerror or error} ({error.filename or 'unknown file'})."
    return f"Something unexpected happened ({type(error).__name__}: {error}); the traceback has the details."


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
