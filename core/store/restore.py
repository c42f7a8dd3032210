"""Restoring the store, wholly or in part, from the copies in the folders of the runs.

Nothing is removed: folders without a readable copy are moved to ``strays``, and a damaged store to ``damaged``.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from core.errors import LabError, StoreDamagedError
from core.store.backups import Backups
from core.store.copies import Copies
from core.store.deletions import Deletions
from core.store.judged import JudgedResults
from core.store.looks import Looks
from core.store.record import RUN_ID
from core.store.snapshot import put, remove, snapshot
from core.store.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """Result of a restore."""

    runs: tuple[str, ...]
    """Ids of the runs that were added or updated."""
    strays: tuple[Path, ...]
    """New paths of the folders that contain no copy of their run."""

    @property
    def sentence(self) -> str:
        """The result as text for people."""
        runs = "1 run was" if len(self.runs) == 1 else f"{len(self.runs):,} runs were"
        text = f"{runs} restored." if self.runs else "There was nothing to restore."
        if self.strays:
            count = "1 folder contains" if len(self.strays) == 1 else f"{len(self.strays):,} folders contain"
            verb = "was" if len(self.strays) == 1 else "were"
            text += f" {count} no readable copy of a run and {verb} moved to {self.strays[0].parent}."
        return text


class Restorer:
    """Restores runs from the folders and backups of one home folder."""

    def __init__(self, store: Store, home: Path, copies: Copies, backups: Backups, owner: str) -> None:
        """Args: owner: name of the process that may resume interrupted runs."""
        self._store = store
        self._runs = home / "runs"
        self._strays = home / "strays"
        self._copies = copies
        self._deletions = Deletions(home)
        self._backups = backups
        self._owner = owner

    def unlisted(self) -> list[str]:
        """Ids of runs that have a folder, are not in the store, and were not deleted."""
        found = self._folders()  # read first, since a run is stored before its folder is made
        return sorted(set(found) - self._known() - self._deletions.names())

    def restore(self) -> Restored:
        """Update the store from all folders of runs.

        Raises:
            sqlite3.Error: the store cannot be written.
            OSError: a folder cannot be moved.
        """
        deleted = self._deletions.names()
        restored = self._copies.catch_up([id for id in self._folders() if id not in deleted])
        restored += self._from_backups(self.unlisted())
        self._judged_from_backups()
        strays = [self._put_aside(id) for id in self.unlisted()]
        self._forget(deleted - set(self._folders()))
        log.info("Restored %d runs; %d strays.", len(restored), len(strays))
        return Restored(tuple(sorted(restored)), tuple(strays))

    def _from_backups(self, ids: Iterable[str]) -> list[str]:
        """Restore runs whose folders have no readable copy from backups, the latest first."""
        left, found = set(ids), list[str]()

        def take(store: Store) -> bool:
            with store.connection() as db:
                files = [file for id in sorted(left) if (file := snapshot(db, id)) is not None]
            for file in files:
                with self._store.transaction() as db:
                    put(db, file, self._owner)
                left.discard(file.id)
                found.append(file.id)
            return False

        if left:
            self._search_backups(take)
        return found

    def _judged_from_backups(self) -> None:
        """Take over judged results from the latest backup that has some, where the store has none: they are in no
        folder.
        """
        own = JudgedResults(self._store)

        def adopt(store: Store) -> bool:
            found, looks = JudgedResults(store), Looks(store)
            return bool(own.adopt(found, {each.id: looks.of(each.id) for each in found.list()}))

        if not own.list(1):
            self._search_backups(adopt)

    def _search_backups(self, take: Callable[[Store], bool]) -> None:
        """Read backups, the latest first, until ``take`` has what it looks for; those that are damaged are skipped."""
        for backup in self._backups.list():
            with tempfile.TemporaryDirectory() as folder:
                try:
                    # A copy, since opening a store may upgrade it.
                    store = Store(Path(shutil.copy(backup, folder)))
                except (LabError, OSError) as error:
                    log.warning("%s: %s", backup, error)
                    continue
                try:
                    if take(store):
                        return
                except (LabError, sqlite3.DatabaseError) as error:
                    log.warning("%s: %s", backup, error)
                finally:
                    store.close()

    def _put_aside(self, id: str) -> Path:
        self._strays.mkdir(parents=True, exist_ok=True)
        place = self._strays / id
        if place.exists():
            place = self._strays / f"{id}-{time.strftime('%Y%m%d-%H%M%S')}"
        os.replace(self._runs / id, place)
        log.warning("The folder of run %s has no readable copy of the run; it was moved to %s.", id, place)
        return place

    def _forget(self, deleted: Iterable[str]) -> None:
        """Remove runs from the store that were deleted, but came back with an older store."""
        with self._store.transaction() as db:
            known = {row["id"] for row in db.execute("SELECT id FROM runs")}
            remove(db, sorted(known & set(deleted)))

    def _known(self) -> set[str]:
        return {row["id"] for row in self._store.rows("SELECT id FROM runs")}

    def _folders(self) -> list[str]:
        try:
            return sorted(path.name for path in self._runs.iterdir() if RUN_ID.fullmatch(path.name) and path.is_dir())
        except FileNotFoundError:
            return []


def set_damaged_aside(path: Path) -> Path | None:
    """Move a damaged store away. No process may have it open.

    Args:
        path: of the store.

    Returns:
        Its new path; None if it is intact or does not exist.

    Raises:
        StoreError: it cannot be used for a reason other than damage.
        OSError: it cannot be moved.
    """
    if not path.exists():
        return None
    try:
        store = Store(path)
        try:
            store.verify()
        finally:
            store.close()
    except StoreDamagedError:
        pass
    else:
        return None
    place = path.parent / "damaged" / time.strftime("%Y%m%d-%H%M%S")
    place.mkdir(parents=True)
    for end in ("", "-wal", "-shm"):
        if path.with_name(path.name + end).exists():
            os.replace(path.with_name(path.name + end), place / (path.name + end))
    return place / path.name
