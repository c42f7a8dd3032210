"""Losses and epochs of runs, in the store's tables: written as they come, cut where a run goes on, read whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from core.store.record import EPOCH_COLUMNS, Curve
from core.training.events import EpochEnd, StepLoss


def write_losses(db: sqlite3.Connection, id: str, event: StepLoss) -> None:
    """Add the losses of some steps."""
    losses, moments = event.losses.astype("<f4").tobytes(), event.seconds.astype("<f8").tobytes()
    db.execute("INSERT INTO losses VALUES (?, ?, ?, ?)", (id, event.first_step, losses, moments))


def write_epoch(db: sqlite3.Connection, id: str, event: EpochEnd) -> None:
    """Add an epoch."""
    values = asdict(event)
    db.execute(
        f"INSERT INTO epochs (run, {', '.join(EPOCH_COLUMNS)}) VALUES (?, {', '.join('?' * len(EPOCH_COLUMNS))})",  # noqa: S608
        (id, *(values[column] for column in EPOCH_COLUMNS)),
    )


def cut(db: sqlite3.Connection, id: str, step: int) -> None:
    """Forget what came after a step, and the end of the epoch that ends there: it is evaluated again."""
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
    """The last step whose loss is there, 0 where there is none."""
    row = db.execute(
        "SELECT first_step - 1 + length(losses) / 4 FROM losses WHERE run = ? ORDER BY first_step DESC LIMIT 1", (id,)
    ).fetchone()
    return int(row[0]) if row else 0


def curve_of(losses: Sequence[sqlite3.Row], epochs: Sequence[sqlite3.Row]) -> Curve:
    """The curve in these rows of the two tables, each in order."""
    # One array out of all bytes, not one a row: a long run has thousands of rows, and a live tick reads them all.
    loss = np.frombuffer(b"".join(row["losses"] for row in losses), "<f4").astype(np.float32)
    seconds = np.frombuffer(b"".join(row["seconds"] for row in losses), "<f8").astype(np.float64)
    counts = np.array([len(row["losses"]) // 4 for row in losses], np.int64)
    first = np.array([row["first_step"] for row in losses], np.int64)
    step = np.repeat(first - counts.cumsum() + counts, counts) + np.arange(len(loss))
    # Column by column: making one table first and casting it cost a live tick more than reading the rows.
    kinds = {name: "int64" if name in ("epoch", "step") else "float64" for name in EPOCH_COLUMNS}
    table = pd.DataFrame({name: np.array([row[name] for row in epochs], kind) for name, kind in kinds.items()})
    return Curve(step=step, seconds=seconds, loss=loss, epochs=table)
