"""Settings of one process: folders, devices and limits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch

from core.errors import DeviceError, HomeError, SpecError

THREADS = "threads"
"""Name of the executor that trains in this process, which is the default."""


@dataclass(frozen=True)
class Settings:
    """Settings, read once when a process starts."""

    home: Path
    """Folder for everything that LoRA Lab writes: the store and its backups, files of runs, downloaded and uploaded
    datasets, imported networks."""

    data_folder: Path | None = None
    """Folder with datasets that are already on this machine (``LORA_LAB_DATA``); it is only read."""

    max_waiting: int = 1000
    """Maximum number of queued runs."""

    executor: str = THREADS
    """Where runs train (``LORA_LAB_EXECUTOR``), see :data:`core.engine.executors.EXECUTORS`."""

    workers: int = 1
    """Number of worker threads. One is fastest on a small machine, since two banks would share its cores."""

    threads: int | None = None
    """Number of CPU threads per bank; None chooses it by a short trial when a bank starts."""

    bank_bytes: int = 2**31
    """Maximum memory of a bank as estimated by :func:`core.forecast.memory.memory_of`; less if less is free.
    Banks of the default network take below 100 MiB; networks that take twenty times as much, such as 2048-2048, can
    still be trained eight at once."""

    checkpoint_seconds: float = 10.0
    """Minimum interval between two checkpoints of a run; longer where writing takes more than
    :data:`core.engine.recorder.CHECKPOINT_SHARE` of the time. A kill loses the training since the last one."""

    hang_seconds: float = 180.0
    """Time without progress after which a worker thread or a process counts as hanging. The slowest step, evaluation or
    dataset that the bounds of a spec allow takes less."""

    settle_seconds: float = 5.0
    """Interval between two checks for processes that are gone."""

    max_stored_bytes: int = 20 * 10**9
    """Maximum size of ``home`` (``LORA_LAB_MAX_GB``); runs that would exceed it are not queued."""

    track: tuple[str, ...] = ()
    """Trackers that get every run when it ends (``LORA_LAB_TRACK``), each as its kind and address, as in
    ``tensorboard:FOLDER``; see :mod:`core.tracking.tracking`."""

    track_seconds: float = 3.0
    """Interval at which runs are looked for that have ended, to be written to trackers."""

    @classmethod
    def from_environment(cls, home: Path | None = None) -> Settings:
        """Read ``LORA_LAB_HOME``, ``LORA_LAB_DATA``, ``LORA_LAB_MAX_GB``, ``LORA_LAB_EXECUTOR`` and ``LORA_LAB_TRACK``.

        Args:
            home: overrides ``LORA_LAB_HOME``.

        Raises:
            SpecError: ``LORA_LAB_MAX_GB`` is not a positive number.
            HomeError: the path of a folder names an unknown user or contains a loop of links.
        """
        folder = home or os.environ.get("LORA_LAB_HOME") or platformdirs.user_data_dir("lora-lab")
        data = os.environ.get("LORA_LAB_DATA")
        return cls(
            home=_resolved("LORA_LAB_HOME", folder),
            data_folder=_resolved("LORA_LAB_DATA", data) if data else None,
            executor=os.environ.get("LORA_LAB_EXECUTOR") or cls.executor,
            max_stored_bytes=_bytes_allowed(os.environ.get("LORA_LAB_MAX_GB")) or cls.max_stored_bytes,
            track=tuple(filter(None, map(str.strip, os.environ.get("LORA_LAB_TRACK", "").split(",")))),
        )

    def make_home(self) -> None:
        """Create the home folder if it does not exist. Raises: HomeError: it cannot be created or written to."""
        cause = "it cannot be written to"
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            usable = os.access(self.home, os.W_OK | os.X_OK)
        except OSError as error:
            usable, cause = False, error.strerror or str(error)
        if not usable:
            raise HomeError(
                f"The folder {self.home} cannot be used ({cause}): set LORA_LAB_HOME to a folder that is writable."
            )

    @property
    def datasets(self) -> Path:
        """Folder of downloaded and uploaded datasets."""
        return self.home / "datasets"

    @property
    def networks(self) -> Path:
        """Folder with one folder per imported network, named by its digest."""
        return self.home / "networks"

    @property
    def runs(self) -> Path:
        """Folder with one folder per run."""
        return self.home / "runs"

    @property
    def processes(self) -> Path:
        """Folder with a lock file per process that has ``home`` open."""
        return self.home / "owners"

    @property
    def backups(self) -> Path:
        """Folder of backups of the store."""
        return self.home / "backups"

    @property
    def tracking(self) -> Path:
        """Folder with a lock per tracker that was written."""
        return self.home / "tracking"

    @property
    def store(self) -> Path:
        """The SQLite file of all runs."""
        return self.home / "lab.sqlite3"


def _resolved(variable: str, folder: str | Path) -> Path:
    try:
        return Path(folder).expanduser().resolve()
    except RuntimeError as error:  # an unknown user after ~, or a loop of links
        raise HomeError(f"{variable} cannot be {str(folder)[:200]!r} ({str(error).rstrip('.')}).") from error


def _bytes_allowed(gigabytes: str | None) -> int | None:
    """The value of ``LORA_LAB_MAX_GB`` in bytes; None if it is not set."""
    if not gigabytes:
        return None
    try:
        allowed = float(gigabytes)
    except ValueError:
        allowed = 0.0
    if not 0 < allowed < 1e9:
        raise SpecError(f"LORA_LAB_MAX_GB must be a number of gigabytes above 0, not {gigabytes[:60]!r}.")
    return max(1, int(allowed * 10**9))


def available_devices() -> list[str]:
    """Devices that this machine can train on, the fastest first; always includes ``cpu``."""
    devices = []
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def check_device(wish: str, devices: Sequence[str]) -> None:
    """Check that there is a device.

    Args:
        wish: ``auto`` for the fastest device, or ``cuda``, ``mps`` or ``cpu``.
        devices: those that there are.

    Raises:
        DeviceError: there is no such device.
    """
    if wish not in ("auto", *devices):
        raise DeviceError(f"This machine has no {wish} device; choose one of: {', '.join(devices)}.")


def choose_device(wish: str) -> torch.device:
    """The torch device to train on.

    Args:
        wish: ``auto`` for the fastest device, or ``cuda``, ``mps`` or ``cpu``.

    Raises:
        DeviceError: this machine has no such device.
    """
    devices = available_devices()
    if wish == "auto":
        return torch.device(devices[0])
    check_device(wish, devices)
    return torch.device(wish)


def device_name(device: torch.device) -> str:
    """Readable name of a device, as in ``cuda (NVIDIA H100)``."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type
