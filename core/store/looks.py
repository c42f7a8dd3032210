"""Looks at experiments: how often somebody has read the test part of each, and what that has shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from sqlite3 import Connection, Row

from core.store.store import Store


@dataclass(frozen=True)
class Look:
    """A look at the test part of an experiment: all its runs had ended, and a verdict was computed."""

    epochs: int
    """Number of epochs of the settings that were compared: each number is a question of its own."""
    family: tuple[str, ...]
    """The methods and ranks that were tested together, as in ``lora 4``."""
    seeds: int
    """Number of seeds that all of them had finished."""
    level: float
    """Share of the error rate at which differences were tested; 0 for a look that could claim nothing."""
    claims: Mapping[str, Mapping[str, bool | None]] = field(default_factory=dict)
    """By member of the family, what was shown of it, and whether that was about methods; None where no neighboring
    learning rate was trained, so that this was not tested."""
    at: float = 0.0
    """When it was recorded, in seconds since 1970."""

    @property
    def key(self) -> tuple[int, tuple[str, ...], int]:
        """What two records of one look have in common."""
        return self.epochs, self.family, self.seeds

    @property
    def is_open(self) -> bool:
        """Whether something of it was not tested yet."""
        return any(methods is None for own in self.claims.values() for methods in own.values())


class Looks:
    """The record of looks. Any thread or process may use it at any time."""

    def __init__(self, store: Store) -> None:
        """Args: store: has the experiments."""
        self._store = store

    def of(self, experiment: str) -> list[Look]:
        """Looks at an experiment, in the order in which they were recorded."""
        rows = self._store.rows("SELECT * FROM looks WHERE experiment = ? ORDER BY at, seeds", experiment)
        return [_look(row) for row in rows]

    def are_kept(self, experiment: str) -> bool:
        """Whether every look at an experiment was recorded: not at those of earlier versions, nor at restored ones."""
        return bool(self._store.rows("SELECT 1 FROM experiments WHERE id = ? AND keeps_looks", experiment))

    def record(self, experiment: str, looks: Iterable[Look]) -> None:
        """Record looks; one that is there counts once, and gets the claims of what was not tested before.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._store.transaction() as db:
            insert_looks(db, experiment, looks)


def insert_looks(db: Connection, experiment: str, looks: Iterable[Look]) -> None:
    """Insert looks that are not there yet, and into those that are the claims of what was not tested before.

    Args:
        db: in a transaction.
        experiment: id of an experiment, or of judged results.
        looks: which ones.
    """
    now = time.time()
    rows = [
        (experiment, look.epochs, json.dumps(look.family), look.seeds, look.level, json.dumps(look.claims), now)
        for look in looks
    ]
    db.executemany(
        "INSERT INTO looks VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET claims = excluded.claims WHERE claims LIKE '%null%'",
        rows,
    )


def _look(row: Row) -> Look:
    family, claims = tuple(json.loads(row["family"])), json.loads(row["claims"])
    return Look(row["epochs"], family, row["seeds"], row["level"], claims, row["at"])
