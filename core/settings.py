"""Where LoRA Lab keeps its things, which device it uses, and how much it lets anybody ask of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch

from core.errors import DeviceError, HomeError, SpecError


@dataclass(frozen=True)
class Settings:
    """One process's settings; read once, never changed."""

    home: Path
    """Folder of everything that LoRA Lab writes: the store, run files, downloaded datasets."""

    data_folder: Path | None = None
    """Folder with datasets that are already on this machine (``LORA_LAB_DATA``); only read."""

    max_waiting: int = 1000
    """Runs that may wait in the queue at once."""

    workers: int = 1
    """Threads that train. One is fastest on a small machine: two runs side by side share its cores."""

    threads: int | None = None
    """CPU threads that a bank trains on; None finds the count by a short trial when a bank starts."""

    bank_bytes: int = 2**31
    """Memory that runs which are trained together may take in all, as
    :func:`core.engine.bank_memory.bank_memory` counts it; less where less is free. Banks of the default network take
    below 100 MiB; this lets the networks that take twenty times as much, as 2048-2048, still be trained eight at
    once."""

    checkpoint_seconds: float = 10.0
    """Between two checkpoints of a run in training: what a kill loses at most."""

    hang_seconds: float = 180.0
    """Without a sign of life after which a thread that trains, or a whole process, is taken for gone. The slowest
    step, evaluation or dataset that the limits of a spec allow takes less."""

    settle_seconds: float = 5.0
    """Between two looks for processes that are gone."""

    max_stored_bytes: int = 20 * 10**9
    """Bytes of everything in ``home`` (``LORA_LAB_MAX_GB``); no run is queued that would go beyond."""

    @classmethod
    def from_environment(cls, home: Path | None = None) -> Settings:
        """Settings from ``LORA_LAB_HOME``, ``LORA_LAB_DATA`` and ``LORA_LAB_MAX_GB``.

        Args:
            home: takes the place of ``LORA_LAB_HOME`` where given.

        Raises:
            SpecError: ``LORA_LAB_MAX_GB`` is no number above 0.
            HomeError: a folder is named by way of a person or link that leads nowhere.
        """
        folder = home or os.environ.get("LORA_LAB_HOME") or platformdirs.user_data_dir("lora-lab")
        data = os.environ.get("LORA_LAB_DATA")
        return cls(
            home=_resolved("LORA_LAB_HOME", folder),
            data_folder=_resolved("LORA_LAB_DATA", data) if data else None,
            max_stored_bytes=_bytes_allowed(os.environ.get("LORA_LAB_MAX_GB")) or cls.max_stored_bytes,
        )

    def make_home(self) -> None:
        """Make the home folder where it is not there yet.

        Raises:
            HomeError: it cannot be made, or not be written to.
        """
        cause = "it cannot be written to"
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            usable = os.access(self.home, os.W_OK | os.X_OK)
        except OSError as error:
            usable, cause = False, error.strerror or str(error)
        if not usable:
            raise HomeError(
                f"The folder {self.home} cannot be used ({cause}): name one with LORA_LAB_HOME that can be written to."
            )

    @property
    def datasets(self) -> Path:
        """Folder of downloaded datasets."""
        return self.home / "datasets"

    @property
    def runs(self) -> Path:
        """Folder with one folder a run."""
        return self.home / "runs"

    @property
    def processes(self) -> Path:
        """Folder with a lock for each process that has ``home`` open."""
        return self.home / "owners"

    @property
    def backups(self) -> Path:
        """Folder of copies of the store."""
        return self.home / "backups"

    @property
    def store(self) -> Path:
        """The SQLite file that knows every run."""
        return self.home / "lab.sqlite3"


def _resolved(variable: str, folder: str | Path) -> Path:
    try:
        return Path(folder).expanduser().resolve()
    except RuntimeError as error:  # a home of nobody, or links in a circle
        raise HomeError(f"{variable} cannot be {str(folder)[:200]!r} ({str(error).rstrip('.')}).") from error


def _bytes_allowed(gigabytes: str | None) -> int | None:
    """What ``LORA_LAB_MAX_GB`` says, in bytes; None where it says nothing."""
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
    """Devices that this machine can train on, the fastest first; ``cpu`` is always among them."""
    devices = []
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def choose_device(wish: str) -> torch.device:
    """The device to train on.

    Args:
        wish: ``auto`` for the fastest one, or ``cuda``, ``mps``, ``cpu``.

    Raises:
        DeviceError: this machine has no such device.
    """
    devices = available_devices()
    if wish == "auto":
        return torch.device(devices[0])
    if wish not in devices:
        raise DeviceError(f"This machine has no {wish} device; choose one of: {', '.join(devices)}.")
    return torch.device(wish)


def device_name(device: torch.device) -> str:
    """What a person calls the device, as in ``cuda (NVIDIA H100)``."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type
