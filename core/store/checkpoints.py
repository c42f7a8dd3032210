"""Checkpoint files, in the folders of their runs.

Every checkpoint has a unique name, and the store records which one is valid. If a process dies after writing a file and
before recording it, the previous checkpoint stays valid.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from pathlib import Path

from core.errors import CheckpointError
from core.files import write_atomically
from core.training.checkpoint import checkpoint_of

log = logging.getLogger(__name__)

PREFIX = "checkpoint-"


def write_checkpoint(folder: Path, step: int, content: bytes) -> tuple[str, str]:
    """Write a checkpoint beside existing ones. Returns: its file name and SHA-256. Raises: OSError."""
    name = f"{PREFIX}{step}-{secrets.token_hex(4)}.safetensors"
    return name, write_atomically(folder / name, content)


def step_of(name: str) -> int:
    """The step after which the checkpoint of this name was made."""
    return int(name.split("-")[1])


def read_checkpoint(folder: Path, name: str, sha256: str) -> bytes:
    """Read a checkpoint that :func:`write_checkpoint` wrote.

    Raises:
        CheckpointError: it is missing, damaged, or of another version.
        OSError: it cannot be read now, which says nothing about its content.
    """
    try:
        content = (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError("Its checkpoint is missing.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError("Its checkpoint is damaged.")
    checkpoint_of(content)
    return content


def tidy(folder: Path, keep: str | None = None, parts: bool = False) -> None:
    """Remove a run's checkpoints except one.

    Args:
        folder: of the run.
        keep: name of the checkpoint to keep.
        parts: whether to remove incomplete temporary files as well.
    """
    for path in [*folder.glob(f"{PREFIX}*"), *(folder.glob(".*.part") if parts else [])]:
        if path.name != keep:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s could not be removed: %s", path, error)
