"""What can go wrong, one exception a cause; each message is a sentence for the person at the screen."""

from __future__ import annotations

import sqlite3
from pathlib import Path


class LabError(Exception):
    """Root of every error that LoRA Lab raises on purpose; its text says what to do."""


class SpecError(LabError, ValueError):
    """A spec is outside its bounds or contradicts itself."""


class LoRAError(LabError, ValueError):
    """A low-rank adapter cannot be built, found or merged as asked."""


class MergedError(LoRAError, RuntimeError):
    """A merged network was asked to do what only an unmerged one can."""


class DatasetError(LabError, ValueError):
    """A dataset is unknown, missing or unreadable."""


class DownloadError(DatasetError):
    """A dataset could not be downloaded; what was on disk before is still there."""


class NetworkFileError(LabError, ValueError):
    """A file of network weights is damaged or of another architecture."""


class DamagedFileError(LabError, ValueError):
    """A file of a run has changed since it was written."""

    def __init__(self, what: str, path: Path) -> None:
        """Args: what: begins the sentence, as in ``The base of this run``; path: of the file."""
        super().__init__(
            f"{what} is damaged: {path.parent.name}/{path.name} is no longer what was written there. "
            "Put a copy back from a backup, or train that run again with Repeat on the Runs page."
        )


class StoreError(LabError, RuntimeError):
    """The store of runs cannot be used; the message says why, and what to do."""


class StoreDamagedError(StoreError):
    """The store is no database any more, or parts of it are not what was written."""


class StoreGoneError(StoreError, sqlite3.OperationalError):
    """The store was removed or replaced while a process had it open."""


class RunFileError(LabError, ValueError):
    """The copy of a run in its folder is missing, damaged, or of a newer version."""


class CheckpointError(LabError, ValueError):
    """A checkpoint is damaged, or of another run."""


class LeftError(LabError, RuntimeError):
    """A run was left before its end, as where its process ends: it can go on from its checkpoint."""

    def __init__(self, message: str = "The run was left before its end.") -> None:
        super().__init__(message)


class AdapterError(LabError, ValueError):
    """An adapter file is damaged, incomplete, unsafe, or not what it claims to be."""


class BaseMismatchError(AdapterError):
    """An adapter was trained on another base than the one it is put on."""


class HomeError(LabError, OSError):
    """The home folder cannot be made, or not be written to."""


class DeviceError(LabError, ValueError):
    """The device asked for does not exist on this machine."""


class QueueFullError(LabError, RuntimeError):
    """More runs wait than the settings allow."""


class UnknownRunError(LabError, LookupError):
    """No run or experiment of that name is in the store."""


class RunStateError(LabError, RuntimeError):
    """A run is in a state that does not allow what was asked of it."""


class RunInUseError(RunStateError):
    """A run cannot be deleted: it trains, or other runs start from it."""


class NoteError(LabError, ValueError):
    """A note or tag is longer than allowed, or no text."""


class StorageFullError(LabError, RuntimeError):
    """More bytes would be stored than the settings allow."""


class AccessError(LabError, ValueError):
    """The server would let in people whom nobody has asked in."""


class DivergedError(LabError, ArithmeticError):
    """Training produced a loss that is not a finite number."""

    def __init__(self, step: int) -> None:
        """Args: step: the optimiser step, from 1, whose loss was not finite."""
        self.step = step
        super().__init__(
            f"Diverged at step {step}: the loss is no longer a finite number. A lower learning rate usually helps."
        )
