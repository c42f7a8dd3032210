"""Deleting runs: their rows, their folders, and the record of their ids, by which they stay deleted.

An id is recorded before the store lets go of its rows. If a process dies afterwards, the next start completes the
deletion, and it does so again when an older store or a backup brings the run back.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

NAMES = "runs.txt"
"""Name of the file with the ids of all deleted runs, one per line."""


class Deletions:
    """The record of deleted runs in one home folder, and their folders."""

    def __init__(self, home: Path) -> None:
        """Args: home: contains ``runs``, with one folder per run."""
        self._runs = home / "runs"
        self._folder = home / "deleted"

    def names(self) -> set[str]:
        """Ids of runs that were deleted."""
        path = self._folder / NAMES
        return set(path.read_text(encoding="ascii", errors="replace").split()) if path.exists() else set()

    def record(self, ids: Iterable[str]) -> None:
        """Record that runs are deleted. Raises: OSError: it cannot be written; some may be recorded."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / NAMES).open("a", encoding="ascii") as file:
            file.write("\n".join(["", *ids, ""]))  # begins with the end of a line that a full disk has cut
            file.flush()
            os.fsync(file.fileno())

    def purge(self, ids: Iterable[str]) -> None:
        """Remove the folders of runs. What is in use, as by a program on Windows, the next start removes."""
        for id in ids:
            shutil.rmtree(self._runs / id, ignore_errors=True)
            if (self._runs / id).exists():
                log.warning("%s could not be removed; the next start tries again.", self._runs / id)

    def finish(self, db: sqlite3.Connection) -> None:
        """Complete the deletions of processes that died. Args: db: in a transaction, so that nobody else deletes."""
        names = self.names()
        remove(db, [row["id"] for row in db.execute("SELECT id FROM runs").fetchall() if row["id"] in names])
        self.purge(id for id in names if (self._runs / id).exists())


def remove(db: sqlite3.Connection, ids: Sequence[str]) -> None:
    """Remove all rows of these runs, and experiments that have no runs left."""
    clear(db, ids)
    db.execute("DELETE FROM experiments WHERE id NOT IN (SELECT experiment FROM members)")
    db.execute(
        "DELETE FROM looks WHERE NOT EXISTS (SELECT 1 FROM experiments WHERE id = looks.experiment)"
        " AND NOT EXISTS (SELECT 1 FROM judged WHERE id = looks.experiment)"
    )


def leave(db: sqlite3.Connection, experiment: str, ids: Sequence[str]) -> None:
    """Take runs out of an experiment, each of which another experiment has, too."""
    for id in ids:
        db.execute("DELETE FROM members WHERE experiment = ? AND run = ?", (experiment, id))
        other = "(SELECT min(experiment) FROM members WHERE run = runs.id)"
        db.execute(f"UPDATE runs SET experiment = {other} WHERE id = ? AND experiment = ?", (id, experiment))  # noqa: S608


def clear(db: sqlite3.Connection, ids: Sequence[str]) -> None:
    """Remove all rows of these runs, from every table that has a column for the run."""
    of_runs = "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
    for table in [row["name"] for row in db.execute(f"{of_runs} AND c.name = 'run'")]:
        db.executemany(f"DELETE FROM {table} WHERE run = ?", [(id,) for id in ids])  # noqa: S608
    db.executemany("DELETE FROM runs WHERE id = ?", [(id,) for id in ids])
