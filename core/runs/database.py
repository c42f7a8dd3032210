"""The SQLite file under the store: its connections, its transactions, and its tables brought up to this version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import LabError
from core.runs.schema import TABLES, UPGRADES, VERSION


class Database:
    """One file that several processes may use at once; any thread may call any method."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            LabError: the file is not a store, or a newer version wrote it.
        """
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._create()
        except sqlite3.DatabaseError as error:
            raise LabError(f"{path} is not a store of runs ({error}): move it away, and a new one is made.") from error

    def _create(self) -> None:
        with self.transaction() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise LabError(f"{self.path} was written by a newer LoRA Lab: update, or choose another home folder.")
            scripts = [UPGRADES[old] for old in range(version, VERSION)] if version else [TABLES]
            # One by one: executescript would commit, and two processes may open a new store at once.
            for statement in (part for script in scripts for part in script.split(";") if part.strip()):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the connections; the store opens new ones where it is used again."""
        while self._idle:
            self._idle.pop().close()

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """What a query finds."""
        with self.connection() as db:
            return db.execute(query, values).fetchall()

    @contextmanager
    def transaction(self, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction that is rolled back where anything fails, its own end included.

        Args:
            durable: whether it also outlives a power cut; any outlives the process.
        """
        with self.connection() as db:
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else uses meanwhile.

        The dashboard makes a thread a rerun, so connections pass on instead of staying with a thread.
        """
        try:
            db = self._idle.pop()
        except IndexError:
            db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
        try:
            yield db
        finally:
            if db.in_transaction:  # something failed; on a full disk SQLite itself may have rolled back
                db.execute("ROLLBACK")
            self._idle.append(db)
