"""Opening the store of a home folder, with the one way back if it is lost or damaged.

It comes back from the latest sound backup, and runs that are newer from their folders. The new store is made beside the
old one and moved into its place when it is complete. What was there is kept in ``damaged``.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from filelock import Timeout

from core.errors import RunFileError, StoreDamagedError, StoreError
from core.files import write_atomically
from core.numbers import counted
from core.store.backups import backups_in, lock
from core.store.database import store_error
from core.store.deletions import Deletions
from core.store.record import RUN_ID
from core.store.run_file import put, read_run_file
from core.store.store import Store

log = logging.getLogger(__name__)

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
    if not known.keys() >= set(adopted):
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
    """Copy the latest sound backup. Returns: its path; None without a copy where there is none. Raises: OSError."""
    for backup in [*backups_in(backups), None]:
        for end in ENDS:
            part.with_name(part.name + end).unlink(missing_ok=True)
        with suppress(OSError, StoreError):  # one that cannot be read, or is of a version that this one does not open
            if backup and write_atomically(part, backup.read_bytes()) and not _fault(part, backups):
                return backup
    return None
