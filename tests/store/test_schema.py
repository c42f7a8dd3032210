"""Stores of earlier versions become one of this version."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from core.run_spec import RunSpec
from core.store.looks import Look, Looks, Shown
from core.store.schema import UPGRADES, VERSION
from core.store.search import Query, Search
from core.store.store import Store
from core.training.sharing import bank_key
from tests.store.states import insert
from tests.study.samples import RESULT

LOOKS = """
CREATE TABLE looks (
    experiment TEXT NOT NULL, epochs INTEGER NOT NULL, family TEXT NOT NULL, seeds INTEGER NOT NULL,
    level REAL NOT NULL, claims TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (experiment, epochs, family, seeds)
) STRICT, WITHOUT ROWID
"""
"""A table of versions up to 12."""


COPIED = "changes INTEGER NOT NULL DEFAULT 1, copied INTEGER NOT NULL DEFAULT 0"
"""Columns of versions 4 to 13."""


NEWER = [
    (14, r"changes INTEGER NOT NULL DEFAULT 1", COPIED),
    (13, r"CREATE TABLE looks.*", LOOKS),
]
"""What versions have brought, the newest first: a pattern of it in a statement, and what stood there before."""


def as_it_was(sql: str, version: int) -> str:
    """A statement of this version's schema as in an earlier version; empty if that version had none."""
    for since, pattern, before in NEWER:
        if version < since:
            sql = re.sub(pattern, before, sql, flags=re.DOTALL)
    return sql


@pytest.mark.parametrize("version", range(min(UPGRADES), VERSION))
def test_a_store_of_an_earlier_version_becomes_one_of_this_version_with_its_runs(tmp_path: Path, version: int) -> None:
    old, new = tmp_path / "old.sqlite3", tmp_path / "new.sqlite3"
    Store(new).close()
    with closing(sqlite3.connect(new)) as db:
        tables = [row[0] for row in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
    spec = RunSpec.of(method="pretrain")
    with closing(sqlite3.connect(old)) as db:
        for table in tables:
            if statement := as_it_was(table, version):
                db.execute(statement)
        if version < 14:
            db.execute("CREATE INDEX runs_to_copy ON runs (created) WHERE copied < changes")
        about = {"id": "r-1", "spec": spec.to_json(), "method": "pretrain", "bank_key": bank_key(spec), "created": 1.0}
        result = json.dumps(RESULT.to_dict())
        insert(db, **about, state="finished", owner="somebody", result=result, experiment="e-1")
        measured = json.dumps({"validation_loss": 0.1 + 0.2, "validation_accuracy": 66, "source_accuracy_masked": 0.7})
        db.execute("INSERT INTO experiments (id, name, created, base) VALUES ('e-1', 'Turned', 1.0, 'r-1')")
        db.execute("INSERT INTO epochs VALUES ('r-1', 1, 5, 0.5, 1.5, 640.0, ?)", (measured,))
        db.execute("INSERT INTO members VALUES ('e-1', 'r-1')")
        old_looks = [('["lora 16", "lora 4"]', 8, 0.03125, '{"lora 4": {"lower": null}}')]
        old_looks += [('["größer 1"]', 16, 0.009375, "{}")]
        first = "5, ?"
        if version >= 13:  # each member has a number of epochs
            first = "(SELECT json_group_array(json_array(value, 5)) FROM json_each(?))"
        db.executemany(f"INSERT INTO looks VALUES ('e-1', {first}, ?, ?, ?, 7.0)", old_looks)
        db.execute(f"PRAGMA user_version = {version}")
        db.commit()
    assert Store(old).run("r-1").spec == spec
    assert (Store(old).experiment("e-1").runs, Store(old).experiments_of(["r-1"])) == (("r-1",), ["e-1"])
    looks = Looks(Store(old))
    kept = [
        Look((("lora 16", 5), ("lora 4", 5)), 8, 0.03125, None, at=7.0),
        Look((("größer 1", 5),), 16, 0.009375, (), at=7.0),
    ]
    assert (looks.of("e-1"), looks.are_kept("e-1")) == (kept, False)
    # What was shown is not known of any settings, until it is found again; nothing else of a look changes.
    again = [replace(look, level=0.5, claims=(Shown("lower", ("f", "a"), methods=True),)) for look in kept]
    for each in (again, [replace(look, claims=()) for look in kept]):
        looks.record("e-1", each)
    assert looks.of("e-1") == [replace(kept[0], claims=again[0].claims), kept[1]]
    (epoch,) = Store(old).curve("r-1").epochs.to_dict("records")
    assert epoch == {
        "epoch": 1,
        "step": 5,
        "seconds": 0.5,
        "train_loss": 1.5,
        "validation_loss": 0.1 + 0.2,  # to the last digit
        "validation_accuracy": 66,
        "source_accuracy_masked": 0.7,
        "examples_per_second": 640.0,
    }
    both = []
    for path in (old, new):
        with closing(sqlite3.connect(path)) as db:
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
            columns = [
                db.execute(f"SELECT name, type, dflt_value, hidden FROM pragma_table_xinfo('{table}')").fetchall()
                for table in tables
            ]
            others = db.execute("SELECT name, sql FROM sqlite_master WHERE type <> 'table' ORDER BY name").fetchall()
            both.append((tables, columns, others))
            assert db.execute("SELECT count(*) FROM tags").fetchone() == (0,)
            assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert both[0] == both[1]
    with closing(sqlite3.connect(old)) as db:
        found = db.execute("SELECT dataset, kind, accuracy FROM runs").fetchone()
    assert found == ("digits", '{"kind":"pretrain"}', 90.0)
    assert Search(Store(old)).count(Query(text="pretrain")) == 1
