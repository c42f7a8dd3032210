"""Notes, tags and the archive of runs, and permanent deletion."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection

from core.errors import NoteError, RunInUseError, StoreError, UnknownRunError
from core.store.deletions import Deletions, leave, remove
from core.store.store import Store
from core.store.transitions import REOPEN
from core.wording.tasks import MAX_NAME

MAX_NOTE = 2000
"""Maximum number of characters in a note."""

MAX_TAG = 40
"""Maximum number of characters in a tag."""

MAX_TAGS = 20
"""Maximum number of tags per run."""

NAMED = 3
"""Maximum number of runs that a sentence lists by id; the others are counted."""


@dataclass(frozen=True)
class DeletionEffects:
    """What a deletion would remove, and what prevents it."""

    runs: tuple[str, ...]
    """Runs to delete, the oldest first."""
    running: tuple[str, ...]
    """Runs to delete that are in training, and must be stopped first."""
    dependents: tuple[str, ...]
    """Other runs that start from one of them; a base cannot be deleted without them."""
    experiments: tuple[str, ...]
    """Names of the experiments that would lose their last runs."""
    kept: tuple[str, ...] = ()
    """Runs of these that stay, because another experiment has them too."""


class RunNotes:
    """Edits notes, tags and archive, and deletes runs. Any thread or process may use it at any time."""

    def __init__(self, store: Store, home: Path, on_end: Callable[[str], None] = lambda experiment: None) -> None:
        """Args:
        store: has the runs.
        home: contains ``runs``, with one folder per run.
        on_end: called with the id of an experiment when runs of it that might have been trained on have been deleted
            or archived.
        """
        self._store = store
        self._on_end = on_end
        self._deletions = Deletions(home)

    def set_note(self, id: str, text: str) -> None:
        """Replace a run's note; an empty text removes it.

        Raises:
            NoteError: the note is too long, or contains characters that are not text.
            UnknownRunError: there is no run with this id.
        """
        note = text.replace("\r\n", "\n").replace("\r", "\n").strip()
        _check_text(note, "A note", allowed="\n\t")
        if len(note) > MAX_NOTE:
            raise NoteError(
                f"A note takes at most {MAX_NOTE:,} characters, and this one has {len(note):,}: shorten it."
            )
        with self._store.transaction() as db:
            if db.execute("UPDATE runs SET note = ? WHERE id = ?", (note, id)).rowcount != 1:
                raise UnknownRunError(f"There is no run {id!r}.")

    def set_tags(self, id: str, tags: Iterable[str]) -> None:
        """Replace a run's tags.

        Raises:
            NoteError: a tag is not valid, or there are too many; nothing was changed.
            UnknownRunError: there is no run with this id.
        """
        names = sorted({clean_tag(tag) for tag in tags})
        with self._store.transaction() as db:
            if db.execute("SELECT 1 FROM runs WHERE id = ?", (id,)).fetchone() is None:
                raise UnknownRunError(f"There is no run {id!r}.")
            _check_count(len(names))
            db.execute("DELETE FROM tags WHERE run = ?", (id,))
            db.executemany("INSERT INTO tags VALUES (?, ?)", [(id, name) for name in names])

    def add_tag(self, ids: Sequence[str], tag: str) -> None:
        """Add a tag to several runs; unknown ids are skipped.

        Raises:
            NoteError: see :meth:`set_tags`; nothing was changed.
        """
        name = clean_tag(tag)
        with self._store.transaction() as db:
            for id in ids:
                if db.execute("SELECT 1 FROM runs WHERE id = ?", (id,)).fetchone():
                    db.execute("INSERT OR IGNORE INTO tags VALUES (?, ?)", (id, name))
                    _check_count(db.execute("SELECT count(*) FROM tags WHERE run = ?", (id,)).fetchone()[0])

    def archive(self, ids: Sequence[str], archived: bool = True) -> None:
        """Move runs into the archive, or out of it; unknown ids are skipped.

        Checkpoints of archived runs are the first to go when room is needed.
        """
        experiments = self._awaited(ids)
        with self._store.transaction() as db:
            db.executemany("UPDATE runs SET archived = ? WHERE id = ?", [(int(archived), id) for id in ids])
            db.executemany(f"{REOPEN} = ?", [(experiment,) for experiment in experiments])
        for experiment in experiments:
            self._on_end(experiment)

    def _awaited(self, ids: Sequence[str]) -> list[str]:
        """The experiments that wait for one of these runs."""
        return self._store.experiments_of([run.id for run in self._store.runs_of(ids) if not run.is_over])

    def effects_of_deleting(self, ids: Sequence[str], of: str = "") -> DeletionEffects:
        """What deleting these runs would do; unknown ids are skipped. Args: ids, of: as of :meth:`delete`."""
        with self._store.connection() as db:
            kept = _kept(db, ids, of)
        gone = [id for id in ids if id not in kept]
        marks = ", ".join("?" * len(gone))
        rows = self._store.rows(f"SELECT id, state FROM runs WHERE id IN ({marks}) ORDER BY created", *gone)  # noqa: S608
        query = f"SELECT id FROM runs WHERE base IN ({marks}) AND id NOT IN ({marks}) ORDER BY created"  # noqa: S608
        losing = map(self._store.experiment, self._store.experiments_of(ids))
        left = {one.id: set(one.runs).difference(gone, kept if one.id == of else ()) for one in losing}
        return DeletionEffects(
            runs=tuple(row["id"] for row in rows),
            running=tuple(row["id"] for row in rows if row["state"] == "running"),
            dependents=tuple(row["id"] for row in self._store.rows(query, *gone, *gone)),
            experiments=tuple(self._store.experiment(id).name for id, runs in left.items() if not runs),
            kept=kept,
        )

    def delete(self, ids: Sequence[str], of: str = "") -> list[str]:
        """Delete runs with their rows in the store and their files, all or none.

        Runs that are gone already are skipped, so that two people may delete the same ones. An experiment is deleted
        with its last run. If the process dies in between, the next start completes the deletion; see
        :mod:`core.store.deletions`.

        Args:
            ids: of the runs.
            of: id of the experiment whose runs are deleted: those that another one has too stay, as runs of that one.
                Empty to delete them wherever they belong.

        Returns:
            Ids of the runs that this call deleted.

        Raises:
            RunInUseError: a run is in training, or is the base of other runs; nothing was deleted.
            StoreError: nothing can be written now, as on a full disk; if the deletion was recorded before, the next
                start completes it.
        """
        experiments = self._awaited(ids)
        try:
            with self._store.transaction() as db:
                kept = _kept(db, ids, of)
                leave(db, of, kept)
                found = _deletable(db, [id for id in ids if id not in kept])
                remove(db, found)
                self._deletions.record(found)
        except OSError as error:
            reason = error.strerror or error
            raise StoreError(f"The deletion cannot be recorded ({reason}): free some space, and try again.") from error
        self._deletions.purge(found)
        for experiment in experiments:
            self._on_end(experiment)
        return found

    def finish_deletions(self) -> None:
        """Complete deletions of processes that died."""
        with self._store.transaction() as db:
            self._deletions.finish(db)


def _deletable(db: Connection, ids: Sequence[str]) -> list[str]:
    """Those of these runs that are there. Raises: RunInUseError: one of them must stay for now."""
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
    return [row["id"] for row in rows]


def _kept(db: Connection, ids: Sequence[str], of: str) -> tuple[str, ...]:
    """Those of these runs that an experiment shares with another one."""
    marks = ", ".join("?" * len(ids))
    query = (
        f"SELECT DISTINCT run FROM members WHERE run IN ({marks}) AND experiment <> ?"  # noqa: S608
        " AND run IN (SELECT run FROM members WHERE experiment = ?)"
    )
    return tuple(row["run"] for row in db.execute(query, (*ids, of, of)))


def clean_tag(tag: str) -> str:
    """Normalise a tag: one space between its words.

    Raises:
        NoteError: the tag is empty, too long, or contains characters that are not text.
    """
    name = " ".join(tag.split())
    _check_text(name, "A tag")
    if not name:
        raise NoteError("A tag needs at least one character.")
    if len(name) > MAX_TAG:
        raise NoteError(f"A tag takes at most {MAX_TAG} characters, and this one has {len(name):,}: shorten it.")
    return name


def clean_name(name: str) -> str:
    """Normalise the name of an experiment: one space between its words.

    Raises:
        NoteError: the name is too long, or contains characters that are not text.
    """
    clean = " ".join(name.split())
    _check_text(clean, "A name")
    if len(clean) > MAX_NAME:
        raise NoteError(f"A name takes at most {MAX_NAME} characters, and this one has {len(clean):,}: shorten it.")
    return clean


def _named(ids: Sequence[str]) -> str:
    """Runs as part of a sentence: a few by id, the others counted."""
    if len(ids) == 1:
        return f"Run {ids[0]}"
    rest = len(ids) - NAMED
    return f"Runs {', '.join(ids[:NAMED])}" + (f" and {rest} more" if rest > 0 else "")


def _check_count(count: int) -> None:
    if count > MAX_TAGS:
        raise NoteError(f"A run takes at most {MAX_TAGS} tags: remove one first.")


def _check_text(text: str, what: str, allowed: str = "") -> None:
    """Check for control characters and unpaired surrogates. Raises: NoteError: ``text`` contains one."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in allowed:
            raise NoteError(f"{what} contains a character that is not text ({character!a}): remove it.")
