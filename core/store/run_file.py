"""The file ``run.safetensors`` in a run's folder: a copy of all rows of the run in the store.

The store can be rebuilt from these files; see :mod:`core.store.restore`. The file's header is JSON, so it can be read
without LoRA Lab; its tensors are the run's curve.
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
from core.objectives.measure import SOURCE, VALIDATION

NAME = "run.safetensors"
"""Name of the file."""

FORMAT = "lora-lab-run-2"

EPOCH_MEASURE = "epochs."
"""Beginning of the names of tensors that have a measure of each epoch."""

KEY = "run"
"""Key of the JSON in the file's metadata. There is only one key, since safetensors writes several in random order."""

MAX_HEADER = 2**26
"""Maximum number of header bytes that are read."""

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
"""Columns of the store's ``runs`` table that are copied; the others follow from the spec."""

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class RunFile:
    """All rows of one run in the store."""

    row: dict[str, Any]
    """Values of :data:`COLUMNS`."""
    experiment: dict[str, Any] | None
    """Id, name, time of creation, base and plan of the run's experiment, and whether it is trimmed."""
    tags: list[str]
    files: dict[str, str]
    """SHA-256 of each of its other files, by name."""
    log: list[tuple[float, str]]
    transitions: list[tuple[float, str]]
    curve: dict[str, Array] = field(default_factory=dict)
    """``first`` step and ``count`` (n,) of each row of losses; ``loss`` and ``seconds`` (steps,); ``epochs`` (m, 5)
    with the values of :data:`core.store.record.EPOCH_COLUMNS`, and ``epochs.NAME`` (m,) for each measure, NaN where an
    epoch has none."""

    others: list[dict[str, Any]] = field(default_factory=list)
    """The same of each other experiment that has the run."""

    @property
    def id(self) -> str:
        """Id of the run."""
        return str(self.row["id"])

    @property
    def changes(self) -> int:
        """Number of changes of the run so far: of two files of a run, the later one has more."""
        return int(self.row["changes"])

    @property
    def epoch_measures(self) -> dict[str, Array]:
        """Measures of the epochs by name, (m,) each."""
        names = [name for name in self.curve if name.startswith(EPOCH_MEASURE)]
        # In the order of the store: safetensors sorts names.
        order = {VALIDATION: 0, SOURCE: 1}
        names.sort(key=lambda name: order.get(name.removeprefix(EPOCH_MEASURE).partition("_")[0] + "_", 2))
        return {name.removeprefix(EPOCH_MEASURE): self.curve[name] for name in names}

    def to_bytes(self) -> bytes:
        """Serialise; :func:`run_file_of` reads it."""
        about = asdict(self)
        del about["curve"]
        if not self.others:  # as earlier versions wrote it
            del about["others"]
        text = json.dumps({"format": FORMAT, "sha256": _digest(about, self.curve), "about": about}, sort_keys=True)
        return safetensors.numpy.save(self.curve, metadata={KEY: text})


def run_file_of(content: bytes) -> RunFile:
    """Parse a file that :meth:`RunFile.to_bytes` wrote.

    Raises:
        RunFileError: it is truncated, damaged, or of another version.
    """
    try:
        about = _about(content)
        file = RunFile(**about["about"], curve=safetensors.numpy.load(content))
        lengths = {len(file.curve["loss"]), len(file.curve["seconds"])}
        sound = about["sha256"] == _digest(about["about"], file.curve) and set(file.row) == set(COLUMNS)
        sound = sound and lengths == {int(file.curve["count"].sum())}
    except (safetensors.SafetensorError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunFileError("This is not a copy of a run, or it is damaged.") from error
    if not sound:
        raise RunFileError("This copy of a run is damaged.")
    return file


def read_run_file(folder: Path) -> RunFile:
    """Read the file in a run's folder.

    Raises:
        RunFileError: it is missing, cannot be read, is damaged, or belongs to another run.
    """
    try:
        file = run_file_of((folder / NAME).read_bytes())
    except OSError as error:
        raise RunFileError(f"{folder.name} has no readable copy of its run ({error.strerror}).") from error
    if file.id != folder.name:
        raise RunFileError(f"{folder.name} contains the copy of another run, {file.id:.40}.")
    return file


def changes_in(folder: Path) -> int:
    """:attr:`RunFile.changes` of the file in a run's folder, read from its header; -1 if it cannot be read."""
    try:
        with (folder / NAME).open("rb") as file:
            start = file.read(8)
            start += file.read(min(int.from_bytes(start, "little"), MAX_HEADER))
        return int(_about(start)["about"]["row"]["changes"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RunFileError):
        return -1


def _about(content: bytes) -> dict[str, Any]:
    """Parse the JSON in the header. Raises: RunFileError: another version; ValueError, LookupError, ...: damaged."""
    header = json.loads(content[8 : 8 + min(int.from_bytes(content[:8], "little"), MAX_HEADER)])
    about: dict[str, Any] = json.loads(header["__metadata__"][KEY])
    if about["format"] != FORMAT:
        raise RunFileError(f"This copy of a run has format {about['format']!r:.40}: another LoRA Lab wrote it.")
    return about


def _digest(about: dict[str, Any], curve: dict[str, Array]) -> str:
    """SHA-256 of the whole content, the names of measures included."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(curve):
        digest.update(np.ascontiguousarray(curve[name]).tobytes())
    return hashlib.sha256(json.dumps([digest.hexdigest(), *sorted(curve)]).encode()).hexdigest()
