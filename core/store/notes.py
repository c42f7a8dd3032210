"""What people do with runs that have been trained: notes, tags, an archive, and deleting for good."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import NoteError, RunInUseError, UnknownRunError
from core.store.deletions import Deletions
from core.store.snapshot import remove
from core.store.store import Store

MOST_NOTE = 2000
"""Characters of a note."""

MOST_TAG = 40
"""Characters of a tag."""

MOST_TAGS = 20
"""Tags of a run."""

NAMED = 3
"""Runs that a sentence names; the others are counted."""


@dataclass(frozen=True)
class Loss:
    """What deleting would take away, and what stands against it."""

    runs: tuple[str, ...]
    """Those that would go, the oldest first."""
    running: tuple[str, ...]
    """Those of them that are being trained, and must be stopped first."""
    dependents: tuple[str, ...]
    """Runs that started from one of them and would stay, which none can without its base."""
    experiments: tuple[str, ...]
    """Names of the experiments whose last runs would go."""


class Shelf:
    """The runs of one store, and the folders of their files. Any thread or process may use it at any moment."""

    def __init__(self, store: Store, home: Path) -> None:
        """Args: home: with ``runs``, one folder per run."""
        self._store = store
        self._deletions = Deletions(home)

    def set_note(self, id: str, text: str) -> None:
        """Give a run a note in place of the one it has; an empty one takes it away.

        Raises:
            NoteError: it is too long, or holds what is no text.
            UnknownRunError: there is none of that id.
        """
        note = text.replace("\r\n", "\n").replace("\r", "\n").strip()
        _check_text(note, "A note", allowed="\n\t")
        if len(note) > MOST_NOTE:
            raise NoteError(
                f"A note takes at most {MOST_NOTE:,} characters, and this one has {len(note):,}: shorten it."
            )
        with self._store.transaction() as db:
            if db.execute("UPDATE runs SET note = ? WHERE id = ?", (note, id)).rowcount != 1:
                raise UnknownRunError(f"There is no run {id!r}.")

    def set_tags(self, id: str, tags: Iterable[str]) -> None:
        """Give a run these tags in place of those it has.

        Raises:
            NoteError: a tag is too long or holds what is no text, or there are too many; nothing was changed.
            UnknownRunError: there is none of that id.
        """
        names = sorted({clean_tag(tag) for tag in tags})
        with self._store.transaction() as db:
            if db.execute("SELECT 1 FROM runs WHERE id = ?", (id,)).fetchone() is None:
                raise UnknownRunError(f"There is no run {id!r}.")
            _check_count(len(names))
            db.execute("DELETE FROM tags WHERE run = ?", (id,))
            db.executemany("INSERT INTO tags VALUES (?, ?)", [(id, name) for name in names])

    def add_tag(self, ids: Sequence[str], tag: str) -> None:
        """Give several runs one more tag; ids that name none are left out.

        Raises:
            NoteError: as of :func:`set_tags`; nothing was changed.
        """
        name = clean_tag(tag)
        with self._store.transaction() as db:
            for id in ids:
                if db.execute("SELECT 1 FROM runs WHERE id = ?", (id,)).fetchone():
                    db.execute("INSERT OR IGNORE INTO tags VALUES (?, ?)", (id, name))
                    _check_count(db.execute("SELECT count(*) FROM tags WHERE run = ?", (id,)).fetchone()[0])

    def archive(self, ids: Sequence[str], archived: bool = True) -> None:
        """Put runs into the archive, or take them out; ids that name none are left out."""
        with self._store.transaction() as db:
            db.executemany("UPDATE runs SET archived = ? WHERE id = ?", [(int(archived), id) for id in ids])

    def loss(self, ids: Sequence[str]) -> Loss:
        """What deleting these runs would take away; ids that name none are left out."""
        marks = ", ".join("?" * len(ids))
        rows = self._store.rows(f"SELECT id, state FROM runs WHERE id IN ({marks}) ORDER BY created", *ids)  # noqa: S608
        query = f"SELECT id FROM runs WHERE base IN ({marks}) AND id NOT IN ({marks}) ORDER BY created"  # noqa: S608
        emptied = (
            f"SELECT name FROM experiments e WHERE id IN (SELECT experiment FROM runs WHERE id IN ({marks}))"  # noqa: S608
            f" AND NOT EXISTS (SELECT 1 FROM runs WHERE experiment = e.id AND id NOT IN ({marks})) ORDER BY created"
        )
        return Loss(
            runs=tuple(row["id"] for row in rows),
            running=tuple(row["id"] for row in rows if row["state"] == "running"),
            dependents=tuple(row["id"] for row in self._store.rows(query, *ids, *ids)),
            experiments=tuple(row["name"] for row in self._store.rows(emptied, *ids, *ids)),
        )

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Delete runs with all that is known of them, and their files. All go, or none.

        Runs that are gone already are left out, so that two may delete the same. An experiment goes with its last run.
        Wherever a process dies in between, the next start finishes or undoes it; see :mod:`core.store.deletions`.

        Args:
            ids: which ones.

        Returns:
            Those that were deleted by this call.

        Raises:
            RunInUseError: one is being trained, or others that stay started from it, or a program holds its files;
                nothing was deleted.
        """
        there: list[str] = []
        try:
            self._delete(ids, there)
        except BaseException:
            self._deletions.put_back(there)
            raise
        self._deletions.purge(there)
        return there

    def finish_deletions(self) -> None:
        """Finish or undo what processes that died had begun to delete."""
        with self._store.transaction() as db:
            self._deletions.finish({row["id"] for row in db.execute("SELECT id FROM runs")})

    def _delete(self, ids: Sequence[str], there: list[str]) -> None:
        """One transaction; ``there`` gets the runs whose folders were set aside, also where it fails after that."""
        with self._store.transaction() as db:
            marks = ", ".join("?" * len(ids))
            rows = db.execute(f"SELECT id, state FROM runs WHERE id IN ({marks})", ids).fetchall()  # noqa: S608
            if running := [row["id"] for row in rows if row["state"] == "running"]:
                verb = "is" if len(running) == 1 else "are"
                raise RunInUseError(f"{_named(running)} {verb} being trained: stop first, then delete.")
            needed = db.execute(
                f"SELECT id, base FROM runs WHERE base IN ({marks}) AND id NOT IN ({marks}) ORDER BY created",  # noqa: S608
                (*ids, *ids),
            ).fetchall()
            if needed:
                base, others = needed[0]["base"], [row["id"] for row in needed]
                verb = "starts" if len(others) == 1 else "start"
                raise RunInUseError(f"{_named(others)} {verb} from {base}: delete them too, or keep their base.")
            found = [row["id"] for row in rows]
            try:
                self._deletions.set_aside(found)
            except OSError as error:
                raise RunInUseError(
                    f"The files of {_named(found)} cannot be moved ({error.strerror or error}): close the program that "
                    "has them open, then delete again."
                ) from error
            there += found
            remove(db, found)


def clean_tag(tag: str) -> str:
    """A tag as it is kept: one space between its words.

    Raises:
        NoteError: it is empty, too long, or holds what is no text.
    """
    name = " ".join(tag.split())
    _check_text(name, "A tag")
    if not name:
        raise NoteError("A tag needs at least one character.")
    if len(name) > MOST_TAG:
        raise NoteError(f"A tag takes at most {MOST_TAG} characters, and this one has {len(name):,}: shorten it.")
    return name


def _named(ids: Sequence[str]) -> str:
    """Runs in a sentence: a few by their id, the others counted."""
    if len(ids) == 1:
        return f"Run {ids[0]}"
    rest = len(ids) - NAMED
    return f"Runs {', '.join(ids[:NAMED])}" + (f" and {rest} more" if rest > 0 else "")


def _check_count(count: int) -> None:
    if count > MOST_TAGS:
        raise NoteError(f"A run takes at most {MOST_TAGS} tags: remove one first.")


def _check_text(text: str, what: str, allowed: str = "") -> None:
    """Raises: NoteError: ``text`` holds characters that are none: control characters, or halves of pairs."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in allowed:
            raise NoteError(f"{what} holds a character that is no text ({character!a}): remove it.")
