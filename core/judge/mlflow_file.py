"""The SQLite file of an MLflow server: one row for each run, with its params and its metrics."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from core.errors import JudgeError
from core.judge.table import LIMITS, MAX_CELLS, MAX_ROWS, Table, table_of
from core.reader import in_reader

MAGIC = b"SQLite format 3\x00"

WAL = 2
"""Version in the header of a file with a log beside it, which a file in memory cannot have."""

OURS = "lora_lab.run"
"""Tag of a run that this lab has sent."""

EPOCH = "epoch/"
RESULT = "result/"
"""Beginnings of the names of metrics that this lab sends; see :mod:`core.tracking.tracker`."""

STATES = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "stopped"}

TABLES = ("experiments", "runs", "params", "latest_metrics", "metrics", "tags")

DAMAGED = "The file is a SQLite file but damaged, or it is in use: copy it while nothing writes to it."


@in_reader(JudgeError, "The SQLite file", LIMITS)
def read_mlflow(content: bytes) -> Table:
    """Read a file of MLflow. Of a metric with several steps the column is called as in ``accuracy (last)``.

    Raises:
        JudgeError: it is damaged, or no file of MLflow.
    """
    header = bytearray(content[:20])
    header[18:20] = (min(header[18], WAL - 1), min(header[19], WAL - 1)) if len(header) == 20 else b""
    try:
        with closing(sqlite3.connect(":memory:")) as db:
            db.deserialize(bytes(header) + content[20:])
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA trusted_schema = OFF")
            there = {row["name"] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if missing := [name for name in TABLES if name not in there]:
                raise JudgeError(f"The SQLite file is not one of MLflow: it has no table {missing[0]}.")
            return _table(db)
    except JudgeError:
        raise
    except (sqlite3.Error, ValueError, TypeError, MemoryError, OverflowError) as error:
        raise JudgeError(DAMAGED) from error


def _table(db: sqlite3.Connection) -> Table:
    runs = db.execute(
        "SELECT r.run_uuid AS id, r.name, r.status, e.name AS experiment FROM runs r"
        " JOIN experiments e ON e.experiment_id = r.experiment_id WHERE r.lifecycle_stage = 'active'"
        " ORDER BY r.start_time, r.run_uuid LIMIT ?",
        (MAX_ROWS,),
    ).fetchall()
    params = _by_run(db, "SELECT run_uuid AS id, key, value FROM params")
    tags = _by_run(db, "SELECT run_uuid AS id, key, value FROM tags")
    latest = _by_run(
        db, "SELECT run_uuid AS id, key, CASE WHEN is_nan THEN NULL ELSE value END AS value FROM latest_metrics"
    )
    steps = db.execute("SELECT run_uuid AS id, key FROM metrics GROUP BY run_uuid, key HAVING count(DISTINCT step) > 1")
    several = {row["key"] for row in steps}
    names = {row["id"]: str(row["name"]) for row in runs}
    curves: dict[str, dict[str, dict[int, float]]] = {}

    def rows() -> Iterator[tuple[int, dict[str, str]]]:
        for number, run in enumerate(runs, 1):
            own, tag = params.get(run["id"], {}), tags.get(run["id"], {})
            metrics = latest.get(run["id"], {})
            state = STATES.get(str(run["status"]), "stopped")
            parent = names.get(str(tag.get("mlflow.parentRunId")))
            row = {"run": str(run["id"]), "name": str(run["name"]), "state": state}
            row["experiment"] = parent or str(run["experiment"])
            if OURS in tag:
                row |= {"run": str(tag[OURS]), **_ours(own, metrics)}
                row["state"] = str(tag.get("lora_lab.state", state))
                curves[row["run"]] = _curves(db, run["id"])
            elif not metrics:
                continue  # a group of runs
            else:
                row |= {key: _text(value) for key, value in own.items() if key not in row}
                row |= {
                    f"{key} (last)" if key in several else key: _text(value)
                    for key, value in metrics.items()
                    if key not in row
                }
            yield number, row

    found = table_of(rows(), "Run")
    return Table(found.columns, found.places, found.unit, found.notes, curves=curves)


def _by_run(db: sqlite3.Connection, query: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in db.execute(f"{query} LIMIT ?", (MAX_CELLS,)):
        found.setdefault(row["id"], {})[str(row["key"])] = row["value"]
    return found


def _text(value: object) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _ours(params: dict[str, Any], metrics: dict[str, Any]) -> dict[str, str]:
    """What this lab has sent of a run, under the names that its exported tables have."""
    parts = ("method.", "optim.")
    named = {
        key.removeprefix("method.").removeprefix("optim."): _text(value)
        for key, value in params.items()
        if key.startswith(parts)
    }
    named["method"] = named.pop("kind", "")
    named["seed"] = _text(params.get("seed"))
    own = {key.removeprefix(RESULT): value for key, value in metrics.items() if key.startswith(RESULT)}
    for name in ("trainable_parameters", "steps"):
        if own.get(name) is not None:
            own[name] = int(own[name])
    left_out = {"epochs", "seconds", "examples_per_second", "parameters", "memory", "checkpoint_bytes", "adapter_bytes"}
    left_out |= {"kept_epoch", "threads", "bank", "peak_memory"}
    kept = {key: _text(value) for key, value in own.items() if key not in left_out}
    return named | {key: value for key, value in kept.items() if not key.startswith("source_") and "_before" not in key}


def _curves(db: sqlite3.Connection, id: str) -> dict[str, dict[int, float]]:
    """Measures on the validation part by epoch, of a run that this lab has sent."""
    query = "SELECT key, step, value FROM metrics WHERE run_uuid = ? AND key LIKE 'epoch/%' AND NOT is_nan LIMIT ?"
    points = db.execute(query, (id, MAX_CELLS)).fetchall()
    epochs = {row["step"]: int(row["value"]) for row in points if row["key"] == f"{EPOCH}epoch"}
    found: dict[str, dict[int, float]] = {}
    for row in points:
        if row["step"] in epochs:
            found.setdefault(row["key"].removeprefix(EPOCH), {})[epochs[row["step"]]] = float(row["value"])
    return found
