"""The copy of all that the store knows of a run, as one file in the run's folder: ``run.safetensors``.

The store can be made anew from these files; see :mod:`core.store.restore`. The header of the file is JSON, so what a
run was can be read without LoRA Lab; the tensors are its curve.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from core.errors import RunFileError

NAME = "run.safetensors"
"""Of the file."""

FORMAT = "lora-lab-run-1"
KEY = "run"
"""Of the JSON in the file's metadata. One key only: the library writes several in no fixed order."""

MAX_HEADER = 2**26
"""Bytes of the header; the longest that a run can have is a traceback."""

COLUMNS = (
    "id",
    "spec",
    "state",
    "created",
    "started",
    "ended",
    "cause",
    "traceback",
    "result",
    "step",
    "steps",
    "seconds",
    "rate",
    "resumed_step",
    "resumed_seconds",
    "archived",
    "note",
    "changes",
)
"""Of the store's table of runs; what is not here follows from the spec."""

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class RunFile:
    """What the store knows of one run."""

    row: dict[str, Any]
    """Values of :data:`COLUMNS`."""
    experiment: dict[str, Any] | None
    """Id, name, moment and base of the experiment that it belongs to."""
    tags: list[str]
    files: dict[str, str]
    """Names of its other files, with the SHA-256 of each."""
    log: list[tuple[float, str]]
    transitions: list[tuple[float, str]]
    curve: dict[str, Array] = field(default_factory=dict)
    """``first`` and ``count`` (n,) of each report of losses; ``loss`` and ``seconds`` (steps,); ``epochs`` (m, 9)."""

    @property
    def id(self) -> str:
        """Of the run."""
        return str(self.row["id"])

    @property
    def changes(self) -> int:
        """How often the run had changed: of two files of one run, the one with more is later."""
        return int(self.row["changes"])

    def to_bytes(self) -> bytes:
        """The file; :func:`run_file_of` reads it."""
        about = asdict(self)
        del about["curve"]
        text = json.dumps({"format": FORMAT, "sha256": _digest(about, self.curve), "about": about}, sort_keys=True)
        return safetensors.numpy.save(self.curve, metadata={KEY: text})


def run_file_of(content: bytes) -> RunFile:
    """The file that :meth:`RunFile.to_bytes` wrote.

    Raises:
        RunFileError: it is cut short, damaged, or of a newer version.
    """
    try:
        about = _about(content)
        file = RunFile(**about["about"], curve=safetensors.numpy.load(content))
        sound = about["sha256"] == _digest(about["about"], file.curve) and set(file.row) == set(COLUMNS)
    except (safetensors.SafetensorError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunFileError("This is no copy of a run, or it is damaged.") from error
    if not sound or {len(file.curve["loss"]), len(file.curve["seconds"])} != {int(file.curve["count"].sum())}:
        raise RunFileError("This copy of a run is damaged.")
    return file


def read_run_file(folder: Path) -> RunFile:
    """The file in a run's folder.

    Raises:
        RunFileError: there is none, it cannot be read, it is damaged, or it is another run's.
    """
    try:
        file = run_file_of((folder / NAME).read_bytes())
    except OSError as error:
        raise RunFileError(f"{folder.name} has no copy of its run that can be read ({error.strerror}).") from error
    if file.id != folder.name:
        raise RunFileError(f"{folder.name} holds the copy of another run, {file.id:.40}.")
    return file


def changes_in(folder: Path) -> int:
    """:attr:`RunFile.changes` of the file in a run's folder, by its header alone; -1 where there is none to read."""
    try:
        with (folder / NAME).open("rb") as file:
            start = file.read(8)
            start += file.read(min(int.from_bytes(start, "little"), MAX_HEADER))
        return int(_about(start)["about"]["row"]["changes"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RunFileError):
        return -1


def _about(content: bytes) -> dict[str, Any]:
    """The JSON in the header. Raises: RunFileError: of a newer version; ValueError and its like: it is damaged."""
    header = json.loads(content[8 : 8 + min(int.from_bytes(content[:8], "little"), MAX_HEADER)])
    about: dict[str, Any] = json.loads(header["__metadata__"][KEY])
    if about["format"] != FORMAT:
        raise RunFileError(f"This copy of a run has format {about['format']!r:.40}: a newer LoRA Lab wrote it.")
    return about


def _digest(about: dict[str, Any], curve: dict[str, Array]) -> str:
    """SHA-256 of everything in a file."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(curve):
        digest.update(np.ascontiguousarray(curve[name]).tobytes())
    return digest.hexdigest()
