"""The SQLite file under the store: its connections, its transactions, and its tables brought up to this version."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from core.errors import StoreDamagedError, StoreError, StoreGoneError
from core.store.schema import TABLES, UPGRADES, VERSION

BUSY_SECONDS = 30.0
"""How long a transaction waits for those of other threads and processes."""

RESTORE = "`python -m core restore` makes it anew from the folders of the runs, and keeps the damaged file"


class Database:
    """One file that several processes may use at once; any thread may call any method."""

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        """Open the file, or make it.

        Args:
            path: of the file.
            busy_seconds: how long a transaction waits for others.

        Raises:
            StoreError: the file is damaged, locked, read-only, or written by a newer version.
        """
        self.path = path
        self._busy_seconds = busy_seconds
        self._idle: list[sqlite3.Connection] = []
        self._identity: tuple[int, int] | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._create()
        except (sqlite3.DatabaseError, OSError) as error:
            self.close()
            raise explained(error, path) from error
        self._identity = _identity(path)

    def _create(self) -> None:
        with self.transaction() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise StoreError(f"{self.path} was written by a newer LoRA Lab: update, or choose another home folder.")
            if version == VERSION:
                return
            scripts = [UPGRADES[old] for old in range(version, VERSION)] if version else [TABLES]
            # One by one: executescript would commit, and two processes may open a new store at once.
            for statement in (part for script in scripts for part in statements(script)):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the connections; the store opens new ones where it is used again."""
        while self._idle:
            self._idle.pop().close()

    def check(self) -> None:
        """See that the store answers.

        Raises:
            StoreError: it is gone, damaged, or cannot be read.
        """
        try:
            self.rows("SELECT count(*) FROM runs WHERE state = 'running'")
        except StoreError:
            raise
        except sqlite3.Error as error:
            raise explained(error, self.path) from error

    def verify(self) -> None:
        """Read the whole store, and see that it is sound; takes a second per some hundred megabytes.

        Raises:
            StoreError: it is damaged, or cannot be read.
        """
        try:
            ((found,),) = self.rows("PRAGMA quick_check(1)")
        except StoreError:
            raise
        except sqlite3.Error as error:
            raise explained(error, self.path) from error
        if found != "ok":
            raise StoreDamagedError(f"{self.path} is damaged ({_line(found)}): {RESTORE}.")

    def copy_to(self, path: Path) -> None:
        """Write a copy of the whole store as it is at one moment, in use or not.

        Raises:
            sqlite3.Error: it cannot be read or written.
            StoreDamagedError: the copy does not hold, so neither does the store.
        """
        with self.connection() as db, closing(sqlite3.connect(path)) as copy:
            db.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise StoreDamagedError(f"{self.path} is damaged ({_line(found)}): stop LoRA Lab; {RESTORE}.")

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

        The dashboard makes a thread for each rerun, so connections pass on instead of staying with a thread.

        Raises:
            StoreGoneError: the file was removed or replaced since it was opened: what is written to it would be lost.
        """
        if self._identity is not None and _identity(self.path) != self._identity:
            raise StoreGoneError(
                f"{self.path} was removed or replaced while LoRA Lab had it open: stop LoRA Lab, put the file back or "
                "run `python -m core restore`, and start again. Runs keep their checkpoints."
            )
        try:
            db = self._idle.pop()
        except IndexError:
            db = self._connect()
        try:
            yield db
        finally:
            if db.in_transaction:  # something failed; on a full disk SQLite itself may have rolled back
                db.execute("ROLLBACK")
            self._idle.append(db)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
        except BaseException:
            db.close()
            raise
        return db


def statements(script: str) -> Iterator[str]:
    """The statements of a script, each as a whole; a trigger has semicolons inside."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \n;"):
                yield statement
            statement = ""


def explained(error: Exception, path: Path) -> StoreError:
    """Why a store cannot be used, and what to do: one sentence, told apart by cause."""
    code = getattr(error, "sqlite_errorcode", None)
    match code & 0xFF if code is not None else None:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreError(
                f"{path} is locked by another program: close what has it open, such as a database browser or a "
                "backup, and start again. Nothing is wrong with the file."
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return _unwritable(path)
        case sqlite3.SQLITE_FULL:
            return StoreError(f"{path} cannot be written, for the disk is full: free some space, and start again.")
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return StoreDamagedError(f"{path} is damaged ({error}): {RESTORE}.")
    if isinstance(error, OSError):
        return _unwritable(path, error)
    return StoreError(f"{path} cannot be used ({error}): see that the disk is sound; {RESTORE}.")


def _unwritable(path: Path, error: OSError | None = None) -> StoreError:
    reason = f" ({error.strerror})" if error is not None and error.strerror else ""
    return StoreError(
        f"{path} cannot be written{reason}: see that its folder and disk are there and not read-only, or choose "
        "another home folder with LORA_LAB_HOME."
    )


def _line(text: str) -> str:
    """The first line that says something, of what SQLite found."""
    return next((line for line in text.splitlines() if line and not line.startswith("***")), text)


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of its name; None where there is none."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_dev, state.st_ino
