"""Looks at experiments: how often somebody has read the test part of each, and what that has shown."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from sqlite3 import Connection, Row
from typing import Any

from core.store.store import Store

Member = tuple[str, int]
"""A method and rank with its number of epochs, as in ``("lora 4", 10)``."""


@dataclass(frozen=True)
class Shown:
    """What a look has shown of two settings, each named by the key of :attr:`core.run_spec.RunSpec.arm`."""

    rule: str
    """``within``, ``higher`` or ``lower``."""
    full: str
    """Full fine-tuning, as it was chosen then."""
    setting: str
    """The adapter setting beside it, as it was chosen then."""
    around: tuple[str, ...] = ()
    """Both at the neighbors of their learning rates, as far as these were trained then."""
    methods: bool | None = None
    """Whether it is about methods; None where no neighboring learning rate was trained, so that this was not tested."""

    def covers(self, full: str, setting: str) -> bool:
        """Whether it is about these two: those that it names, or of a claim about methods any that it was tested on."""
        tested = {self.full, self.setting, *(self.around if self.methods else ())}
        return {full, setting} <= tested


@dataclass(frozen=True)
class Look:
    """A look at the test part of an experiment: all its runs had ended, and a verdict was computed."""

    account: tuple[Member, ...]
    """The methods and ranks that were tested together. They share one account of the error rate, from which every look
    at them spends; others, such as those that are added later, have accounts of their own."""
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
        return tuple(dict.fromkeys(name for name, _ in self.account))

    def renamed(self, names: Mapping[str, str]) -> Look:
        """The same with other names for settings. Args: names: by those of before; what has none keeps its own."""
        return (
            self if self.claims is None else replace(self, claims=tuple(_renamed(each, names) for each in self.claims))
        )

    def to_dict(self) -> dict[str, Any]:
        """What is kept of it, as JSON has it."""
        return asdict(self)


def look_of(values: Mapping[str, Any]) -> Look:
    """A look from what :meth:`Look.to_dict` wrote, or from what versions wrote that had one number of epochs for all.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    own, claims = values.get("account"), values["claims"]
    members = [(name, values["epochs"]) for name in values["family"]] if own is None else own
    account = tuple((str(name), int(epochs)) for name, epochs in members)
    if isinstance(claims, dict):  # by method and rank, without the settings that these were then
        return Look(account, values["seeds"], values["level"], None if claims else ())
    shown = tuple(Shown(**{**each, "around": tuple(each["around"])}) for each in claims)
    return Look(account, values["seeds"], values["level"], shown)


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
    """Insert looks that are not there yet, and into those that are the claims of what was not tested before, or was
    kept without its settings.

    Args:
        db: in a transaction.
        experiment: id of an experiment, or of judged results.
        looks: which ones.
    """
    now = time.time()
    rows = [
        (experiment, _json(look.account), look.seeds, look.level, _json(look.to_dict()["claims"]), now)
        for look in looks
    ]
    db.executemany(
        "INSERT INTO looks VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET claims = excluded.claims WHERE claims LIKE '%null%' OR claims LIKE '{%'",
        rows,
    )


def _look(row: Row) -> Look:
    parts = {name: json.loads(row[name]) for name in ("account", "claims")}
    values = {"seeds": row["seeds"], "level": row["level"], **parts}
    return replace(look_of(values), at=row["at"])


def _json(value: object) -> str:
    """JSON as SQLite writes it: the account is compared as text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _renamed(shown: Shown, names: Mapping[str, str]) -> Shown:
    full, setting, *around = (names.get(key, key) for key in (shown.full, shown.setting, *shown.around))
    return replace(shown, full=full, setting=setting, around=tuple(around))
