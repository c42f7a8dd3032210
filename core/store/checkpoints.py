"""Checkpoint files, in the folders of their runs.

Every checkpoint has a name of its own: the store says which one counts, so a process that dies between
moving a file into place and telling the store leaves the one before as good as it was.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from pathlib import Path

from core.errors import CheckpointError
from core.files import write_atomically
from core.training.checkpoint import Checkpoint, checkpoint_of

log = logging.getLogger(__name__)

PREFIX = "checkpoint-"


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> tuple[str, str]:
    """Write a checkpoint beside those that are there; gives its name and its SHA-256. Raises: OSError."""
    name = f"{PREFIX}{checkpoint.position.step}-{secrets.token_hex(4)}.safetensors"
    return name, write_atomically(folder / name, checkpoint.to_bytes())


def step_of(name: str) -> int:
    """The step that a checkpoint of this name was made after."""
    return int(name.split("-")[1])


def read_checkpoint(folder: Path, name: str, sha256: str) -> Checkpoint:
    """The checkpoint that :func:`write_checkpoint` wrote.

    Raises:
        CheckpointError: it is gone, or not as it was written.
    """
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise CheckpointError(f"Its checkpoint cannot be read ({error.strerror or error}).") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError("Its checkpoint is damaged.")
    return checkpoint_of(content)


def tidy(folder: Path, keep: str | None = None, parts: bool = False) -> None:
    """Remove a run's checkpoints but one.

    Args:
        folder: of the run.
        keep: name of the one that stays.
        parts: whether to remove as well what a process has left half written.
    """
    for path in [*folder.glob(f"{PREFIX}*"), *(folder.glob(".*.part") if parts else [])]:
        if path.name != keep:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s could not be removed: %s", path, error)
