"""Folders of runs that a person deleted: set aside first, removed once the store no longer knows the runs.

Whenever a process dies on the way, the next start finishes or undoes what it had begun. The names of what was deleted
are kept, so that a store that is made anew from folders, or an older one that is put back, brings no deletion back.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

NAMES = "runs.txt"
"""Of the file with the ids of all runs that were ever deleted, one per line."""


class Deletions:
    """The folder of deleted things of one home."""

    def __init__(self, home: Path) -> None:
        """Args: home: with ``runs``, one folder per run."""
        self._runs = home / "runs"
        self._folder = home / "deleted"

    def set_aside(self, ids: Sequence[str]) -> None:
        """Move the folders of runs out of the way; all or none.

        Raises:
            OSError: one cannot be moved, as where a program holds its files on Windows.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        moved: list[str] = []
        try:
            for id in ids:
                if (self._runs / id).exists():
                    _discard(self._folder / id)
                    os.replace(self._runs / id, self._folder / id)
                    moved.append(id)
        except OSError:
            self.put_back(moved)
            raise

    def put_back(self, ids: Iterable[str]) -> None:
        """Undo :meth:`set_aside`."""
        for id in ids:
            if (self._folder / id).exists():
                self._runs.mkdir(parents=True, exist_ok=True)
                os.replace(self._folder / id, self._runs / id)

    def purge(self, ids: Sequence[str]) -> None:
        """Remove for good what was set aside, and remember the names."""
        if not ids:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / NAMES).open("a", encoding="ascii") as file:
            file.write("".join(f"{id}\n" for id in ids))
            file.flush()
            os.fsync(file.fileno())
        for id in ids:
            _discard(self._folder / id)

    def finish(self, known: Collection[str]) -> None:
        """Settle what a process left when it died: what the store still knows goes back, the rest goes for good.

        To be called in a transaction of the store, so that no other process is about to delete.

        Args:
            known: ids of the runs in the store.
        """
        left = [path.name for path in self._folder.iterdir() if path.is_dir()] if self._folder.is_dir() else []
        self.put_back(id for id in left if id in known)
        self.purge([id for id in left if id not in known])
        for id in self.names().difference(known):  # as where a thread that hung wrote into a folder that was gone
            if (self._runs / id).exists():
                _discard(self._runs / id)

    def names(self) -> set[str]:
        """Ids of runs that were deleted."""
        try:
            return set((self._folder / NAMES).read_text(encoding="ascii", errors="replace").split())
        except FileNotFoundError:
            return set()


def _discard(folder: Path) -> None:
    """Remove a folder. What cannot go now, because somebody reads it, goes at the next start."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        log.warning("%s could not be removed; it is tried again at the next start.", folder)
