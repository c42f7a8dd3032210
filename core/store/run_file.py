"""The file ``run.json`` in a run's folder: all rows of the run in the store, with its spec, result and curve.

It is written before the store says that the run has a checkpoint or a result, so that it is never behind in what was
trained, and anybody can read it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from core.errors import RunFileError
from core.files import write_atomically
from core.run_spec import RunSpec
from core.store.deletions import clear
from core.store.record import PROCESS_ENDED, WAITING

NAME = "run.json"
"""Name of the file."""

FORMAT = "lora-lab-run-3"

BYTES = "base64"
"""Key of an object that stands for bytes, such as the losses of some steps."""

Rows = dict[str, list[dict[str, Any]]]
"""Rows of a run by the name of their table, each with its values by column."""

TABLES = {
    "runs": "id = ?",
    "experiments": "id IN (SELECT experiment FROM members WHERE run = ?)",
    **dict.fromkeys(("members", "tags", "files", "log", "transitions", "losses", "epochs"), "run = ?"),
}
"""Tables that are in the file, and SQL that selects the rows of a run."""


def write_run_file(db: sqlite3.Connection, folder: Path) -> None:
    """Write the file of a run as its rows will be after this transaction.

    Args:
        db: a connection in a transaction.
        folder: of the run, with its id as name.

    Raises:
        OSError: it cannot be written; the one of before stays.
    """
    rows = {}
    for table, where in TABLES.items():
        query = f"SELECT {', '.join(_columns(db, table))} FROM {table} WHERE {where}"  # noqa: S608
        rows[table] = [dict(row) for row in db.execute(query, (folder.name,))]
    text = json.dumps(rows, default=lambda value: {BYTES: base64.b64encode(value).decode()})
    about = {"format": FORMAT, "sha256": hashlib.sha256(text.encode()).hexdigest(), "rows": text}
    write_atomically(folder / NAME, json.dumps(about).encode())


def read_run_file(folder: Path) -> Rows:
    """Read the file in a run's folder.

    Raises:
        RunFileError: it is missing, damaged, of a newer version, or belongs to another run.
    """
    try:
        about = json.loads((folder / NAME).read_bytes())
        digest = hashlib.sha256(about["rows"].encode()).hexdigest()
        rows: Rows = json.loads(about["rows"], object_hook=_bytes)
        known = (about["format"], about["sha256"], rows["runs"][0]["id"])
        RunSpec.from_json(rows["runs"][0]["spec"])
    except OSError as error:
        raise RunFileError(f"{folder} has no readable file {NAME} ({error.strerror}).") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunFileError(f"The file {NAME} in {folder} cannot be read: {error}") from error
    if known != (FORMAT, digest, folder.name):
        raise RunFileError(f"The file {NAME} in {folder} is damaged, of another run, or of a newer LoRA Lab.")
    return rows


def put(db: sqlite3.Connection, rows: Rows) -> None:
    """Put rows in the place of those that the store has of a run; experiments that it has stay as they are.

    A run that was queued or running becomes interrupted, since its process is gone.
    """
    run = dict(rows["runs"][0]) | {"owner": ""}
    more: list[dict[str, Any]] = []
    if run["state"] in WAITING:
        run |= {"state": "interrupted", "cause": PROCESS_ENDED, "changes": run["changes"] + 1}
        more = [{"run": run["id"], "at": time.time(), "state": "interrupted"}]
    own = {"runs": [run], "transitions": [*rows["transitions"], *more]}
    own["experiments"] = [row | {"keeps_looks": 0} for row in rows["experiments"]]
    clear(db, [run["id"]])
    for table, found in (rows | own).items():
        known = _columns(db, table)
        for row in found:
            names = [name for name in row if name in known]
            marks = ", ".join(f":{name}" for name in names)
            db.execute(f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})", row)  # noqa: S608
    for row in (row for row in rows["experiments"] if row.get("plan")):
        # It only gets longer, and each file has it as it was when it was written.
        later = "SET plan = :plan, plan_state = 'open' WHERE id = :id AND length(plan) < length(:plan)"
        db.execute(f"UPDATE experiments {later}", row)
    db.execute("UPDATE runs SET changes = :changes WHERE id = :id", run)  # the triggers have counted the inserts


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    """Names of the columns of a table, but for those that SQLite computes."""
    return [row["name"] for row in db.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def _bytes(value: dict[str, Any]) -> dict[str, Any] | bytes:
    return base64.b64decode(value[BYTES]) if value.keys() == {BYTES} else value
