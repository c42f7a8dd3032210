"""Searching the store: runs are filtered, sorted and read page by page, so that ten thousand runs are as fast as few.

A word of free text is searched for in a run's id, label, dataset, network, base, tags, note and cause, and in the id
and name of its experiment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.objectives.registry import measures_by_name
from core.store.record import Run, State, spec_of
from core.store.store import Store

INDEXED = ("accuracy",)
"""Measures with a column of their own in the table of runs, and with an index."""


def _by_measure() -> dict[str, str]:
    """An order for each measure that can be the primary one, the best run first, as in ``highest accuracy``."""
    return {
        f"highest {measure.noun}" if measure.higher_is_better else f"lowest {measure.noun}": (
            f"{_value_of(name)} {'DESC' if measure.higher_is_better else 'ASC'} NULLS LAST"
        )
        for name, measure in measures_by_name().items()
    }


def _value_of(name: str) -> str:
    """A measure of a run's result in SQL; NULL where there is none, or it is no number that JSON knows."""
    if name in INDEXED:
        return f"r.{name}"
    return f"CASE WHEN json_valid(r.result) THEN json_extract(r.result, '$.{name}') END"


ORDERS: dict[str, str] = {
    "newest first": "r.created DESC",
    "oldest first": "r.created",
    **_by_measure(),
    "shortest training": "r.training_seconds ASC NULLS LAST",
    "longest training": "r.training_seconds DESC",
    "largest files": "r.stored_bytes DESC",
}
"""Every order in SQL. Runs without the value come last; the newest of equal runs comes first."""

MAX_WORDS = 10
"""Maximum number of words in a search; further words are ignored."""

MAX_TEXT = 200
"""Maximum number of characters in a search; further characters are ignored."""

_NETWORK = "json_extract(r.spec, '$.network.model')"
"""The name of a network that somebody imported; NULL for networks of other families."""

_SEARCHED = (
    "r.id || ' ' || r.dataset || ' ' || r.note || ' ' || ifnull(r.base, '') || ' '"
    " || ifnull(json_extract(r.spec, '$.network.model'), '') || ' '"
    " || ifnull(r.cause, '') || ' ' || ifnull((SELECT group_concat(e.id || ' ' || e.name, ' ') FROM members m"
    " JOIN experiments e ON e.id = m.experiment WHERE m.run = r.id), '')"
    " || ' ' || ifnull((SELECT group_concat(t.tag, ' ') FROM tags t WHERE t.run = r.id), '')"
)


@dataclass(frozen=True)
class Query:
    """Filters and order of a search; an empty filter matches all runs."""

    states: tuple[State, ...] = ()
    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    """Names of networks that somebody imported."""
    tags: tuple[str, ...] = ()
    """Tags that a run must have, all of them."""
    text: str = ""
    """Words that must all occur, each anywhere."""
    archived: bool | None = False
    """True for archived runs only, False for the others only, None for both."""
    sort: str = "newest first"
    """One of :data:`ORDERS`."""
    experiments: tuple[str, ...] = ()
    """Ids of experiments, of one of which a run must be."""


@dataclass(frozen=True)
class Entry:
    """A run with its note and tags."""

    run: Run
    note: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """One page of search results."""

    entries: tuple[Entry, ...]
    number: int
    """Number of this page, from 1."""
    pages: int
    found: int
    """Number of runs on all pages."""


class Search:
    """Searches one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def count(self, query: Query) -> int:
        """Number of runs that match."""
        where, values = self._where(query)
        ((found,),) = self._store.rows(f"SELECT count(*) FROM runs r WHERE {where}", *values)  # noqa: S608
        return int(found)

    def find(self, query: Query, page: int = 1, size: int = 50) -> Page:
        """One page of the runs that match.

        Args:
            query: filters and order.
            page: from 1; if there is no such page, the nearest one is returned.
            size: runs per page.
        """
        where, values = self._where(query)
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
        """These runs with their notes and tags, in this order; unknown ids are skipped."""
        marks = ", ".join("?" * len(ids))
        rows = self._store.rows(f"SELECT id, note FROM runs WHERE id IN ({marks})", *ids)  # noqa: S608
        notes = {row["id"]: row["note"] for row in rows}
        tags: dict[str, list[str]] = {}
        for row in self._store.rows(f"SELECT run, tag FROM tags WHERE run IN ({marks}) ORDER BY tag", *ids):  # noqa: S608
            tags.setdefault(row["run"], []).append(row["tag"])
        return [
            Entry(run, notes[run.id], tuple(tags.get(run.id, ())))
            for run in self._store.runs_of(ids)
            if run.id in notes
        ]

    def count_experiments(self) -> int:
        """Number of experiments."""
        ((found,),) = self._store.rows("SELECT count(*) FROM experiments")
        return int(found)

    def datasets(self) -> list[str]:
        """Datasets that runs were trained on, in alphabetical order."""
        return [row["dataset"] for row in self._store.rows("SELECT DISTINCT dataset FROM runs ORDER BY dataset")]

    def networks(self) -> list[str]:
        """Names of the imported networks that runs were trained from, in alphabetical order."""
        rows = self._store.rows("SELECT DISTINCT json_extract(spec, '$.network.model') AS name FROM runs")
        return sorted(row["name"] for row in rows if row["name"])

    def tags(self) -> list[str]:
        """Tags of all runs, in alphabetical order."""
        return [row["tag"] for row in self._store.rows("SELECT DISTINCT tag FROM tags ORDER BY tag")]

    def version(self) -> tuple[object, ...]:
        """A value that changes whenever a run is added, deleted or archived, or enters a state."""
        (row,) = self._store.rows(
            "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM runs WHERE archived = 1),"
            " (SELECT max(rowid) FROM transitions)"
        )
        return tuple(row)

    def _where(self, query: Query) -> tuple[str, list[Any]]:
        """The condition as SQL, and its values."""
        parts, values = ["1"], list[Any]()
        filters: tuple[tuple[str, tuple[str, ...]], ...] = (
            ("r.state", query.states),
            ("r.method", query.methods),
            ("r.dataset", query.datasets),
            (_NETWORK, query.networks),
        )
        for column, allowed in filters:
            if allowed:
                parts.append(f"{column} IN ({', '.join('?' * len(allowed))})")
                values += allowed
        if query.experiments:
            marks = ", ".join("?" * len(query.experiments))
            parts.append(f"r.id IN (SELECT run FROM members WHERE experiment IN ({marks}))")  # noqa: S608
            values += query.experiments
        if query.archived is not None:
            parts.append("r.archived = ?")
            values.append(int(query.archived))
        for tag in query.tags:
            parts.append("EXISTS (SELECT 1 FROM tags t WHERE t.run = r.id AND t.tag = ?)")
            values.append(tag)
        words = query.text[:MAX_TEXT].split()[:MAX_WORDS]
        labels = self._labels() if words else {}
        for word in words:
            kinds = [kind for kind, label in labels.items() if word.lower() in label.lower()]
            parts.append(f"(r.kind IN ({', '.join('?' * len(kinds))}) OR {_SEARCHED} LIKE ? ESCAPE '\\')")
            escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            values += [*kinds, f"%{escaped}%"]
        return " AND ".join(parts), values

    def _labels(self) -> dict[str, str]:
        """Label of each kind of run in the store: SQL knows kinds only, so labels are matched here."""
        # One spec per kind, found by the index of kinds alone.
        rows = self._store.rows(
            "SELECT kind, spec FROM runs WHERE rowid IN (SELECT min(rowid) FROM runs GROUP BY kind)"
        )
        return {row["kind"]: spec_of(row["spec"]).label for row in rows}
