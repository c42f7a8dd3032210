"""The store's tables, and the state transitions of runs that are allowed."""

from __future__ import annotations

from core.store.record import State

VERSION = 14
"""Version of the tables below, stored in the file as ``user_version``."""

_DATASET = "dataset TEXT GENERATED ALWAYS AS (json_extract(spec, '$.task.dataset')) VIRTUAL"

_FROM_RESULT = {
    # Python writes NaN into JSON, which makes it invalid: such a result has no number to sort by.
    "accuracy": (
        "REAL GENERATED ALWAYS AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.accuracy') END) VIRTUAL"
    ),
    "training_seconds": (
        "REAL GENERATED ALWAYS AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.seconds') END) VIRTUAL"
    ),
    "stored_bytes": (
        "INTEGER GENERATED ALWAYS AS (CASE WHEN json_valid(result) THEN coalesce("
        "json_extract(result, '$.adapter_bytes'), json_extract(result, '$.checkpoint_bytes')) END) VIRTUAL"
    ),
}
"""Columns that runs are sorted by. SQLite computes them from the result."""

_KIND = "kind TEXT GENERATED ALWAYS AS (json_extract(spec, '$.method')) VIRTUAL"
"""A run's method with its settings, in the JSON of its spec. Runs of the same kind have the same
:attr:`core.run_spec.RunSpec.label`; see :mod:`core.store.search`."""

_KIND_INDEX = "CREATE INDEX runs_by_kind ON runs (kind);"

_INDICES = """
CREATE INDEX runs_by_created ON runs (archived, created);
CREATE INDEX runs_by_dataset ON runs (dataset);
CREATE INDEX runs_by_accuracy ON runs (accuracy);
CREATE INDEX runs_by_training_seconds ON runs (training_seconds);
CREATE INDEX runs_by_base ON runs (base);
CREATE INDEX tags_by_tag ON tags (tag);
"""

_COUNT_CHANGES = """
CREATE TRIGGER run_changed AFTER UPDATE OF state, result, cause, note, archived ON runs
BEGIN UPDATE runs SET changes = changes + 1 WHERE id = NEW.id; END;
CREATE TRIGGER tag_added AFTER INSERT ON tags BEGIN UPDATE runs SET changes = changes + 1 WHERE id = NEW.run; END;
CREATE TRIGGER tag_removed AFTER DELETE ON tags BEGIN UPDATE runs SET changes = changes + 1 WHERE id = OLD.run; END;
CREATE TRIGGER file_added AFTER INSERT ON files BEGIN UPDATE runs SET changes = changes + 1 WHERE id = NEW.run; END;
CREATE TRIGGER file_removed AFTER DELETE ON files BEGIN UPDATE runs SET changes = changes + 1 WHERE id = OLD.run; END;
CREATE TRIGGER log_added AFTER INSERT ON log BEGIN UPDATE runs SET changes = changes + 1 WHERE id = NEW.run; END;
"""
"""Triggers that count the changes of each run: of the store and the file in its folder, the one with more is newer."""

_MEMBERS = """
CREATE TABLE members (
    experiment TEXT NOT NULL, run TEXT NOT NULL, PRIMARY KEY (experiment, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_run ON members (run);
CREATE TRIGGER member_added AFTER INSERT ON members
BEGIN UPDATE runs SET changes = changes + 1 WHERE id = NEW.run; END;
CREATE TRIGGER member_removed AFTER DELETE ON members
BEGIN UPDATE runs SET changes = changes + 1 WHERE id = OLD.run; END;
CREATE TRIGGER experiment_renamed AFTER UPDATE OF name ON experiments
BEGIN UPDATE runs SET changes = changes + 1 WHERE id IN (SELECT run FROM members WHERE experiment = NEW.id); END;
"""
"""Which runs experiments have: a run may belong to several. The column ``experiment`` of a run has the one in whose
place in the queue it is trained."""

_LOOKS = """
CREATE TABLE looks (
    experiment TEXT NOT NULL, account TEXT NOT NULL, seeds INTEGER NOT NULL,
    level REAL NOT NULL, claims TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (experiment, account, seeds)
) STRICT, WITHOUT ROWID;
"""
"""Looks at experiments; ``account`` and ``claims`` are JSON. See :class:`core.store.looks.Look`."""

