"""Checkpoint files, in the folders of their runs, and which of them are valid, in the store.

Every checkpoint has a unique name, and the store records which one is valid. If a process dies after writing a file and
before recording it, the previous checkpoint stays valid.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from core.errors import CheckpointError
from core.files import write_atomically
from core.store.database import Database
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


class KeptCheckpoints(Database):
    """The valid checkpoints of runs. Every method is one transaction."""

    def checkpoint(self, id: str) -> tuple[str, str] | None:
        """Name and SHA-256 of a run's valid checkpoint, if it has one."""
        query = f"SELECT name, sha256 FROM files WHERE run = ? AND name LIKE '{PREFIX}%'"  # noqa: S608
        return next(((row["name"], row["sha256"]) for row in self.rows(query, id)), None)

    def checkpoint_steps(self, ids: Sequence[str]) -> dict[str, int]:
        """The steps of the checkpoints of those of these runs that have one."""
        marks = ", ".join("?" * len(ids))
        query = f"SELECT run, name FROM files WHERE name LIKE '{PREFIX}%' AND run IN ({marks})"  # noqa: S608
        return {row["run"]: step_of(row["name"]) for row in self.rows(query, *ids)}

    def stopped_checkpoints(self) -> dict[str, str]:
        """Names of the checkpoints of stopped runs by run id, those of archived ones and the oldest first."""
        query = (
            f"SELECT id, name FROM runs JOIN files ON run = id WHERE state = 'stopped' AND name LIKE '{PREFIX}%'"  # noqa: S608
            " ORDER BY archived DESC, ended"
        )
        return {row["id"]: row["name"] for row in self.rows(query)}

    def drop_checkpoint(self, id: str, cause: str) -> bool:
        """Forget the checkpoint of a stopped run, with a line in its log. Returns: whether there was one."""
        with self.transaction() as db:
            stopped = db.execute("SELECT 1 FROM runs WHERE id = ? AND state = 'stopped'", (id,)).fetchone()
            if stopped is None or not checkpoint_step(db, id):
                return False
            drop_checkpoint(db, id)
            db.execute("INSERT INTO log VALUES (?, ?, ?)", (id, time.time(), cause))
            return True


def checkpoint_step(db: sqlite3.Connection, id: str) -> int:
    """The step of a run's checkpoint; 0 if it has none."""
    row = db.execute(f"SELECT name FROM files WHERE run = ? AND name LIKE '{PREFIX}%'", (id,)).fetchone()  # noqa: S608
    return step_of(row["name"]) if row else 0


def drop_checkpoint(db: sqlite3.Connection, id: str) -> None:
    """Forget a run's checkpoint."""
    db.execute(f"DELETE FROM files WHERE run = ? AND name LIKE '{PREFIX}%'", (id,))  # noqa: S608
