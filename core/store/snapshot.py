"""Reading all rows of one run from the store's tables, writing them back, and removing them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.errors import RunFileError, SpecError
from core.run_spec import RunSpec
from core.store.curves import insert_epoch, measures_of
from core.store.record import EPOCH_COLUMNS, WAITING
from core.store.run_file import COLUMNS, EPOCH_MEASURE, RunFile
from core.training.sharing import bank_key

PLAN = ("plan", "plan_state")
"""Columns of experiments that are copied where there is a plan, and were not there in earlier versions."""


def snapshot(db: sqlite3.Connection, id: str) -> RunFile | None:
    """All rows of a run at this moment; None if there is no such run.

    Args:
        db: a connection whose rows are :class:`sqlite3.Row`, in a transaction.
        id: of the run.
    """
    row = db.execute(f"SELECT {', '.join(COLUMNS)}, experiment FROM runs WHERE id = ?", (id,)).fetchone()  # noqa: S608
    if row is None:
        return None
    having = "SELECT * FROM experiments WHERE id IN (SELECT experiment FROM members WHERE run = ?) ORDER BY created"
    experiments = {found["id"]: found for found in db.execute(having, (id,))}
    known = experiments.pop(row["experiment"], None)
    losses = db.execute("SELECT first_step, losses, seconds FROM losses WHERE run = ? ORDER BY first_step", (id,))
    reports = losses.fetchall()
    epochs = db.execute(f"SELECT {', '.join(EPOCH_COLUMNS)}, measures FROM epochs WHERE run = ? ORDER BY epoch", (id,))  # noqa: S608
    rows = epochs.fetchall()
    table = np.array([[row[name] for name in EPOCH_COLUMNS] for row in rows], np.float64)  # NULL becomes NaN
    return RunFile(
        row={name: row[name] for name in COLUMNS},
        experiment=_experiment(known) if known else None,
        others=[_experiment(other) for other in experiments.values()],
        tags=[tag["tag"] for tag in db.execute("SELECT tag FROM tags WHERE run = ? ORDER BY tag", (id,))],
        files={f["name"]: f["sha256"] for f in db.execute("SELECT name, sha256 FROM files WHERE run = ?", (id,))},
        log=[
            (entry["at"], entry["text"])
            for entry in db.execute("SELECT * FROM log WHERE run = ? ORDER BY rowid", (id,))
        ],
        transitions=[
            (entry["at"], entry["state"])
            for entry in db.execute("SELECT * FROM transitions WHERE run = ? ORDER BY rowid", (id,))
        ],
        curve={
            "first": np.array([report["first_step"] for report in reports], np.int64),
            "count": np.array([len(report["losses"]) // 4 for report in reports], np.int64),
            "loss": np.frombuffer(b"".join(report["losses"] for report in reports), "<f4"),
            "seconds": np.frombuffer(b"".join(report["seconds"] for report in reports), "<f8"),
            "epochs": table.reshape(-1, len(EPOCH_COLUMNS)),
        }
        | {EPOCH_MEASURE + name: values for name, values in measures_of(rows).items()},
    )


def _experiment(row: sqlite3.Row) -> dict[str, object]:
    values = {name: row[name] for name in row.keys() if name != "keeps_looks"}  # noqa: SIM118 (not a dictionary)
    return values if row["plan"] else {name: value for name, value in values.items() if name not in PLAN}


def put(db: sqlite3.Connection, file: RunFile, owner: str) -> None:
    """Replace all rows of a run by those in a file.

    A run that was queued or running becomes interrupted, since its process is gone.

    Args:
        db: a connection in a transaction.
        file: copy of the run.
        owner: name of the process that may resume it.

    Raises:
        RunFileError: another version wrote its spec.
    """
    try:
        spec = RunSpec.from_json(file.row["spec"])
    except SpecError as error:
        raise RunFileError(f"The spec of run {file.id} cannot be read: {error}") from error
    known = db.execute("SELECT 1 FROM runs WHERE id = ?", (file.id,)).fetchone()
    _clear(db, [file.id])
    for experiment in ([file.experiment] if file.experiment else []) + file.others:
        _put_experiment(db, experiment, file.id, is_later=known is not None)
    values = file.row | {
        "method": spec.kind,
        "base": spec.base,
        "bank_key": bank_key(spec),
        "owner": owner,
        "experiment": file.experiment["id"] if file.experiment else None,
    }
    left = values["state"] in WAITING
    if left:
        values["state"] = "interrupted"
    names = ", ".join(values)
    db.execute(f"INSERT INTO runs ({names}) VALUES ({', '.join(f':{name}' for name in values)})", values)  # noqa: S608
    id, curve = file.id, file.curve
    db.executemany("INSERT INTO tags VALUES (?, ?)", [(id, tag) for tag in file.tags])
    db.executemany("INSERT INTO files VALUES (?, ?, ?)", [(id, name, sha) for name, sha in file.files.items()])
    db.executemany("INSERT INTO log VALUES (?, ?, ?)", [(id, at, text) for at, text in file.log])
    db.executemany("INSERT INTO transitions VALUES (?, ?, ?)", [(id, at, state) for at, state in file.transitions])
    ends = np.cumsum(curve["count"])
    db.executemany(
        "INSERT INTO losses VALUES (?, ?, ?, ?)",
        [
            (id, int(first), curve["loss"][end - n : end].tobytes(), curve["seconds"][end - n : end].tobytes())
            for first, n, end in zip(curve["first"], curve["count"], ends, strict=True)
        ],
    )
    measures = file.epoch_measures
    for place, (epoch, step, *numbers) in enumerate(curve["epochs"]):
        own = {name: float(values[place]) for name, values in measures.items() if not np.isnan(values[place])}
        insert_epoch(db, id, (int(epoch), int(step), *map(_number, numbers)), own)
    # The triggers have counted the inserts as changes. The file is up to date unless the state changed to interrupted.
    db.execute("UPDATE runs SET changes = ?, copied = ? WHERE id = ?", (file.changes + left, file.changes, file.id))
    if left:
        db.execute("INSERT INTO transitions VALUES (?, ?, 'interrupted')", (id, time.time()))


def _put_experiment(db: sqlite3.Connection, experiment: dict[str, Any], run: str, is_later: bool) -> None:
    """Write an experiment that a copy of one of its runs has, and that it has the run."""
    db.execute(
        "INSERT OR IGNORE INTO experiments VALUES (:id, :name, :created, :base, :trim, :plan, :plan_state, 0)",
        {"trim": 0, "plan": None, "plan_state": "complete"} | experiment,
    )
    if experiment.get("plan"):  # it only gets longer, and each run has it as it was when the run was copied
        later = "SET plan = :plan, plan_state = 'open' WHERE id = :id AND length(plan) < length(:plan)"
        db.execute(f"UPDATE experiments {later}", experiment)
    if is_later:  # and so is the name in it
        db.execute("UPDATE experiments SET name = :name WHERE id = :id AND name != :name", experiment)
    db.execute("INSERT OR IGNORE INTO members VALUES (?, ?)", (experiment["id"], run))


def remove(db: sqlite3.Connection, ids: Sequence[str]) -> None:
    """Remove all rows of these runs, and experiments that have no runs left."""
    _clear(db, ids)
    db.execute("DELETE FROM experiments WHERE id NOT IN (SELECT experiment FROM members)")
    db.execute(
        "DELETE FROM looks WHERE NOT EXISTS (SELECT 1 FROM experiments WHERE id = looks.experiment)"
        " AND NOT EXISTS (SELECT 1 FROM judged WHERE id = looks.experiment)"
    )


def leave(db: sqlite3.Connection, experiment: str, ids: Sequence[str]) -> None:
    """Take runs out of an experiment, each of which another experiment has, too."""
    for id in ids:
        db.execute("DELETE FROM members WHERE experiment = ? AND run = ?", (experiment, id))
        other = "(SELECT min(experiment) FROM members WHERE run = runs.id)"
        db.execute(f"UPDATE runs SET experiment = {other} WHERE id = ? AND experiment = ?", (id, experiment))  # noqa: S608


def _clear(db: sqlite3.Connection, ids: Sequence[str]) -> None:
    """Remove all rows of these runs, from every table that has a column for the run."""
    of_runs = "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
    for table in [row["name"] for row in db.execute(f"{of_runs} AND c.name = 'run'")]:
        db.executemany(f"DELETE FROM {table} WHERE run = ?", [(id,) for id in ids])  # noqa: S608
    db.executemany("DELETE FROM runs WHERE id = ?", [(id,) for id in ids])


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
