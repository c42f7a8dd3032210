"""Exceptions, one per cause; each message is a sentence for the user, in which texts from outside are printable."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def printable(text: str, length: int = 80) -> str:
    """A text from outside as a message may show it: without what cannot be printed, and not long."""
    return "".join(filter(str.isprintable, text)).strip()[:length]


class LabError(Exception):
    """Base class of all errors that LoRA Lab raises on purpose; the message says what to do."""


@contextmanager
def os_error_as(kind: type[LabError], what: str, then: str = "") -> Iterator[None]:
    """Raise errors of the operating system as ``kind``, as in ``a.csv cannot be read: Permission denied.``

    Args:
        kind: class of the error.
        what: what cannot be done.
        then: a sentence that says what to do; empty for none.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {error.strerror or error}.{f' {then}' if then else ''}") from error


class SpecError(LabError, ValueError):
    """A spec is out of bounds or contradicts itself."""

    def __init__(self, message: str, place: Sequence[str | int] = ()) -> None:
        """Args: message: one sentence; place: names of the fields from the spec to the value that is wrong."""
        super().__init__(message)
        self.place = tuple(place)


class LoRAError(LabError, ValueError):
    """A low-rank adapter cannot be built, found or merged as asked."""


class MergedError(LoRAError, RuntimeError):
    """A merged network was asked to do what only an unmerged one can."""


class DatasetError(LabError, ValueError):
    """A dataset is unknown, missing or unreadable."""


class DownloadError(DatasetError):
    """A dataset could not be downloaded; files that were on disk before are unchanged."""


class NetworkFileError(LabError, ValueError):
    """A file of network weights is damaged or of another architecture."""


class JsonError(LabError, ValueError):
    """A text is not the JSON that is expected; the message goes on after ``This is``."""

    def __init__(self, reason: str) -> None:
        """Args: reason: as in ``nested too deeply``."""
        super().__init__(reason.rstrip("."))


class ReaderError(LabError, RuntimeError):
    """The process that opens files from outside cannot be started."""


class DamagedFileError(LabError, ValueError):
    """A file of a run has changed since it was written."""

    def __init__(self, what: str, path: Path) -> None:
        """Args: what: subject of the sentence, as in ``The base of this run``; path: of the file."""
        super().__init__(
            f"{what} is damaged: {path.parent.name}/{path.name} is no longer what was written there. "
            "Put a copy back from a backup, or train that run again with Repeat, under Experiments and Runs."
        )


class StoreError(LabError, RuntimeError):
    """The store of runs cannot be used; the message says why, and what to do."""


class StoreDamagedError(StoreError):
    """The store is not a database, or parts of it are damaged."""


class StoreGoneError(StoreError, sqlite3.OperationalError):
    """The store was removed or replaced while a process had it open."""


class StoreBusyError(StoreError, sqlite3.OperationalError):
    """The store cannot be used now, as on a full disk or while another program holds it; nothing was changed."""

    def __init__(self, message: str, error: sqlite3.Error) -> None:
        """Args: message: one sentence; error: what SQLite said."""
        super().__init__(message)
        self.sqlite_errorcode, self.sqlite_errorname = error.sqlite_errorcode, error.sqlite_errorname


class RunFileError(LabError, ValueError):
    """The file of a run in its folder is missing, damaged, or of a newer version."""


class PredictionsError(LabError, ValueError):
    """The predictions of a run are unreadable, or are not about the dataset that has the name now."""


class CheckpointError(LabError, ValueError):
    """A checkpoint is damaged, or belongs to another run."""


class ExecutorError(LabError, RuntimeError):
    """A job ended early where it ran, such as in a process that was killed; its runs can be resumed."""


class LostError(ExecutorError):
    """The machine that trained a job is gone; its runs go on elsewhere from their last checkpoints."""


class RunFailedError(LabError, RuntimeError):
    """A run ended without a result; the message says why."""


class LeftError(LabError, RuntimeError):
    """A run was interrupted, for example because its process ends; it can be resumed from its checkpoint."""

    def __init__(self) -> None:
        super().__init__("The run was interrupted.")


class AdapterError(LabError, ValueError):
    """An adapter file is damaged, incomplete, unsafe, or does not match its description."""


class ServingError(LabError, ValueError):
    """A request for predictions cannot be answered."""


class ServingBusyError(LabError, RuntimeError):
    """More rows wait to be answered than there is room for."""

    def __init__(self) -> None:
        super().__init__("Too many rows are waiting to be answered: send this request again in a second.")


class ExportError(LabError, ValueError):
    """A network cannot be written for another tool, or the tool computes something else with it."""


class JudgeError(LabError, ValueError):
    """Results that others report cannot be read or judged as they are."""


class TrackerError(LabError, RuntimeError):
    """A tracker is unknown, cannot be reached, or cannot be written."""


class VerificationError(AdapterError):
    """A network with an adapter does not compute what its file says, or nothing finite."""

    BEGINNING = "The adapter failed verification: "
    """Of every message, by which the stored cause of a run tells that its adapter failed."""

    def __init__(self, found: str) -> None:
        """Args: found: what is wrong, as the rest of a sentence."""
        super().__init__(f"{self.BEGINNING}{found}.")


class BaseMismatchError(AdapterError):
    """An adapter was trained on a different base."""


class HomeError(LabError, OSError):
    """The home folder cannot be created or written to."""


class DeviceError(LabError, ValueError):
    """The requested device does not exist on this machine."""


class QueueFullError(LabError, RuntimeError):
    """More runs would be queued than the settings allow."""


class UnknownRunError(LabError, LookupError):
    """There is no run or experiment with this id, or no such file of a run."""


class RunStateError(LabError, RuntimeError):
    """The requested action is not allowed in the current state of a run."""


class RunInUseError(RunStateError):
    """A run cannot be deleted, since it is in training or other runs start from it."""


class NetworkInUseError(RunStateError):
    """A imported network cannot be deleted, since runs refer to it."""


class NoteError(LabError, ValueError):
    """A note, tag or name is too long, or contains characters that are not text."""


class ShortOfMemoryError(LabError, RuntimeError):
    """Something takes more memory than is free now; it may be possible later."""


class StorageFullError(LabError, RuntimeError):
    """More bytes would be stored than the settings allow."""


class AccessError(LabError, ValueError):
    """The settings of the server would give access to people who should have none."""


class DivergedError(LabError, ArithmeticError):
    """Training produced a loss that is not a finite number."""

    BEGINNING = "Diverged at step "
    """Of every message, by which the stored cause of a run tells that it has diverged."""

    def __init__(self, step: int) -> None:
        """Args: step: the optimiser step, from 1, with the loss that was not finite."""
        self.step = step
        super().__init__(
            f"{self.BEGINNING}{step}: the loss is no longer a finite number. A lower learning rate usually helps."
        )
