"""Copies of the store's rows, one file in each run's folder, kept up to date by a background thread."""

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

POLL_SECONDS = 0.5
"""Interval between two checks for runs that have changed."""

BATCH = 64
"""Maximum number of runs copied per check; a closing process waits for one batch at most."""


MIN_CLOSE_SECONDS = 0.5
"""Time for the last copies, even if the runs took all the time there was to close."""


class Copies:
    """Writes the copies. Any thread may call any method."""

    def __init__(self, store: Store, runs: Path, owner: str) -> None:
        """Args: store: what to copy; runs: folder with one folder per run; owner: name of this process."""
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
        """Copy the latest changes and end the thread; what remains is copied at the next start."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(max(MIN_CLOSE_SECONDS, timeout))
        shutil.rmtree(self._staging, ignore_errors=True)

    def save(self, ids: Sequence[str]) -> None:
        """Copy these runs now; unknown ids are skipped.

        If a folder is newer than the store, as after an older store was put back, the store is updated instead.

        Raises:
            OSError: a file cannot be written.
            sqlite3.Error: the store cannot be read or written.
        """
        failure: OSError | None = None
        for id in ids:  # one that cannot be written does not keep the others from being copied
            try:
                with self._saving:
                    self._save(id)
            except OSError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def save_changed(self) -> int:
        """Copy :data:`BATCH` runs at most that have changed since their last copy.

        Returns:
            Their number.

        Raises:
            OSError: see :meth:`save`.
        """
        query = "SELECT id FROM runs WHERE copied < changes ORDER BY created LIMIT ?"
        ids = [row["id"] for row in self._store.rows(query, BATCH)]
        if ids:
            self.save(ids)
        return len(ids)

    def catch_up(self, ids: Sequence[str]) -> list[str]:
        """Update the store from the folders that are newer than it. Returns: ids of the runs that were updated.

        Raises:
            sqlite3.Error: the store cannot be written.
        """
        # Folders are read first: a copy can then be ahead of the store only if an older store was put back.
        copied = {id: changes_in(self._runs / id) for id in ids}
        known = {row["id"]: row["changes"] for row in self._store.rows("SELECT id, changes FROM runs")}
        updated = []
        for id in (id for id in ids if copied[id] > known.get(id, 0)):
            try:
                file = read_run_file(self._runs / id)
                with self._store.transaction() as db:
                    row = db.execute("SELECT changes FROM runs WHERE id = ?", (id,)).fetchone()
                    if row is None or row["changes"] < file.changes:
                        put(db, file, self._owner)
                        updated.append(id)
            except RunFileError as error:
                log.warning("%s", error)
        return updated

    def _save(self, id: str) -> None:
        if changes_in(self._runs / id) > self._changes(id) >= 0 and self.catch_up([id]):
            log.warning("The folder of run %s was newer than the store; the store was updated.", id)
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
            # The file is read again: another process may have overwritten it with an older state in the meantime, and
            # the last of them to get here sees that.
            known = db.execute("UPDATE runs SET copied = ? WHERE id = ?", (changes_in(self._runs / id), id)).rowcount
        if not known:  # the run was deleted meanwhile, so its folder must not stay
            (self._runs / id / NAME).unlink(missing_ok=True)
            (self._runs / id).rmdir()

    def _changes(self, id: str) -> int:
        rows = self._store.rows("SELECT changes FROM runs WHERE id = ?", id)
        return int(rows[0]["changes"]) if rows else -1

    def _work(self) -> None:
        failing = False
        while True:
            closing = self._closing.wait(POLL_SECONDS)
            try:
                while self.save_changed() == BATCH and not self._closing.is_set():
                    pass
                failing = False
            except (OSError, sqlite3.Error, LabError) as error:
                # Most likely the disk is full: training goes on, and the runs are copied later.
                if not failing and not closing:
                    log.warning("Runs could not be copied from the store into their folders: %s", error)
                failing = True
            if closing:
                return
