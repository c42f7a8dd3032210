"""What is known of runs, in one SQLite file that several processes may use at once."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.errors import LabError, QueueFullError, RunStateError, UnknownRunError
from core.runs.record import EPOCH_COLUMNS, WAITING, Curve, Experiment, Result, Run, State
from core.runs.schema import NEXT, TABLES, UPGRADES, VERSION
from core.spec import RunSpec
from core.training.loop import EpochEnd, StepLoss


class Store:
    """The store. Every method is one transaction, and any thread may call it."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            LabError: the file is not a store, or a newer version wrote it.
        """
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._create()
        except sqlite3.DatabaseError as error:
            raise LabError(f"{path} is not a store of runs ({error}): move it away, and a new one is made.") from error

    def _create(self) -> None:
        with self._transaction() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise LabError(f"{self.path} was written by a newer LoRA Lab: update, or choose another home folder.")
            scripts = [UPGRADES[old] for old in range(version, VERSION)] if version else [TABLES]
            # One by one: executescript would commit, and two processes may open a new store at once.
            for statement in (part for script in scripts for part in script.split(";") if part.strip()):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the connections; the store opens new ones where it is used again."""
        while self._idle:
            self._idle.pop().close()

    # Runs and experiments

    def add(
        self, runs: Sequence[tuple[str, RunSpec]], owner: str, limit: int, experiment: Experiment | None = None
    ) -> None:
        """Queue runs, all or none.

        Args:
            runs: ids and specs.
            owner: the process that will train them.
            limit: how many runs may wait at once.
            experiment: what they belong to, if they are to be compared; stored with them.

        Raises:
            QueueFullError: more than ``limit`` would wait; nothing was queued.
        """
        now = time.time()
        with self._transaction() as db:
            (waiting,) = db.execute("SELECT count(*) FROM runs WHERE state = 'queued'").fetchone()
            if waiting + len(runs) > limit:
                raise QueueFullError(
                    f"The queue takes {limit} waiting runs and {waiting} wait already: "
                    f"stop some, or come back when they are done."
                )
            if experiment:
                db.execute(
                    "INSERT INTO experiments (id, name, created, base) VALUES (?, ?, ?, ?)",
                    (experiment.id, experiment.name, experiment.created, experiment.base),
                )
            for offset, (id, spec) in enumerate(runs):
                member = experiment.id if experiment and id in experiment.runs else None
                db.execute(
                    "INSERT INTO runs (id, spec, method, base, bank_key, state, experiment, owner, created)"
                    " VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?)",
                    (id, spec.to_json(), spec.method, spec.base, spec.bank_key, member, owner, now + offset * 1e-6),
                )
                db.execute("INSERT INTO transitions VALUES (?, ?, 'queued')", (id, now))

    def run(self, id: str) -> Run:
        """One run.

        Raises:
            UnknownRunError: there is none of that id.
        """
        rows = self._rows("SELECT * FROM runs WHERE id = ?", id)
        if not rows:
            raise UnknownRunError(f"There is no run {id!r}.")
        return _run(rows[0])

    def runs(
        self,
        *,
        states: Sequence[State] | None = None,
        methods: Sequence[str] | None = None,
        experiment: str | None = None,
        limit: int = 10_000,
    ) -> list[Run]:
        """Runs that fit, the newest first."""
        where, values = ["1"], []
        for column, allowed in (("state", states), ("method", methods)):
            if allowed is not None:
                where.append(f"{column} IN ({', '.join('?' * len(allowed))})")
                values += list(allowed)
        if experiment is not None:
            where.append("experiment = ?")
            values.append(experiment)
        query = f"SELECT * FROM runs WHERE {' AND '.join(where)} ORDER BY created DESC LIMIT ?"  # noqa: S608
        return [_run(row) for row in self._rows(query, *values, limit)]

    def runs_of(self, ids: Sequence[str]) -> list[Run]:
        """These runs, in this order; ids that name none are left out."""
        marks = ", ".join("?" * len(ids))
        found = {row["id"]: row for row in self._rows(f"SELECT * FROM runs WHERE id IN ({marks})", *ids)}  # noqa: S608
        return [_run(found[id]) for id in ids if id in found]

    def experiment(self, id: str) -> Experiment:
        """One experiment.

        Raises:
            UnknownRunError: there is none of that id.
        """
        rows = self._rows("SELECT * FROM experiments WHERE id = ?", id)
        if not rows:
            raise UnknownRunError(f"There is no experiment {id!r}.")
        return self._experiment(rows[0])

    def experiments(self, limit: int = 100) -> list[Experiment]:
        """Experiments, the newest first."""
        rows = self._rows("SELECT * FROM experiments ORDER BY created DESC LIMIT ?", limit)
        return [self._experiment(row) for row in rows]

    def _experiment(self, row: sqlite3.Row) -> Experiment:
        members = self._rows("SELECT id FROM runs WHERE experiment = ? ORDER BY created", row["id"])
        return Experiment(row["id"], row["name"], row["created"], row["base"], tuple(m["id"] for m in members))

    # What happens to a run

    def claim(self, owner: str, most: Callable[[RunSpec], int] = lambda spec: 1) -> list[Run]:
        """The next run that this owner may train, and those that can be trained with it; all are ``running`` now.

        A fine-tune run is ready once its base is there. One whose base came to nothing fails.

        Args:
            owner: the process that asks.
            most: how many runs like this one can be trained together.

        Returns:
            A bank, in the order in which its runs were queued; empty where nothing is ready.
        """
        with self._transaction() as db:
            rows = db.execute(
                "SELECT r.id, r.spec, r.base, r.bank_key, b.state AS base_state, b.result IS NOT NULL AS usable"
                " FROM runs r LEFT JOIN runs b ON b.id = r.base"
                " WHERE r.state = 'queued' AND r.owner = ? ORDER BY r.created",
                (owner,),
            ).fetchall()
            for row in rows:
                if row["base"] is None or row["usable"]:
                    key, limit = row["bank_key"], most(_spec(row["spec"]))
                    bank = [other["id"] for other in rows if other["bank_key"] == key][:limit]
                    for id in bank:
                        self._enter(db, id, "running", started=time.time(), ended=None, stop_asked=0)
                    return [_run(db.execute("SELECT * FROM runs WHERE id = ?", (id,)).fetchone()) for id in bank]
                if row["base_state"] in (None, "failed", "stopped"):
                    word = {"failed": "failed", "stopped": "was stopped before it had learnt anything"}
                    cause = f"Its base {row['base']} {word.get(row['base_state'], 'does not exist any more')}."
                    self._enter(db, row["id"], "failed", cause=cause, ended=time.time())
        return []

    def begin(self, id: str, steps: int) -> None:
        """Note how many steps the run has, and forget what an earlier attempt recorded."""
        with self._transaction() as db:
            for table in ("losses", "epochs", "files"):
                db.execute(f"DELETE FROM {table} WHERE run = ?", (id,))  # noqa: S608
            db.execute(
                "UPDATE runs SET steps = ?, step = 0, seconds = 0, rate = NULL, result = NULL WHERE id = ?", (steps, id)
            )

    def record(self, events: Sequence[tuple[Run, StepLoss | EpochEnd]]) -> None:
        """Keep what happened in training, to any number of runs, in one transaction."""
        with self._transaction() as db:
            for run, event in events:
                if isinstance(event, StepLoss):
                    self._record_losses(db, run, event)
                else:
                    values = asdict(event)
                    db.execute(
                        f"INSERT INTO epochs (run, {', '.join(EPOCH_COLUMNS)})"  # noqa: S608
                        f" VALUES (?, {', '.join('?' * len(EPOCH_COLUMNS))})",
                        (run.id, *(values[column] for column in EPOCH_COLUMNS)),
                    )

    def _record_losses(self, db: sqlite3.Connection, run: Run, event: StepLoss) -> None:
        step, seconds = event.first_step + len(event.losses) - 1, float(event.seconds[-1])
        losses, moments = event.losses.astype("<f4").tobytes(), event.seconds.astype("<f8").tobytes()
        db.execute("INSERT INTO losses VALUES (?, ?, ?, ?)", (run.id, event.first_step, losses, moments))
        db.execute(
            "UPDATE runs SET step = ?, seconds = ?, rate = ? WHERE id = ?",
            (step, seconds, step * run.spec.optim.batch_size / seconds if seconds else None, run.id),
        )

    def finish(self, id: str, state: State, result: Result, files: dict[str, str]) -> None:
        """The run has a result: ``finished``, or ``stopped`` with what it had learnt."""
        with self._transaction() as db:
            self._enter(db, id, state, ended=time.time(), result=json.dumps(asdict(result)))
            db.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?)", [(id, name, sha) for name, sha in files.items()]
            )

    def fail(self, id: str, cause: str, traceback: str | None) -> None:
        """The run came to nothing, and this is why."""
        with self._transaction() as db:
            self._enter(db, id, "failed", ended=time.time(), cause=cause, traceback=traceback)

    def interrupt(self, id: str) -> None:
        """The run's process goes away under it."""
        with self._transaction() as db:
            self._enter(db, id, "interrupted", ended=time.time())

    def ask_stop(self, id: str) -> None:
        """Stop a run: at once if it waits, at its next event if it trains; nothing where it has ended.

        Raises:
            UnknownRunError: there is none of that id.
        """
        with self._transaction() as db:
            row = db.execute("SELECT state FROM runs WHERE id = ?", (id,)).fetchone()
            if row is None:
                raise UnknownRunError(f"There is no run {id!r}.")
            if row["state"] in ("queued", "interrupted"):
                self._enter(db, id, "stopped", ended=time.time())
            elif row["state"] == "running":
                db.execute("UPDATE runs SET stop_asked = 1 WHERE id = ?", (id,))

    def stops_asked(self, ids: Sequence[str]) -> set[str]:
        """Which of these runs somebody, in any process, wants to stop."""
        marks = ", ".join("?" * len(ids))
        return {row["id"] for row in self._rows(f"SELECT id FROM runs WHERE stop_asked AND id IN ({marks})", *ids)}  # noqa: S608

    def requeue(self, id: str, owner: str) -> None:
        """Queue an interrupted run again.

        Raises:
            RunStateError: it is not interrupted.
        """
        with self._transaction() as db:
            self._enter(db, id, "queued", owner=owner, ended=None)

    def take_over(self, dead: str, owner: str) -> None:
        """Settle what a dead process left: running runs are interrupted, waiting ones change owner."""
        with self._transaction() as db:
            for row in db.execute("SELECT id FROM runs WHERE state = 'running' AND owner = ?", (dead,)).fetchall():
                self._enter(db, row["id"], "interrupted", ended=time.time())
            db.execute(
                "UPDATE runs SET owner = ? WHERE state IN ('queued', 'interrupted') AND owner = ?", (owner, dead)
            )

    def owners(self) -> set[str]:
        """Processes that hold runs which have not ended."""
        rows = self._rows(f"SELECT DISTINCT owner FROM runs WHERE state IN {WAITING}")  # noqa: S608
        return {row["owner"] for row in rows}

    # What a run left

    def curve(self, id: str) -> Curve:
        """All losses and epochs of a run."""
        chunks = self._rows("SELECT first_step, losses, seconds FROM losses WHERE run = ? ORDER BY first_step", id)
        losses = [np.frombuffer(row["losses"], "<f4").astype(np.float32) for row in chunks]
        seconds = [np.frombuffer(row["seconds"], "<f8").astype(np.float64) for row in chunks]
        steps = [
            np.arange(row["first_step"], row["first_step"] + len(part), dtype=np.int64)
            for row, part in zip(chunks, losses, strict=True)
        ]
        rows = self._rows(f"SELECT {', '.join(EPOCH_COLUMNS)} FROM epochs WHERE run = ? ORDER BY epoch", id)  # noqa: S608
        epochs = pd.DataFrame([tuple(row) for row in rows], columns=EPOCH_COLUMNS)
        epochs = epochs.astype({name: "int64" if name in ("epoch", "step") else "float64" for name in EPOCH_COLUMNS})
        return Curve(
            step=np.concatenate(steps) if steps else np.empty(0, np.int64),
            seconds=np.concatenate(seconds) if seconds else np.empty(0, np.float64),
            loss=np.concatenate(losses) if losses else np.empty(0, np.float32),
            epochs=epochs,
        )

    def files(self, id: str) -> dict[str, str]:
        """Names of a run's files, with the SHA-256 of each."""
        return {row["name"]: row["sha256"] for row in self._rows("SELECT name, sha256 FROM files WHERE run = ?", id)}

    def transitions(self, id: str) -> list[tuple[float, State]]:
        """When the run entered which state."""
        rows = self._rows("SELECT at, state FROM transitions WHERE run = ? ORDER BY at, rowid", id)
        return [(row["at"], row["state"]) for row in rows]

    # SQLite

    def _enter(self, db: sqlite3.Connection, id: str, state: State, **columns: Any) -> None:
        """Change a run's state, along with other columns, or raise where it may not."""
        before = [name for name, following in NEXT.items() if state in following]
        assignments = ", ".join(f"{name} = ?" for name in columns)
        done = db.execute(
            f"UPDATE runs SET state = ?{', ' if assignments else ''}{assignments}"  # noqa: S608
            f" WHERE id = ? AND state IN ({', '.join('?' * len(before))})",
            (state, *columns.values(), id, *before),
        )
        if done.rowcount != 1:
            row = db.execute("SELECT state FROM runs WHERE id = ?", (id,)).fetchone()
            if row is None:
                raise UnknownRunError(f"There is no run {id!r}.")
            raise RunStateError(f"Run {id} is {row['state']}, so it cannot become {state}.")
        db.execute("INSERT INTO transitions VALUES (?, ?, ?)", (id, time.time(), state))

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """What a query finds: for those who search the store, as :mod:`core.runs.search` does."""
        return self._rows(query, *values)

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """A transaction of one's own: for those who keep more in the store, as :mod:`core.runs.shelf` does."""
        return self._transaction()

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._connection() as db:
            return db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that nobody else uses meanwhile.

        The dashboard makes a thread a rerun, so connections pass on instead of staying with a thread.
        """
        try:
            db = self._idle.pop()
        except IndexError:
            db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
        try:
            yield db
        finally:
            self._idle.append(db)


@lru_cache(maxsize=4096)
def _spec(text: str) -> RunSpec:
    """A spec never changes, and pages read the same ones every second."""
    return RunSpec.from_json(text)


def _run(row: sqlite3.Row) -> Run:
    return Run(
        id=row["id"],
        spec=_spec(row["spec"]),
        state=row["state"],
        experiment=row["experiment"],
        created=row["created"],
        started=row["started"],
        ended=row["ended"],
        cause=row["cause"],
        traceback=row["traceback"],
        result=Result(**json.loads(row["result"])) if row["result"] else None,
        step=row["step"],
        steps=row["steps"],
        training_seconds=row["seconds"],
        examples_per_second=row["rate"],
    )