_JUDGED = """
CREATE TABLE judged (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created REAL NOT NULL, note TEXT NOT NULL DEFAULT '',
    content TEXT NOT NULL
) STRICT;
CREATE TABLE judged_files (
    judged TEXT NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, at REAL NOT NULL
) STRICT;
CREATE INDEX judged_files_by_judged ON judged_files (judged);
CREATE TABLE judged_values (
    judged TEXT NOT NULL, reported TEXT NOT NULL, measures BLOB NOT NULL, PRIMARY KEY (judged, reported)
) STRICT, WITHOUT ROWID;
"""
"""Results that were reported by others; ``content`` is JSON. See :class:`core.store.judged.Judged`. Looks at them are
in the table of all looks, under the same id. No column is called ``run``: by that, rows of deleted
runs are found."""

_EPOCHS = """
CREATE TABLE epochs (
    run TEXT NOT NULL, epoch INTEGER NOT NULL, step INTEGER NOT NULL, seconds REAL NOT NULL,
    train_loss REAL, examples_per_second REAL, measures TEXT NOT NULL, PRIMARY KEY (run, epoch)
) STRICT, WITHOUT ROWID;
"""
"""Epochs of runs; ``measures`` is JSON, values by name."""

TABLES = f"""
CREATE TABLE runs (
    id TEXT PRIMARY KEY, spec TEXT NOT NULL, method TEXT NOT NULL, base TEXT, bank_key TEXT NOT NULL,
    state TEXT NOT NULL, experiment TEXT, owner TEXT NOT NULL, stop_asked INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL, started REAL, ended REAL, cause TEXT, traceback TEXT, result TEXT,
    step INTEGER NOT NULL DEFAULT 0, steps INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0, rate REAL,
    resumed_step INTEGER NOT NULL DEFAULT 0, resumed_seconds REAL NOT NULL DEFAULT 0,
    archived INTEGER NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT '',
    {_DATASET}, {", ".join(f"{name} {definition}" for name, definition in _FROM_RESULT.items())},
    changes INTEGER NOT NULL DEFAULT 1, {_KIND}
) STRICT;
CREATE TABLE tags (run TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (run, tag)) STRICT, WITHOUT ROWID;
{_INDICES}
{_KIND_INDEX}
CREATE INDEX runs_by_state ON runs (state, created);
CREATE INDEX runs_by_bank ON runs (bank_key, state);
CREATE INDEX runs_by_experiment ON runs (experiment);
CREATE TABLE experiments (id TEXT PRIMARY KEY, name TEXT NOT NULL, created REAL NOT NULL, base TEXT NOT NULL,
    trim INTEGER NOT NULL DEFAULT 0, plan TEXT, plan_state TEXT NOT NULL DEFAULT 'complete',
    keeps_looks INTEGER NOT NULL DEFAULT 0
) STRICT;
{_LOOKS}{_JUDGED}CREATE TABLE transitions (run TEXT NOT NULL, at REAL NOT NULL, state TEXT NOT NULL) STRICT;
CREATE INDEX transitions_by_run ON transitions (run);
CREATE TABLE losses (
    run TEXT NOT NULL, first_step INTEGER NOT NULL, losses BLOB NOT NULL, seconds BLOB NOT NULL,
    PRIMARY KEY (run, first_step)
) STRICT, WITHOUT ROWID;
{_EPOCHS}
CREATE TABLE log (run TEXT NOT NULL, at REAL NOT NULL, text TEXT NOT NULL) STRICT;
CREATE INDEX log_by_run ON log (run);
CREATE TABLE files (
    run TEXT NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;
{_COUNT_CHANGES}{_MEMBERS}"""

UPGRADES: dict[int, str] = {
    12: f"""
ALTER TABLE looks RENAME TO looks_12;{_LOOKS}
INSERT INTO looks SELECT experiment,
    (SELECT json_group_array(json_array(value, epochs)) FROM json_each(family)), seeds, level, claims, at FROM looks_12;
DROP TABLE looks_12;
""",  # noqa: S608 (constants)
    13: """
DROP INDEX runs_to_copy;
ALTER TABLE runs DROP COLUMN copied;
""",
}
"""SQL that upgrades the tables of each version to the next one. The first one is that of commit 3fc5ed74."""

NEXT: dict[State, tuple[State, ...]] = {
    "queued": ("running", "stopped", "failed"),
    "running": ("finished", "stopped", "failed", "interrupted"),
    "interrupted": ("queued", "stopped"),
    "finished": (),
    "stopped": ("queued",),
    "failed": ("queued",),
}
"""States that may follow each state."""
