"""Looks at experiments: how often somebody has read the test part of each, and what that has shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from sqlite3 import Connection
from typing import Any

from core.store.store import Store

Member = tuple[str, int]
"""A method and rank with its number of epochs, as in ``("lora 4", 10)``."""

FULL = "full"
"""Name of full fine-tuning in an account, which has it where its number of epochs is not that of every member."""


@dataclass(frozen=True)
class Shown:
    """What a look has shown of an adapter setting beside full fine-tuning."""

    rule: str
    """``within``, ``higher`` or ``lower``."""
    settings: tuple[str, ...]
    """What was tested, by :attr:`core.run_spec.RunSpec.arm`: full fine-tuning and the setting as they were chosen, then
    both at the neighbors of their learning rates, as far as these were trained."""
    methods: bool | None = None
    """Whether it is about methods; None where no neighboring learning rate was trained, so that this was not tested."""

    def covers(self, *chosen: str) -> bool:
        """Whether it is about these settings: of methods about all that were tested, else about the two alone."""
        return {*chosen} <= {*(self.settings if self.methods else self.settings[:2])}


@dataclass(frozen=True)
class Look:
    """A look at the test part of an experiment: all its runs had ended, and a verdict was computed."""

    account: tuple[Member, ...]
    """What was tested together: it has one share of the error rate, of which all looks at it spend."""
    seeds: int
    """Number of seeds that all of them had finished."""
    level: float
    """Share of the error rate at which differences were tested; 0 for a look that could claim nothing."""
    claims: tuple[Shown, ...] | None = ()
    """What was shown; None where it was kept by a version that did not say of which settings."""
    at: float = 0.0
    """When it was recorded, in seconds since 1970."""

    @property
    def key(self) -> tuple[tuple[Member, ...], int]:
        """What two records of one look have in common."""
        return self.account, self.seeds

    @property
    def family(self) -> tuple[str, ...]:
        """The methods and ranks that were tested together, as in ``lora 4``."""
        return tuple(dict.fromkeys(name for name, _ in self.account if name != FULL))

    def renamed(self, names: Mapping[str, str]) -> Look:
        """The same with other names for settings. Args: names: by those of before; what has none keeps its own."""
        found = [replace(each, settings=tuple(names.get(k, k) for k in each.settings)) for each in self.claims or ()]
        return replace(self, claims=self.claims and tuple(found))


def look_of(values: Mapping[str, Any]) -> Look:
    """A look from the JSON of its fields, or from that of versions in which all members had one number of epochs.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    claims, seeds, level = values["claims"], values["seeds"], values["level"]
    members = values["account"] if "account" in values else [(name, values["epochs"]) for name in values["family"]]
    account = tuple((str(name), int(epochs)) for name, epochs in members)
    if not isinstance(claims, list):  # by method and rank, without their settings
        return Look(account, seeds, level, () if claims == {} else None)
    shown = (Shown(each["rule"], tuple(map(str, each["settings"])), each["methods"]) for each in claims)
    return Look(account, seeds, level, tuple(shown))


class Looks:
    """The record of looks. Any thread or process may use it at any time."""

    def __init__(self, store: Store) -> None:
        """Args: store: has the experiments."""
        self._store = store

    def of(self, experiment: str) -> list[Look]:
        """Looks at an experiment, in the order in which they were recorded."""
        rows = self._store.rows("SELECT * FROM looks WHERE experiment = ? ORDER BY at, seeds", experiment)
        found = [dict(row) | {name: json.loads(row[name]) for name in ("account", "claims")} for row in rows]
        return [replace(look_of(values), at=values["at"]) for values in found]

    def are_kept(self, experiment: str) -> bool:
        """Whether every look at an experiment was recorded: not at those of earlier versions, nor at restored ones."""
        return bool(self._store.rows("SELECT 1 FROM experiments WHERE id = ? AND keeps_looks", experiment))

    def record(self, experiment: str, looks: Iterable[Look]) -> None:
        """Record looks; one that is there counts once, and gets the claims of what was not tested before.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._store.transaction(backed_up=True) as db:
            insert_looks(db, experiment, looks)


def insert_looks(db: Connection, experiment: str, looks: Iterable[Look]) -> None:
    """Insert looks that are not there yet, and into those that are the claims of what was not known before.

    Args:
        db: in a transaction.
        experiment: id of an experiment, or of judged results.
        looks: which ones.
    """
    now = time.time()
    found = [(look, asdict(look)["claims"]) for look in looks]
    db.executemany(
        "INSERT INTO looks VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET claims = excluded.claims WHERE claims LIKE '%null%' OR claims LIKE '{\"%'",
        [(experiment, _json(look.account), look.seeds, look.level, _json(claims), now) for look, claims in found],
    )


def _json(value: object) -> str:
    """JSON as SQLite writes it, since accounts are compared as text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
