"""Which checkpoint of each run is valid, in the store. The files are those of :mod:`core.store.checkpoints`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from core.store.checkpoints import PREFIX, step_of
from core.store.database import Database


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
