"""Finding runs in the store: filtered, sorted and a page at a time, so that ten thousand of them cost no more than few.

A word of free text may stand anywhere in what a run is called by: its id, label, dataset, base, tags, note, cause, and
the name of its experiment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.spec import Method
from core.store.record import Run, State
from core.store.store import Store

Sort = Literal[
    "newest first", "oldest first", "highest accuracy", "shortest training", "longest training", "largest files"
]

ORDERS: dict[Sort, str] = {
    "newest first": "r.created DESC",
    "oldest first": "r.created",
    "highest accuracy": "r.accuracy DESC",
    "shortest training": "r.training_seconds ASC NULLS LAST",
    "longest training": "r.training_seconds DESC",
    "largest files": "r.stored_bytes DESC",
}
"""Every order in SQL. Runs without the value come last; ties go to the newest."""

MOST_WORDS = 10
"""Words of a search that count; the rest is left out."""

MOST_TEXT = 200
"""The same in characters."""

_HAYSTACK = (
    "r.id || ' ' || r.label || ' ' || r.dataset || ' ' || r.note || ' ' || ifnull(r.base, '') || ' '"
    " || ifnull(r.cause, '') || ' ' || ifnull(r.experiment, '')"
    " || ' ' || ifnull((SELECT e.name FROM experiments e WHERE e.id = r.experiment), '')"
    " || ' ' || ifnull((SELECT group_concat(t.tag, ' ') FROM tags t WHERE t.run = r.id), '')"
)


@dataclass(frozen=True)
class Query:
    """Which runs, and in what order; an empty filter lets all pass."""

    states: tuple[State, ...] = ()
    methods: tuple[Method, ...] = ()
    datasets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """Every one of them."""
    text: str = ""
    """Words, each of which stands somewhere."""
    archived: bool | None = False
    """Only those in the archive, or only those outside; None takes both."""
    sort: Sort = "newest first"


@dataclass(frozen=True)
class Entry:
    """A run with what people put on it."""

    run: Run
    note: str
    tags: tuple[str, ...]
    archived: bool


@dataclass(frozen=True)
class Page:
    """A part of what a query finds."""

    entries: tuple[Entry, ...]
    number: int
    """From 1; the last page where a later one was asked for."""
    pages: int
    found: int
    """Runs on all pages."""


class Search:
    """Looks into one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def count(self, query: Query) -> int:
        """How many runs fit."""
        where, values = _where(query)
        ((found,),) = self._store.rows(f"SELECT count(*) FROM runs r WHERE {where}", *values)  # noqa: S608
        return int(found)

    def find(self, query: Query, page: int = 1, size: int = 50) -> Page:
        """A page of the runs that fit.

        Args:
            query: which ones.
            page: from 1; one that does not exist becomes the nearest that does.
            size: runs a page.
        """
        where, values = _where(query)
        found = self.count(query)
        pages = max(1, -(-found // size))
        number = min(max(page, 1), pages)
        order = f"{ORDERS[query.sort]}, r.created DESC, r.id"
        rows = self._store.rows(
            f"SELECT r.id FROM runs r WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?",  # noqa: S608
            *values,
            size,
            (number - 1) * size,
        )
        return Page(tuple(self.entries([row["id"] for row in rows])), number, pages, found)

    def entries(self, ids: Sequence[str]) -> list[Entry]:
        """These runs with what was put on them, in this order; ids that name none are left out."""
        marks = ", ".join("?" * len(ids))
        rows = self._store.rows(f"SELECT id, note, archived FROM runs WHERE id IN ({marks})", *ids)  # noqa: S608
        kept = {row["id"]: row for row in rows}
        tags: dict[str, list[str]] = {}
        for row in self._store.rows(f"SELECT run, tag FROM tags WHERE run IN ({marks}) ORDER BY tag", *ids):  # noqa: S608
            tags.setdefault(row["run"], []).append(row["tag"])
        return [
            Entry(run, kept[run.id]["note"], tuple(tags.get(run.id, ())), bool(kept[run.id]["archived"]))
            for run in self._store.runs_of(ids)
            if run.id in kept
        ]

    def datasets(self) -> list[str]:
        """Datasets that runs were trained on, by name."""
        return [row["dataset"] for row in self._store.rows("SELECT DISTINCT dataset FROM runs ORDER BY dataset")]

    def tags(self) -> list[str]:
        """Tags that runs have, by name."""
        return [row["tag"] for row in self._store.rows("SELECT DISTINCT tag FROM tags ORDER BY tag")]

    def mark(self) -> tuple[object, ...]:
        """Another one whenever a run was added, deleted, archived or has entered a state."""
        (row,) = self._store.rows(
            "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM runs WHERE archived = 1),"
            " (SELECT max(rowid) FROM transitions)"
        )
        return tuple(row)


def _where(query: Query) -> tuple[str, list[Any]]:
    """The condition as SQL, and its values."""
    parts, values = ["1"], list[Any]()
    for column, allowed in (("state", query.states), ("method", query.methods), ("dataset", query.datasets)):
        if allowed:
            parts.append(f"r.{column} IN ({', '.join('?' * len(allowed))})")
            values += allowed
    if query.archived is not None:
        parts.append("r.archived = ?")
        values.append(int(query.archived))
    for tag in query.tags:
        parts.append("EXISTS (SELECT 1 FROM tags t WHERE t.run = r.id AND t.tag = ?)")
        values.append(tag)
    for word in query.text[:MOST_TEXT].split()[:MOST_WORDS]:
        parts.append(f"{_HAYSTACK} LIKE ? ESCAPE '\\'")
        escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        values.append(f"%{escaped}%")
    return " AND ".join(parts), values
