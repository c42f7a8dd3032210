"""The SQLite file of the store: connections, transactions and schema upgrades."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import StoreBusyError, StoreDamagedError, StoreError, StoreGoneError
from core.spec import SCHEMA
from core.store.record import spec_of
from core.store.schema import TABLES, UPGRADES, VERSION

BUSY_SECONDS = 30.0
"""Maximum time that a transaction waits for those of other threads and processes."""

FULL_BYTES = 2**20
"""Free bytes below which a disk counts as full where SQLite only says that something could not be written."""

WRITE_BACK = "PRAGMA wal_checkpoint(PASSIVE)"

PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""Errors of an open store that do not mean that it is damaged."""

PARTS = "'$.schema', '$.method.kind', '$.network.kind', '$.objective.kind'"
"""Places in a spec that say which version can read it."""

RESTORE = "stop LoRA Lab, then start it again, and it comes back from its backups and the folders of the runs"


class Database:
    """One file, which several processes may use at once. Any thread may call any method."""

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        """Open the file, creating or upgrading it if necessary.

        Args:
            path: of the file.
            busy_seconds: maximum time that a transaction waits for others.

        Raises:
            StoreError: the file is damaged, locked, read-only, or written by a newer version, or one before 3fc5ed74.
        """
        self.path = path
        self._busy_seconds = busy_seconds
        self._idle: list[sqlite3.Connection] = []
        self._identity: tuple[int, int] | None = None
        self.back_up: Callable[[], None] = lambda: None
        """Called after a transaction that is to be in a backup at once; see :class:`core.store.recovery.Backups`."""
        self._obstacle: str | None = None
        """Why the store could not be used, the last time that it could not; None once it was written again."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # it is there, or SQLite says what is wrong
                path.touch(exist_ok=False)  # SQLite would never let a group write, whatever the umask
            self._create()
        except (sqlite3.DatabaseError, OSError) as error:
            self.close()
            raise store_error(error, path) from error
        except StoreError:
            self.close()
            raise
        self._identity = _identity(path)

    def _create(self) -> None:
        with self.transaction() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise StoreError(f"{self.path} was written by a newer LoRA Lab: update, or choose another home folder.")
            if version == VERSION:
                return
            if version:
                _refuse_older(db, version, self.path)
            scripts = [UPGRADES[old] for old in range(version, VERSION)] if version else [TABLES]
            # One by one: executescript would commit, and two processes may create a store at the same time.
            for statement in (part for script in scripts for part in statements(script)):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")

    def folder(self, run: str) -> Path:
        """Folder of a run's files."""
        return self.path.with_name("runs") / run

    def close(self) -> None:
        """Write back, and close all idle connections; later calls open new ones."""
        if self._idle:
            with suppress(sqlite3.Error):  # all is in the log, and the file may be gone or locked
                self._idle[-1].execute("PRAGMA busy_timeout = 0")
                self._idle[-1].execute(WRITE_BACK)
        while self._idle:
            self._idle.pop().close()

    def check(self) -> None:
        """Check that the store can be read. Raises: StoreError: it is gone, damaged, or cannot be read."""
        self._read("SELECT count(*) FROM runs WHERE state = 'running'")

    @property
    def obstacle(self) -> str | None:
        """Why the store cannot be written now, in a sentence; None if it can, as far as is known."""
        return str(_full(self.path)) if _is_full(self.path.parent) else self._obstacle

    def try_again(self) -> None:
        """Write to the store, if it could not be written, so that it is known when it can. Raises: sqlite3.Error."""
        if self._obstacle:
            with self.transaction() as db:
                db.execute(f"PRAGMA user_version = {VERSION}")
            self._obstacle = None

    def verify(self) -> None:
        """Read the whole store and check that it is intact, and that this version has what its runs are of; takes about
        a second per few hundred megabytes.

        Raises:
            StoreError: it is damaged, cannot be read, or has a run of another version.
        """
        ((found,),) = self._read("PRAGMA quick_check(1)")
        if found != "ok":
            raise StoreDamagedError(f"{self.path} is damaged ({_line(found)}): {RESTORE}.")
        for row in self._read(f"SELECT spec FROM runs GROUP BY json_extract(spec, {PARTS})"):  # noqa: S608 (constants)
            spec_of(row["spec"])

    def _read(self, query: str) -> list[sqlite3.Row]:
        """Like :meth:`rows`, but says what is wrong with a store that cannot be read. Raises: StoreError."""
        try:
            return self.rows(query)
        except StoreError:
            raise
        except sqlite3.Error as error:
            raise store_error(error, self.path) from error

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy of the whole store, even while it is in use.

        Raises:
            sqlite3.Error: the store cannot be read, or the copy cannot be written.
            StoreDamagedError: the copy, and so the store, is damaged.
        """
        with self.connection() as db, closing(sqlite3.connect(path)) as copy:
            db.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise StoreDamagedError(f"{self.path} is damaged ({_line(found)}): {RESTORE}.")

    def write_back(self) -> None:
        """Bring the file up to date with the log beside it, ``-wal``, but for what others still read as it was.

        SQLite itself does so whenever the log has reached 4 MB, for which a quiet lab takes hours. Neither this nor
        what reads or writes meanwhile waits for the other.

        Raises:
            sqlite3.Error: the file cannot be written, as on a full disk.
        """
        self.rows(WRITE_BACK)

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """All rows that a query returns."""
        with self.connection() as db:
            return db.execute(query, values).fetchall()

    @contextmanager
    def transaction(self, durable: bool = False, backed_up: bool = False) -> Iterator[sqlite3.Connection]:
        """Run a transaction, rolled back if anything fails, including its commit.

        Args:
            durable: whether it must survive a power cut; every transaction survives the end of the process.
            backed_up: whether it must survive the loss of the store.
        """
        with self.connection() as db:
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        if backed_up:
            self.back_up()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Borrow a connection that no other thread uses at the same time.

        Connections are pooled, not kept per thread, since the dashboard starts a new thread for each rerun.

        Raises:
            StoreGoneError: the file was removed or replaced since it was opened, so writes to it would be lost.
            StoreBusyError: it cannot be used now, as on a full disk; also where the borrower asks SQLite.
        """
        if self._identity is not None and _identity(self.path) != self._identity:
            raise StoreGoneError(
                f"{self.path} was removed or replaced while LoRA Lab had it open: stop LoRA Lab, put the file back if "
                "you can, and start again. What is lost comes back from backups, and runs keep their checkpoints."
            )
        try:
            with self._borrowed() as db:
                yield db
        except sqlite3.OperationalError as error:
            if isinstance(error, StoreError) or _primary_code(error) not in PASSING:
                raise
            self._obstacle = str(store_error(error, self.path))
            raise StoreBusyError(self._obstacle, error) from error

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        """A connection out of the pool, which takes it back without a transaction."""
        try:
            db = self._idle.pop()
        except IndexError:
            db = self._connect()
        try:
            yield db
        finally:
            if db.in_transaction:  # something failed, and SQLite has not rolled back by itself as on a full disk
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


