"""Deleted folders of runs: set aside first, then removed once the store no longer lists the runs.

If a process dies in between, the next start completes or undoes the deletion. The ids of deleted runs are kept, so that
they stay deleted when the store is restored from folders or from an older copy.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

NAMES = "runs.txt"
"""Name of the file with the ids of all deleted runs, one per line."""


class Deletions:
    """The folder of deleted runs in one home folder."""

    def __init__(self, home: Path) -> None:
        """Args: home: contains ``runs``, with one folder per run."""
        self._runs = home / "runs"
        self._folder = home / "deleted"

    def set_aside(self, ids: Sequence[str]) -> None:
        """Move the folders of runs away, all or none.

        Raises:
            OSError: a folder cannot be moved, for example because a program has a file in it open on Windows.
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
        """Undo :meth:`set_aside`. What another process has written into a run's folder since then stays there."""
        for id in ids:
            try:
                if (self._folder / id).exists():
                    self._runs.mkdir(parents=True, exist_ok=True)
                    _merge(self._folder / id, self._runs / id)
            except OSError as error:
                log.warning("%s could not be put back; the next start tries again: %s", self._folder / id, error)

    def purge(self, ids: Sequence[str]) -> None:
        """Remove permanently what was set aside, and record the ids."""
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
        """Complete or undo deletions of a process that died: runs that the store still lists are put back.

        Call this in a transaction of the store, so that no other process deletes at the same time.

        Args:
            known: ids of the runs in the store.
        """
        left = [path.name for path in self._folder.iterdir() if path.is_dir()] if self._folder.is_dir() else []
        self.put_back(id for id in left if id in known)
        self.purge([id for id in left if id not in known])
        for id in self.names().difference(known):  # a thread that hung may have written to a deleted folder
            if (self._runs / id).exists():
                _discard(self._runs / id)

    def names(self) -> set[str]:
        """Ids of runs that were deleted."""
        try:
            return set((self._folder / NAMES).read_text(encoding="ascii", errors="replace").split())
        except FileNotFoundError:
            return set()


def _merge(aside: Path, folder: Path) -> None:
    """Move a folder back, or where there is one in its place by now, the files that this one lacks; those that it has
    are newer.

    Raises:
        OSError: a file cannot be moved; those that were moved stay.
    """
    if not folder.is_dir():
        os.replace(aside, folder)
        return
    for path in aside.iterdir():
        if not (folder / path.name).exists():
            os.replace(path, folder / path.name)
    _discard(aside)


def _discard(folder: Path) -> None:
    """Remove a folder. If a file in it is in use, the next start tries again."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        log.warning("%s could not be removed; the next start tries again.", folder)
