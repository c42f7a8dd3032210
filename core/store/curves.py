"""Losses and epochs of runs in the store's tables: appended during training, truncated on resume, read as a curve."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.store.record import EPOCH_COLUMNS, Curve
from core.training.stepper import EpochEnd, StepLoss


def write_losses(db: sqlite3.Connection, id: str, event: StepLoss) -> None:
    """Append the losses of some steps."""
    losses, moments = event.losses.astype("<f4").tobytes(), event.seconds.astype("<f8").tobytes()
    db.execute("INSERT INTO losses VALUES (?, ?, ?, ?)", (id, event.first_step, losses, moments))


def write_epoch(db: sqlite3.Connection, id: str, event: EpochEnd) -> None:
    """Append an epoch."""
    values = [getattr(event, column) for column in EPOCH_COLUMNS]
    insert_epoch(db, id, values, event.measures)


def insert_epoch(db: sqlite3.Connection, id: str, values: Sequence[Any], measures: Mapping[str, float]) -> None:
    """Insert a row of the epochs. Args: values: of :data:`EPOCH_COLUMNS`; measures: by name."""
    names = ", ".join(["run", *EPOCH_COLUMNS, "measures"])
    marks = ", ".join("?" * (len(EPOCH_COLUMNS) + 2))
    db.execute(f"INSERT INTO epochs ({names}) VALUES ({marks})", (id, *values, json.dumps(measures)))  # noqa: S608


def measures_of(epochs: Sequence[sqlite3.Row]) -> dict[str, NDArray[np.float64]]:
    """Measures by name, each of shape (epochs,), NaN where an epoch has none; in the order of their first epochs."""
    read = [json.loads(row["measures"]) for row in epochs]
    names = dict.fromkeys(name for measures in read for name in measures)
    return {name: np.array([measures.get(name) for measures in read], np.float64) for name in names}


def trends_of(measures: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """What three times the epochs would add to each measure, if it goes on as in the last two thirds of the epochs.

    The slope of the least-squares line on the logarithm of the epoch, times ln 3. Curves that level off have a smaller
    slope later, so that this is a bound on what is added.

    Args:
        measures: by name, (epochs,) each, from the first epoch; NaN where there was no evaluation.

    Returns:
        By name, of those that were measured after at least two of these epochs, and after the last one.
    """
    found = {}
    for name, values in measures.items():
        epochs = np.arange(1, len(values) + 1)
        late = (epochs > len(values) / 3) & ~np.isnan(values)
        x = np.log(epochs[late])
        if len(x) > 1 and late[-1] and np.isfinite(values[late]).all():
            x -= x.mean()
            found[name] = float(values[late] @ x / (x @ x) * math.log(3))
    return found


def cut(db: sqlite3.Connection, id: str, step: int) -> None:
    """Delete what came after a step, and the epoch that ends at it, since that is evaluated again."""
    db.execute("DELETE FROM epochs WHERE run = ? AND step >= ?", (id, step))
    db.execute("DELETE FROM losses WHERE run = ? AND first_step > ?", (id, step))
    last = db.execute(
        "SELECT first_step, losses, seconds FROM losses WHERE run = ? ORDER BY first_step DESC LIMIT 1", (id,)
    ).fetchone()
    if last is not None:
        count = step + 1 - last["first_step"]
        db.execute(
            "UPDATE losses SET losses = ?, seconds = ? WHERE run = ? AND first_step = ?",
            (last["losses"][: 4 * count], last["seconds"][: 8 * count], id, last["first_step"]),
        )


def last_step(db: sqlite3.Connection, id: str) -> int:
    """The last step with a stored loss; 0 if there is none."""
    row = db.execute(
        "SELECT first_step - 1 + length(losses) / 4 FROM losses WHERE run = ? ORDER BY first_step DESC LIMIT 1", (id,)
    ).fetchone()
    return int(row[0]) if row else 0


def curve_of(losses: Sequence[sqlite3.Row], epochs: Sequence[sqlite3.Row]) -> Curve:
    """The curve made of rows of the two tables, each sorted by step."""
    # One array from all bytes, not one per row: a long run has thousands of rows, and every live update reads them.
    loss = np.frombuffer(b"".join(row["losses"] for row in losses), "<f4").astype(np.float32)
    seconds = np.frombuffer(b"".join(row["seconds"] for row in losses), "<f8").astype(np.float64)
    counts = np.array([len(row["losses"]) // 4 for row in losses], np.int64)
    first = np.array([row["first_step"] for row in losses], np.int64)
    step = np.repeat(first - counts.cumsum() + counts, counts) + np.arange(len(loss))
    # Column by column: casting a whole table would take longer than reading the rows.
    kinds = {name: "int64" if name in ("epoch", "step") else "float64" for name in EPOCH_COLUMNS}
    columns = {name: np.array([row[name] for row in epochs], kind) for name, kind in kinds.items()}
    pace = columns.pop(EPOCH_COLUMNS[-1])
    table = pd.DataFrame(columns | measures_of(epochs) | {EPOCH_COLUMNS[-1]: pace})
    return Curve(step=step, seconds=seconds, loss=loss, epochs=table)
