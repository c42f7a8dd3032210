"""Faults: why a run ended without a result, as pure data."""

from __future__ import annotations

import errno
import sqlite3
import traceback
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
