"""Backups of the whole store, made and checked by SQLite: one at each start, and one per day.

Between them the store's file is kept up to date, since people copy it without the log beside it.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

from core.errors import LabError
from core.files import sha256_of
from core.store.store import Store

log = logging.getLogger(__name__)

EVERY_SECONDS = 24 * 3600.0
"""Interval between two backups of a running process."""

WRITE_BACK_SECONDS = 60.0
"""Interval at which a running process brings the store's file up to date."""

KEPT_LATEST = 3
"""Number of latest backups that are kept at any age."""

KEPT_DAYS = 7
"""Number of past days whose last backup is kept."""

PATTERN = "lab-????????-??????.sqlite3"

PART = ".lab-*.part"
"""Temporary files, which stay if a process dies during a backup."""


class Backups:
    """The backups of one home folder."""

    def __init__(self, store: Store, folder: Path) -> None:
        """Args: store: what to back up; folder: where to keep the backups."""
        self._store = store
        self.folder = folder
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="backups", daemon=True)

    def start(self) -> None:
        """Start a background thread that makes a backup now and then one per day, and writes the store back."""
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Make no more; wait some seconds for one that has begun."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout))

    def make(self) -> Path | None:
        """Make a backup, unless nothing has changed since the latest one. Returns: the file, or None.

        Raises:
            OSError, sqlite3.Error: the store cannot be read, or the backup cannot be written.
            StoreError: the store is damaged; earlier backups stay.
        """
        if not self._store.rows("SELECT 1 FROM runs LIMIT 1"):
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f".lab-{secrets.token_hex(8)}.part"
        part.touch(exist_ok=False)  # with the permissions that the umask leaves, as SQLite does not
        try:
            self._store.copy_to(part)
            latest = next(iter(self.list()), None)
            if latest is not None and sha256_of(part) == sha256_of(latest):
                return None
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            path = self.folder / time.strftime("lab-%Y%m%d-%H%M%S.sqlite3")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        self._thin_out(datetime.now())
        return path

    def list(self) -> list[Path]:
        """All backups, the latest first."""
        return sorted(self.folder.glob(PATTERN), reverse=True)

    def _thin_out(self, now: datetime) -> None:
        """Remove all backups except the latest few and the last one of each day of the past week."""
        backups = self.list()
        kept = set(backups[:KEPT_LATEST])
        first_day = (now - timedelta(days=KEPT_DAYS)).strftime("%Y%m%d")
        days: set[str] = set()
        for path in backups:
            day = path.name.split("-")[1]
            if day >= first_day and day not in days:
                days.add(day)
                kept.add(path)
        for path in backups:
            if path not in kept:
                path.unlink(missing_ok=True)
        for part in self.folder.glob(PART):
            if now.timestamp() - part.stat().st_mtime > EVERY_SECONDS:
                part.unlink(missing_ok=True)

    def _work(self) -> None:
        due, failing = time.monotonic(), False
        while True:
            if time.monotonic() >= due:
                due = time.monotonic() + EVERY_SECONDS
                try:
                    self.make()
                except (OSError, sqlite3.Error, LabError) as error:
                    if not self._closing.is_set():
                        log.warning("The store of runs could not be backed up: %s", error)
            try:
                self._store.write_back()
                failing = False
            except (sqlite3.Error, LabError) as error:
                if not failing and not self._closing.is_set():
                    log.warning("The file of the store could not be imported up to date: %s", error)
                failing = True
            if self._closing.wait(WRITE_BACK_SECONDS):
                return
