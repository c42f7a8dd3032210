"""Results that were reported by others: kept apart from runs, with the SHA-256 of every file that was read."""

from __future__ import annotations

import secrets
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection, Row

import numpy as np

from core.errors import JudgeError, NoteError
from core.objectives.measure import Values
from core.store.looks import Look, insert_looks
from core.store.notes import MAX_NOTE
from core.store.store import Store
from core.wording.tasks import MAX_NAME

PREFIX = "j-"
"""Beginning of the ids of judged results, which tells them from experiments in an address."""


@dataclass(frozen=True)
class ReadFile:
    """A file that results were read from."""

    name: str
    sha256: str
    bytes: int
    at: float = 0.0
    """When it was read, in seconds since 1970."""


@dataclass(frozen=True)
class Judged:
    """Results that were reported by others."""

    id: str
    name: str
    created: float
    """Seconds since 1970."""
    note: str
    content: str
    """JSON of the rows and of how the files were read; see :mod:`core.judge.results`."""
    files: tuple[ReadFile, ...]
    """What was read, in that order; several where it has grown."""


class JudgedResults:
    """Keeps reported results. Any thread or process may use it at any time."""

    def __init__(self, store: Store) -> None:
        """Args: store: has the tables."""
        self._store = store

    def list(self, limit: int = 100) -> list[Judged]:
        """Results, the newest first. Args: limit: maximum number."""
        return [
            self._judged(row) for row in self._store.rows("SELECT * FROM judged ORDER BY created DESC LIMIT ?", limit)
        ]

    def get(self, id: str) -> Judged:
        """Results by their id. Raises: JudgeError: there are none with this id."""
        found = self.find(id)
        if found is None:
            raise JudgeError(f"There are no judged results {id!r}; they may have been deleted.")
        return found

    def find(self, id: str) -> Judged | None:
        """Results by their id; None if there are none."""
        rows = self._store.rows("SELECT * FROM judged WHERE id = ?", id)
        return self._judged(rows[0]) if rows else None

    def like(self, content: str, files: Sequence[ReadFile]) -> Judged | None:
        """Results that were read from the same files in the same way: to judge them again is no further look.

        Args:
            content: see :attr:`Judged.content`.
            files: that were read.
        """
        rows = self._store.rows("SELECT * FROM judged WHERE content = ? ORDER BY created", content)
        wanted = [file.sha256 for file in files]
        found = (self._judged(row) for row in rows)
        return next((each for each in found if [file.sha256 for file in each.files] == wanted), None)

    def measures(self, id: str) -> dict[str, Values]:
        """The measure of each test example, (n,), by the name of the run that has them."""
        rows = self._store.rows("SELECT reported, measures FROM judged_values WHERE judged = ?", id)
        return {
            row["reported"]: np.frombuffer(zlib.decompress(row["measures"]), "<f8").astype(np.float64) for row in rows
        }

    def add(
        self,
        name: str,
        content: str,
        files: Sequence[ReadFile],
        measures: Mapping[str, Values],
        looks: Sequence[Look] = (),
    ) -> Judged:
        """Keep results, whole or not at all.

        Args:
            name: to be shown.
            content: see :attr:`Judged.content`.
            files: that were read.
            measures: of each test example, by the name of the run.
            looks: that were taken before, by whoever reports the results.

        Raises:
            NoteError: the name is empty or too long.
            StoreError: the store cannot be written.
        """
        id, now = PREFIX + secrets.token_hex(4), time.time()
        with self._store.transaction(backed_up=True) as db:
            db.execute(
                "INSERT INTO judged (id, name, created, content) VALUES (?, ?, ?, ?)",
                (id, clean_name(name), now, content),
            )
            _insert(db, id, files, measures)
            insert_looks(db, id, looks)
        return self.get(id)

    def grow(self, judged: Judged, content: str, files: Sequence[ReadFile], measures: Mapping[str, Values]) -> Judged:
        """Put further results in the place of those that were there, which they contain.

        Args:
            judged: as it was read.
            content: the new one.
            files: that were read beside those of before.
            measures: of all runs that have them.

        Raises:
            JudgeError: somebody has changed the results since; nothing was kept.
        """
        with self._store.transaction(backed_up=True) as db:
            changed = db.execute(
                "UPDATE judged SET content = ? WHERE id = ? AND content = ?", (content, judged.id, judged.content)
            )
            if changed.rowcount != 1:
                raise JudgeError("Somebody changed these results at the same time: look at them, and try again.")
            db.execute("DELETE FROM judged_values WHERE judged = ?", (judged.id,))
            _insert(db, judged.id, files, measures)
        return self.get(judged.id)

    def rename(self, id: str, name: str) -> None:
        """Rename results. Raises: NoteError: the name is empty or too long."""
        with self._store.transaction(backed_up=True) as db:
            db.execute("UPDATE judged SET name = ? WHERE id = ?", (clean_name(name), id))

    def set_note(self, id: str, text: str) -> None:
        """Replace the note of results. Raises: NoteError: it is too long."""
        note = text.replace("\r\n", "\n").replace("\r", "\n").strip()
        if len(note) > MAX_NOTE:
            raise NoteError(
                f"A note takes at most {MAX_NOTE:,} characters, and this one has {len(note):,}: shorten it."
            )
        with self._store.transaction(backed_up=True) as db:
            db.execute("UPDATE judged SET note = ? WHERE id = ?", (note, id))

    def delete(self, id: str) -> None:
        """Delete results that a person no longer wants, with their looks; the files that were read stay theirs."""
        with self._store.transaction(backed_up=True) as db:
            db.execute("DELETE FROM judged WHERE id = ?", (id,))
            db.execute("DELETE FROM judged_files WHERE judged = ?", (id,))
            db.execute("DELETE FROM judged_values WHERE judged = ?", (id,))
            db.execute("DELETE FROM looks WHERE experiment = ?", (id,))

    def _judged(self, row: Row) -> Judged:
        files = self._store.rows("SELECT * FROM judged_files WHERE judged = ? ORDER BY rowid", row["id"])
        read = tuple(ReadFile(file["name"], file["sha256"], file["bytes"], file["at"]) for file in files)
        return Judged(row["id"], row["name"], row["created"], row["note"], row["content"], read)


def clean_name(name: str) -> str:
    """A name in one line, of characters that can be printed. Raises: NoteError: it is empty or too long."""
    found = "".join(filter(str.isprintable, " ".join(name.split())))
    if not found:
        raise NoteError("A name needs at least one character.")
    if len(found) > MAX_NAME:
        raise NoteError(f"A name takes at most {MAX_NAME} characters, and this one has {len(found):,}: shorten it.")
    return found


def _insert(db: Connection, id: str, files: Sequence[ReadFile], measures: Mapping[str, Values]) -> None:
    now = time.time()
    db.executemany(
        "INSERT INTO judged_files VALUES (?, ?, ?, ?, ?)",
        [(id, file.name, file.sha256, file.bytes, file.at or now) for file in files],
    )
    db.executemany(
        "INSERT INTO judged_values VALUES (?, ?, ?)",
        [(id, run, zlib.compress(each.astype("<f8").tobytes(), 1)) for run, each in measures.items()],
    )
