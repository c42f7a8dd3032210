"""Copies of what the store knows, one in each run's folder, kept up to date by a thread of their own."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
from collections.abc import Collection, Sequence
from pathlib import Path

from core.errors import LabError, RunFileError
from core.files import write_atomically
from core.store.run_file import NAME, changes_in, read_run_file
from core.store.snapshot import put, snapshot
from core.store.store import Store

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""Between two looks for runs that have changed."""

BATCH = 64
"""Runs that are copied at one look: a process that closes waits no longer than for these."""


class Copies:
    """Writes the copies. Any thread may ask for one."""

    def __init__(self, store: Store, runs: Path, owner: str) -> None:
        """Args:
        store: what is copied.
        runs: with one folder per run.
        owner: name of this process.
        """
        self._store = store
        self._runs = runs
        self._owner = owner
        # Not in the runs' folders: what a dead process has left half written is found at one place.
        self._staging = runs.with_name("staging") / owner
        self._saving = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="copies", daemon=True)

    def start(self, living: Collection[str]) -> None:
        """Remove what dead processes left half written, and begin to copy what changes.

        Args:
            living: names of the processes that have the home folder open.
        """
        if self._staging.parent.is_dir():
            for folder in self._staging.parent.iterdir():
                if folder.name not in living:
                    shutil.rmtree(folder, ignore_errors=True)
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Copy what has changed last, and end; what is left is copied at the next start."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        shutil.rmtree(self._staging, ignore_errors=True)

    def save(self, ids: Sequence[str]) -> None:
        """Copy these runs now; ids that the store does not know are left out.

        A folder that knows more than the store, as after an older store was put back, is believed instead.

        Raises:
            OSError: a file cannot be written.
            sqlite3.Error: the store cannot be read or written.
        """
        for id in ids:
            with self._saving:
                self._save(id)

    def save_changed(self, limit: int = BATCH) -> int:
        """Copy runs that have changed since they were copied; gives their number. Raises: as of :meth:`save`."""
        query = "SELECT id FROM runs WHERE copied < changes ORDER BY created LIMIT ?"
        ids = [row["id"] for row in self._store.rows(query, limit)]
        if ids:
            self.save(ids)
        return len(ids)

    def catch_up(self, ids: Sequence[str]) -> list[str]:
        """Make the store know what the folders of these runs know beyond it; gives those that it had to be told of.

        Raises:
            sqlite3.Error: the store cannot be written.
        """
        # The folders first: a copy is never ahead of a store that is read after it, unless the store is an older one.
        copied = {id: changes_in(self._runs / id) for id in ids}
        known = {row["id"]: row["changes"] for row in self._store.rows("SELECT id, changes FROM runs")}
        told = []
        for id in (id for id in ids if copied[id] > known.get(id, 0)):
            try:
                file = read_run_file(self._runs / id)
                with self._store.transaction() as db:
                    row = db.execute("SELECT changes FROM runs WHERE id = ?", (id,)).fetchone()
                    if row is None or row["changes"] < file.changes:
                        put(db, file, self._owner)
                        told.append(id)
            except RunFileError as error:
                log.warning("%s", error)
        return told

    def _save(self, id: str) -> None:
        if changes_in(self._runs / id) > self._changes(id) >= 0 and self.catch_up([id]):
            log.warning("The folder of run %s knew more than the store, which was put right.", id)
            return
        with self._store.connection() as db:
            db.execute("BEGIN")
            try:
                file = snapshot(db, id)
            finally:
                db.execute("ROLLBACK")
        if file is None:
            return
        write_atomically(self._runs / id / NAME, file.to_bytes(), self._staging)
        with self._store.transaction() as db:
            # What is there now, not what was written: another process may have put an older state in its place, and
            # whichever comes last finds out here.
            known = db.execute("UPDATE runs SET copied = ? WHERE id = ?", (changes_in(self._runs / id), id)).rowcount
        if not known:  # it was deleted meanwhile, and its folder must not come back
            (self._runs / id / NAME).unlink(missing_ok=True)
            (self._runs / id).rmdir()

    def _changes(self, id: str) -> int:
        rows = self._store.rows("SELECT changes FROM runs WHERE id = ?", id)
        return int(rows[0]["changes"]) if rows else -1

    def _work(self) -> None:
        troubled = False
        while True:
            closing = self._closing.wait(LOOK_SECONDS)
            try:
                while self.save_changed() == BATCH and not self._closing.is_set():
                    pass
                troubled = False
            except (OSError, sqlite3.Error, LabError) as error:
                # A full disk, most likely: training goes on, and what could not be copied is copied later.
                if not troubled and not closing:
                    log.warning("What is known of runs could not be copied into their folders: %s", error)
                troubled = True
            if closing:
                return