def _refuse_older(db: sqlite3.Connection, version: int, path: Path) -> None:
    """Raises: StoreError: the store is older than all that can be upgraded, or was, and has specs of then."""
    query = "SELECT EXISTS (SELECT 1 FROM runs WHERE json_extract(spec, '$.schema') < ?)"
    (older,) = db.execute(query, (SCHEMA,)).fetchone()
    if version < min(UPGRADES) or older:
        once, then = ("", "") if older else ("once ", ", then with this one")
        raise StoreError(
            f"{path} was made by a version of LoRA Lab before 2026-12-01 (store version {version}): open it {once}with "
            f"commit 3fc5ed74{then}."
        )


def statements(script: str) -> Iterator[str]:
    """Split a script into complete statements; triggers have semicolons inside."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \n;"):
                yield statement
            statement = ""


def store_error(error: Exception, path: Path) -> StoreError:
    """An error that says why a store cannot be used and what to do, depending on the cause."""
    match _primary_code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreError(
                f"{path} is locked by another program: close the program that has it open, such as a database browser "
                "or a backup, and try again. Nothing is wrong with the file."
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return _unwritable(path)
        case sqlite3.SQLITE_FULL:
            return _full(path)
        case sqlite3.SQLITE_IOERR if _is_full(path.parent):  # as when the file that connections share cannot grow
            return _full(path)
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return StoreDamagedError(f"{path} is damaged ({error}): {RESTORE}.")
    if isinstance(error, OSError):
        return _unwritable(path, error)
    return StoreError(f"{path} cannot be used ({error}): check the disk, then start LoRA Lab again.")


def _primary_code(error: Exception) -> int | None:
    """What kind of error SQLite reports, without details; None for errors of others."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _full(path: Path) -> StoreError:
    return StoreError(f"{path} cannot be written because the disk is full: free some space, and try again.")


def _is_full(folder: Path) -> bool:
    """Whether next to nothing is free on the disk of a folder."""
    try:
        return shutil.disk_usage(folder).free < FULL_BYTES
    except OSError:
        return False


def _unwritable(path: Path, error: OSError | None = None) -> StoreError:
    reason = f" ({error.strerror})" if error is not None and error.strerror else ""
    return StoreError(
        f"{path} cannot be written{reason}: check that its folder and disk exist and are not read-only, or choose "
        "another home folder with LORA_LAB_HOME."
    )


def _line(text: str) -> str:
    """The first informative line of SQLite's report."""
    return next((line for line in text.splitlines() if line and not line.startswith("***")), text)


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file, which change when it is replaced; None if there is no file."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_dev, state.st_ino
