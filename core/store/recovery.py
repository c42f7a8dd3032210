"""Opening the store of a home folder, with the one way back if it is lost or damaged, and the backups for that.

Backups of the whole store are made and checked by SQLite. A lost store comes back from the latest sound one, and runs
that are newer from their folders. The new store is made beside the old one and moved into its place when it is
complete. What was there is kept in ``damaged``.
"""

from __future__ import annotations

import filecmp
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core.errors import LabError, RunFileError, StoreDamagedError, StoreError
from core.files import write_atomically
from core.numbers import counted
from core.store.checkpoints import tidy
from core.store.database import store_error
from core.store.deletions import Deletions
from core.store.record import RUN_ID
from core.store.run_file import put, read_run_file
from core.store.store import Store

log = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
"""Minimum interval between two backups of what need not be in one at once; the store is written back as often."""

SHARE = 0.02
"""Maximum share of the time spent on these backups: those of a large store become less frequent."""

LOCK_SECONDS = 30.0
"""Maximum time that a process waits for another one that makes a backup or restores the store."""

KEPT_LATEST = 3
"""Number of latest backups that are kept at any age."""

KEPT_DAYS = 7
"""Number of past days whose last backup is kept."""

NAME = "lab-%Y%m%d-%H%M%S.sqlite3"

COPY_PART = ".lab-new.part"
"""Name of a backup that is being made. What a process leaves that dies meanwhile, the next one removes."""


class Backups:
    """The backups of one home folder. Any thread may call any method."""

    def __init__(self, store: Store, folder: Path) -> None:
        """Args: store: what to back up; folder: where to keep the backups."""
        self._store = store
        self._folder = folder
        self._known: tuple[Any, ...] | None = None
        """What :meth:`_changes` returned for the latest backup of this process."""
        self._seconds = 0.0
        """Duration of that backup."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="backups", daemon=True)

    def start(self) -> None:
        """Make a backup, and others whenever something has changed, in a background thread."""
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Make a last backup if something has changed; wait some seconds for it."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout))

    def at_once(self, if_changed: bool = False) -> None:
        """Make a backup now; if it fails, as on a full disk, that is logged, and earlier ones stay.

        Args:
            if_changed: whether to do nothing if only losses and epochs have come since the latest one.
        """
        try:
            if not if_changed or self._changes() != self._known:
                self.make()
        except (OSError, sqlite3.Error, LabError, ValueError) as error:
            log.warning("The store of runs could not be backed up: %s", error)

    def make(self) -> Path | None:
        """Make a backup, unless nothing has changed since the latest one. Returns: the file, or None.

        Raises:
            OSError, sqlite3.Error, ValueError: the store cannot be read, or the backup cannot be written.
            StoreError: the store is damaged.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        # One after the other, also in other processes: the later of two has everything that the earlier one has.
        with lock(self._folder):
            start, changes, now = time.monotonic(), self._changes(), datetime.now()
            part, latest = self._folder / COPY_PART, next(iter(backups_in(self._folder)), None)
            try:
                part.unlink(missing_ok=True)
                part.touch()  # with the permissions that the umask leaves, as SQLite does not
                self._store.copy_to(part)
                is_new = latest is None or not filecmp.cmp(part, latest, shallow=False)
                if latest is not None:  # has the last name, also where the clock was put back
                    now = max(now, datetime.strptime(latest.name, NAME) + timedelta(seconds=1))
                path = self._folder / now.strftime(NAME)
                if is_new:
                    with part.open("rb+") as file:
                        os.fsync(file.fileno())
                    os.replace(part, path)
                    self._thin_out(now)
            finally:
                part.unlink(missing_ok=True)
            self._known, self._seconds = changes, time.monotonic() - start
        return path if is_new else None

    def _thin_out(self, now: datetime) -> None:
        """Remove all backups but the latest few and the last one of each day of the past week."""
        days = {(now - timedelta(days)).strftime("%Y%m%d") for days in range(KEPT_DAYS + 1)}
        for path in backups_in(self._folder)[KEPT_LATEST:]:
            day = path.name.split("-")[1]
            if day not in days or path != backups_in(self._folder, day)[0]:
                path.unlink(missing_ok=True)

    def _changes(self) -> tuple[Any, ...]:
        """Numbers that change with everything that a backup is made for, apart from what is in one at once."""
        (row,) = self._store.rows("SELECT count(*), total(changes), (SELECT count(*) FROM members) FROM runs")
        return tuple(row)

    def _work(self) -> None:
        closing = False
        while True:
            self.at_once(if_changed=True)
            with suppress(sqlite3.Error, LabError):  # as on a full disk, which pages say
                self._store.write_back()
            if closing:
                return
            closing = self._closing.wait(max(EVERY_SECONDS, self._seconds / SHARE))


def backups_in(folder: Path, day: str = "????????") -> list[Path]:
    """All backups, the latest first. Args: day: whose backups, as in ``20301231``."""
    return sorted(folder.glob(f"lab-{day}-??????.sqlite3"), reverse=True)


def lock(folder: Path) -> FileLock:
    """A lock to be held while a backup is made or the store is restored. Args: folder: of the backups."""
    return FileLock(folder / "lock", timeout=LOCK_SECONDS)


