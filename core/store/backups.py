"""Backups of the whole store, made and checked by SQLite, from which a lost store comes back."""

from __future__ import annotations

import filecmp
import logging
import os
import sqlite3
import threading
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from filelock import FileLock

from core.errors import LabError
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

PART = ".lab-new.part"
"""Name of a backup that is being made. What a process leaves that dies meanwhile, the next one removes."""


class Backups:
    """The backups of one home folder. Any thread may call any method."""

    def __init__(self, store: Store, folder: Path) -> None:
        """Args: store: what to back up; folder: where to keep the backups."""
        self._store = store
        self._folder = folder
        self._known: tuple[int, float] | None = None
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
            part, latest = self._folder / PART, next(iter(backups_in(self._folder)), None)
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

    def _changes(self) -> tuple[int, float]:
        """Numbers that change with everything that a backup is made for, apart from what is in one at once."""
        ((count, changes),) = self._store.rows("SELECT count(*), total(changes) FROM runs")
        return count, changes

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