PART = ".lab.sqlite3.part"
"""Name of a store that is being restored."""

ENDS = ("-wal", "-shm", "")
"""What the names of the files of a store end in."""


def open_store(path: Path, backups: Path, is_used: Callable[[], bool]) -> tuple[Store, str]:
    """Open a store; restore it if it is lost or damaged.

    Args:
        path: of the store.
        backups: folder of its backups.
        is_used: whether another process has it open.

    Returns:
        The store, and what came back in words, empty where the store was sound.

    Raises:
        StoreError: it cannot be used or restored, or is lost or damaged and another process has it open.
    """
    try:
        said = ""
        if _fault(path, backups):
            if is_used():
                raise StoreDamagedError(
                    f"{path} is lost or damaged, and LoRA Lab is running on it: stop LoRA Lab, then start it again."
                )
            backups.mkdir(parents=True, exist_ok=True)
            with lock(backups):
                if fault := _fault(path, backups):  # unless another process was quicker
                    said = _restore(path, backups, fault)
        return Store(path), said
    except StoreError:
        raise
    except Timeout as error:
        raise StoreError(f"{path} is being restored by another process: try again in a minute.") from error
    except (OSError, sqlite3.Error) as error:
        raise store_error(error, path) from error


def adopt(store: Store, home: Path) -> str:
    """Bring a store up to date with folders of runs that are newer, as after an older store was put back.

    Args:
        store: of the home folder, or what is to become that.
        home: has the folders of runs, and the record of deleted ones.

    Returns:
        What came back in words; empty if nothing did.

    Raises:
        sqlite3.Error: the store cannot be written.
    """
    folders = sorted(home.glob("runs/r-*/"))  # read first: a run is stored before its folder is made
    known = {row["id"]: row["state"] for row in store.rows("SELECT id, state FROM runs")}
    over = Deletions(home).names() | {id for id, state in known.items() if state == "finished"}
    adopted = []
    for folder in (folder for folder in folders if RUN_ID.fullmatch(folder.name) and folder.name not in over):
        try:
            rows = read_run_file(folder)
            with store.transaction() as db:
                row = db.execute("SELECT changes FROM runs WHERE id = ?", (folder.name,)).fetchone()
                if row is None or row["changes"] < rows["runs"][0]["changes"]:
                    put(db, rows)
                    adopted.append(folder.name)
        except RunFileError as error:
            if folder.name not in known:
                log.warning("%s It stays as it is.", error)
    if not adopted:
        return ""
    for name in adopted:
        kept = store.checkpoint(name)
        tidy(home / "runs" / name, kept[0] if kept else None, parts=True)
    _doubt_looks(store)
    return f"What the store lacked of {counted(len(adopted), 'run')} came back from the folders in runs."


def _doubt_looks(store: Store) -> None:
    """Record that looks may be missing, which then count as spent; see :meth:`core.store.looks.Looks.are_kept`."""
    with store.transaction() as db:
        db.execute("UPDATE experiments SET keeps_looks = 0")


def _fault(path: Path, backups: Path) -> str:
    """What is wrong with a store that is to be restored; empty if it is sound or new. Raises: OSError, StoreError."""
    if not (path.exists() and path.stat().st_size):
        return "missing or empty" if backups_in(backups) or any(path.parent.glob("runs/r-*/")) else ""
    try:
        with closing(Store(path)) as store:
            store.verify()
    except StoreDamagedError as error:
        log.warning("%s", error)
        return "damaged"
    return ""


def _restore(path: Path, backups: Path, fault: str) -> str:
    """Restore a store. Returns: what came back, in words. Raises: OSError, sqlite3.Error, StoreError."""
    part = path.with_name(PART)
    source = _copy_of_backup(part, backups)
    with closing(Store(part)) as store:
        _doubt_looks(store)
        adopted = adopt(store, path.parent)
        with store.transaction() as db:
            Deletions(path.parent).finish(db)
        store.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    aside = path.parent / "damaged" / time.strftime("%Y%m%d-%H%M%S")
    for old in (path.with_name(path.name + end) for end in ENDS):  # the log of one store would damage another
        if old.exists():
            aside.mkdir(parents=True, exist_ok=True)
            os.replace(old, aside / old.name)
    os.replace(part, path)
    origin = f"the backup {source.name}" if source else "the folders of runs, since there was no sound backup"
    said = f"{path.name} was {fault}, and was restored from {origin}. {adopted}".strip()
    log.warning("%s", said)
    return said


def _copy_of_backup(part: Path, backups: Path) -> Path | None:
    """Copy the latest sound backup.

    Returns:
        Its path; None, with an empty copy, where there is none.

    Raises:
        OSError: the copy cannot be written.
        StoreError: the backup is of a version that this one does not open, so that something would be lost.
    """
    for backup in [*backups_in(backups), None]:
        for end in ENDS:
            part.with_name(part.name + end).unlink(missing_ok=True)
        try:
            content = backup.read_bytes() if backup else b""
        except OSError as error:
            log.warning("%s cannot be read: %s", backup, error)
            continue
        write_atomically(part, content)  # no earlier backup takes its place only because the disk is full
        if backup is None or not _fault(part, backups):
            return backup
    return None
