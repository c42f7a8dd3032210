"""State transitions of runs, and which worker may make them.

A claim gives runs to one worker. Its later writes take effect only while it holds them: a worker that was replaced, or
a process that was suspended while another took over its runs, changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from core.errors import RunStateError, UnknownRunError
from core.store import curves
from core.store.checkpoints import PREFIX, KeptCheckpoints, checkpoint_step, drop_checkpoint
from core.store.record import COLUMNS_OF_RUN, WAITING, Result, Run, State, run_of
from core.store.run_file import write_run_file
from core.store.schema import NEXT
from core.training.sharing import turn_of
from core.training.stepper import EpochEnd, StepLoss

MAX_CLAIMED = 64
"""Maximum number of runs that a worker takes at once."""

REOPEN = "UPDATE experiments SET plan_state = 'open' WHERE plan IS NOT NULL AND id"
"""SQL that has a plan looked at again, for which a person had to do something; the experiment follows."""


class Transitions(KeptCheckpoints):
    """The state machine of runs. Every method is one transaction."""

    def next_runs(self, owner: str) -> list[Run]:
        """The queued run of this owner that is to be trained next, and those that can be trained with it.

        Runs that are to be stopped with the result of their checkpoint come first, then experiments as they were
        queued. Within an experiment the methods take turns, so that their curves can be compared while they train. A
        fine-tune run is ready once its base has a result; it fails if its base will never have one.

        Args:
            owner: name of the process that trains.

        Returns:
            At most :data:`MAX_CLAIMED`, in the order in which they were queued; empty if none is ready.
        """
        with self.transaction() as db:
            rows = db.execute(
                "SELECT r.id, r.spec, r.method, r.experiment, r.base, r.bank_key, r.resumed_step, r.stop_asked,"
                " b.state AS base_state, b.result IS NOT NULL AND b.state IN ('finished', 'stopped') AS usable"
                " FROM runs r LEFT JOIN runs b ON b.id = r.base"
                " WHERE r.state = 'queued' AND r.owner = ? ORDER BY r.stop_asked DESC, r.created",
                (owner,),
            ).fetchall()
            for row in rows:
                if _is_ready(row):
                    next_one, turn = self._next_of_experiment(db, row, rows)
                    alike = [other for other in rows if _bank(other) == _bank(next_one) and _is_ready(other)]
                    return [_run(db, other["id"]) for other in _by_base(alike)[:turn]]
                if row["base"] is not None and not row["usable"] and row["base_state"] in (None, "failed", "stopped"):
                    word = {"failed": "failed", "stopped": "was stopped before it had learned anything"}
                    cause = f"Its base {row['base']} {word.get(row['base_state'], 'does not exist any more')}."
                    self._enter(db, row["id"], "failed", cause=cause, ended=time.time())
        return []

    def claim(self, runs: Sequence[Run]) -> list[Run]:
        """Claim runs of :meth:`next_runs`: those become ``running`` that are as they were then.

        Returns:
            The claimed runs, in the same order.
        """
        claimed, now = [], time.time()
        with self.transaction() as db:
            for run in runs:
                row = db.execute(
                    "SELECT resumed_step, stop_asked FROM runs WHERE id = ? AND state = 'queued' AND owner = ?",
                    (run.id, run.owner),
                ).fetchone()
                if row and (row["resumed_step"], bool(row["stop_asked"])) == (run.resumed_step, run.stop_asked):
                    self._enter(db, run.id, "running", started=now, ended=None, cause=None, traceback=None)
                    claimed.append(_run(db, run.id))
        return claimed

    def _next_of_experiment(
        self, db: sqlite3.Connection, first: sqlite3.Row, rows: Sequence[sqlite3.Row]
    ) -> tuple[sqlite3.Row, int]:
        """The next run of the experiment of ``first``, the first ready run: of the method that has begun the least.

        Returns:
            The run, and how many runs to train at once at most, :data:`MAX_CLAIMED` or fewer.
        """
        begun = {
            row["method"]: (row["share"], row["latest"] or 0.0, row["count"])
            for row in db.execute(
                "SELECT method, avg(state <> 'queued') AS share, max(started) AS latest, count(*) AS count FROM runs"
                " WHERE experiment = ? GROUP BY method",
                (first["experiment"],),
            )
        }
        if len(begun) < 2:
            return first, MAX_CLAIMED
        beside = (first["experiment"], first["stop_asked"])
        ready = [row for row in rows if (row["experiment"], row["stop_asked"]) == beside and _is_ready(row)]
        chosen = min(ready, key=lambda row: begun[row["method"]][:2])
        return chosen, min(MAX_CLAIMED, turn_of(begun[chosen["method"]][2]))

    def begin(self, run: Run, steps: int, seconds: float = 0.0) -> None:
        """Record the number of steps of a run, and delete what earlier attempts recorded after its checkpoint.

        Args:
            run: as returned by :meth:`claim`.
            steps: number of steps of the whole run.
            seconds: training time up to its checkpoint.

        Raises:
            RunStateError: this claim no longer holds the run. All methods below that take a run raise it too.
        """
        with self.transaction() as db:
            self._hold(db, run)
            curves.cut(db, run.id, run.resumed_step)
            where = f" AND NOT (name LIKE '{PREFIX}%' AND ?)"
            db.execute(f"DELETE FROM files WHERE run = ?{where}", (run.id, run.resumed_step))  # noqa: S608
            db.execute(
                "UPDATE runs SET steps = ?, step = ?, seconds = ?, resumed_seconds = ?, rate = NULL, result = NULL"
                " WHERE id = ?",
                (steps, run.resumed_step, seconds, seconds, run.id),
            )

    def record(self, events: Sequence[tuple[Run, StepLoss | EpochEnd]]) -> set[str]:
        """Record events of any number of runs.

        Returns:
            Ids of the runs that this claim no longer holds; nothing was recorded for them.
        """
        with self.transaction() as db:
            runs = {run.id: run for run, _ in events}
            held = self._held(db, runs.values())
            for run, event in events:
                if run.id not in held:
                    continue
                if isinstance(event, StepLoss):
                    curves.write_losses(db, run.id, event)
                    step, seconds = event.first_step + len(event.losses) - 1, float(event.seconds[-1])
                    db.execute(
                        "UPDATE runs SET step = ?, seconds = ?, rate = ? WHERE id = ?",
                        (step, seconds, step * run.spec.optim.batch_size / seconds if seconds else None, run.id),
                    )
                else:
                    curves.write_epoch(db, run.id, event)
        return set(runs) - held

    def keep_checkpoints(self, files: Sequence[tuple[Run, str, str]]) -> set[str]:
        """Make these the valid checkpoints of their runs, replacing earlier ones, all at once.

        Args:
            files: runs, with name and SHA-256 of each file.

        Returns:
            Ids of the runs that this claim no longer holds; nothing was recorded for them.

        Raises:
            OSError: the file of a run cannot be written; nothing was recorded.
        """
        with self.transaction(durable=True) as db:
            held = self._held(db, [run for run, _, _ in files])
            for run, name, sha256 in files:
                if run.id in held:
                    drop_checkpoint(db, run.id)
                    db.execute("INSERT INTO files VALUES (?, ?, ?)", (run.id, name, sha256))
                    write_run_file(db, self.folder(run.id))
        return {run.id for run, _, _ in files} - held

    def finish(self, run: Run, state: State, result: Result, files: dict[str, str]) -> None:
        """End a run with a result, as ``finished``, or as ``stopped`` with what it had learned.

        A stopped run keeps its checkpoint, so that it can go on from there.

        Raises:
            OSError: the file of the run cannot be written; nothing was recorded.
        """
        with self.transaction() as db:
            self._hold(db, run)
            if state == "finished":
                epochs = db.execute("SELECT measures FROM epochs WHERE run = ? ORDER BY epoch", (run.id,)).fetchall()
                result = replace(result, trends=curves.trends_of(curves.measures_of(epochs)) or None)
                drop_checkpoint(db, run.id)
            self._enter(db, run.id, state, ended=time.time(), result=json.dumps(result.to_dict()))
            db.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?)", [(run.id, name, sha) for name, sha in files.items()]
            )
            write_run_file(db, self.folder(run.id))

    def fail(self, run: Run, cause: str, traceback: str | None) -> None:
        """End a run as failed."""
        with self.transaction() as db:
            self._hold(db, run)
            self._fail(db, run.id, cause, traceback)

    def break_off(self, run: Run, cause: str, traceback: str | None) -> None:
        """Mark a run as interrupted if it has a checkpoint to go on from once the cause has passed; else end it as
        failed.
        """
        with self.transaction() as db:
            self._hold(db, run)
            end = self._interrupt if checkpoint_step(db, run.id) else self._fail
            end(db, run.id, cause, traceback)

    def _fail(self, db: sqlite3.Connection, id: str, cause: str, traceback: str | None) -> None:
        self._enter(db, id, "failed", ended=time.time(), cause=cause, traceback=traceback)
        drop_checkpoint(db, id)

    def interrupt(self, run: Run, cause: str | None = None, traceback: str | None = None) -> None:
        """Mark a run as interrupted; it can be resumed."""
        with self.transaction() as db:
            self._hold(db, run)
            self._interrupt(db, run.id, cause, traceback)

    def start_over(self, run: Run, cause: str) -> None:
        """Queue a run again from its first step, since its checkpoint is unusable; end it if it was to be stopped."""
        with self.transaction() as db:
            self._hold(db, run)
            self._interrupt(db, run.id, cause, None)
            drop_checkpoint(db, run.id)
            if run.stop_asked:
                self._enter(db, run.id, "stopped", ended=time.time())
            else:
                self._requeue(db, run.id, run.owner)

    def put_back(self, run: Run, cause: str) -> None:
        """Queue a run again from its last checkpoint; end it if it was to be stopped and has no checkpoint."""
        with self.transaction() as db:
            self._hold(db, run)
            self._interrupt(db, run.id, cause, None)
            (stop,) = db.execute("SELECT stop_asked FROM runs WHERE id = ?", (run.id,)).fetchone()
            if stop and not checkpoint_step(db, run.id):
                self._enter(db, run.id, "stopped", ended=time.time())
            else:
                self._requeue(db, run.id, run.owner, stop=bool(stop))

    def _interrupt(self, db: sqlite3.Connection, id: str, cause: str | None, traceback: str | None) -> None:
        self._enter(db, id, "interrupted", ended=time.time(), cause=cause, traceback=traceback)
        if cause:
            db.execute("INSERT INTO log VALUES (?, ?, ?)", (id, time.time(), cause))

    def ask_stop(self, *ids: str, owner: str) -> None:
        """Stop runs: at once if they have learned nothing, else at their next event. Ended runs are not changed.

        A queued or interrupted run with a checkpoint goes to the front of the queue, to make a result from it.

        Args:
            ids: of the runs; all are stopped in one transaction, so that no worker claims one of them meanwhile.
            owner: name of the process that makes that result if a run was interrupted.

        Raises:
            UnknownRunError: there is no run with one of these ids; none is stopped.
        """
        with self.transaction() as db:
            for id in ids:
                self._ask_stop(db, id, owner)

    def _ask_stop(self, db: sqlite3.Connection, id: str, owner: str) -> None:
        row = db.execute("SELECT state, step, result FROM runs WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise UnknownRunError(f"There is no run {id!r}.")
        learned = row["step"] if row["state"] == "running" else checkpoint_step(db, id)
        # What was stopped before and has not begun to go on still has the result of then.
        kept = {"step": json.loads(row["result"])["steps"]} if row["result"] else {}
        may_end = not learned or (kept and row["state"] != "running")
        if row["state"] in ("queued", "running", "interrupted") and may_end:
            self._enter(db, id, "stopped", ended=time.time(), **kept)
        elif row["state"] in WAITING:
            db.execute("UPDATE runs SET stop_asked = 1 WHERE id = ?", (id,))
        elif row["state"] == "interrupted":
            self._requeue(db, id, owner, stop=True)

    def stops_asked(self, ids: Sequence[str]) -> set[str]:
        """Which of these runs somebody, in any process, asked to stop."""
        marks = ", ".join("?" * len(ids))
        return {row["id"] for row in self.rows(f"SELECT id FROM runs WHERE stop_asked AND id IN ({marks})", *ids)}  # noqa: S608

    def held(self, runs: Sequence[Run]) -> set[str]:
        """Which of these runs are still held by the claim that returned them."""
        with self.connection() as db:
            return self._held(db, runs)

    def requeue(self, ids: Sequence[str], owner: str) -> None:
        """Queue interrupted, stopped or failed runs again, all or none; each resumes from its checkpoint if it has one.

        Raises:
            RunStateError: one of them is in another state, or has a result that other runs have begun to train on.
        """
        with self.transaction() as db:
            for id in ids:
                if _is_built_on(db, id):
                    raise RunStateError(f"Other runs start from what run {id} had learned: train a new one like it.")
                self._requeue(db, id, owner)

    def built_on(self, ids: Sequence[str]) -> set[str]:
        """Which of these runs have a result that other runs have begun to train on."""
        with self.connection() as db:
            return {id for id in ids if _is_built_on(db, id)}

    def _requeue(self, db: sqlite3.Connection, id: str, owner: str, stop: bool = False) -> None:
        step = checkpoint_step(db, id)
        if step > curves.last_step(db, id):  # a power cut lost the last transactions, which had the curve
            drop_checkpoint(db, id)
            step = 0
            text = "Its recorded curve ends before its checkpoint, so it trains again from its first step."
            db.execute("INSERT INTO log VALUES (?, ?, ?)", (id, time.time(), text))
        self._enter(
            db,
            id,
            "queued",
            owner=owner,
            ended=None,
            cause=None,
            traceback=None,
            stop_asked=stop,
            resumed_step=step,
            step=step,
            archived=False,
        )
        db.execute(f"{REOPEN} IN (SELECT experiment FROM members WHERE run = ?)", (id,))  # noqa: S608

    def take_over(self, dead: str, owner: str, cause: str | None = None) -> list[str]:
        """Take over the runs of a dead process: running ones are interrupted, queued ones change their owner.

        Returns:
            Ids of the runs that were interrupted.
        """
        with self.transaction() as db:
            left = db.execute("SELECT id FROM runs WHERE state = 'running' AND owner = ?", (dead,)).fetchall()
            for row in left:
                self._interrupt(db, row["id"], cause, None)
            db.execute(
                "UPDATE runs SET owner = ? WHERE state IN ('queued', 'interrupted') AND owner = ?", (owner, dead)
            )
        return [row["id"] for row in left]

    def _enter(self, db: sqlite3.Connection, id: str, state: State, **columns: Any) -> None:
        """Change a run's state and other columns. Raises: RunStateError: the transition is not allowed."""
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

    def _held(self, db: sqlite3.Connection, runs: Iterable[Run]) -> set[str]:
        """Runs that are still as :meth:`claim` returned them: not ended, and not claimed by another worker."""
        query = "SELECT 1 FROM runs WHERE id = ? AND state = 'running' AND owner = ? AND started = ?"
        return {run.id for run in runs if db.execute(query, (run.id, run.owner, run.started)).fetchone()}

    def _hold(self, db: sqlite3.Connection, run: Run) -> None:
        if not self._held(db, [run]):
            raise RunStateError(f"Run {run.id} has ended, or is held by another worker.")


def _run(db: sqlite3.Connection, id: str) -> Run:
    return run_of(db.execute(f"SELECT {COLUMNS_OF_RUN} FROM runs r WHERE id = ?", (id,)).fetchone())  # noqa: S608


def _by_base(rows: Sequence[sqlite3.Row]) -> list[sqlite3.Row]:
    """Runs in the order of the first of each base: those of one base share work in a bank."""
    bases = [row["base"] for row in rows]
    return sorted(rows, key=lambda row: bases.index(row["base"]))


def _is_ready(row: sqlite3.Row) -> bool:
    """Whether a queued run has the base that it starts from."""
    return row["base"] is None or bool(row["usable"])


def _is_built_on(db: sqlite3.Connection, id: str) -> bool:
    """Whether other runs have begun to train on the result of a run."""
    query = (
        "SELECT 1 FROM runs b JOIN runs r ON r.base = b.id WHERE b.id = ? AND b.result NOTNULL AND r.started NOTNULL"
    )
    return db.execute(query, (id,)).fetchone() is not None


def _bank(row: sqlite3.Row) -> tuple[str, int, int]:
    """A key that is equal for queued runs that can be trained together now."""
    return row["bank_key"], row["resumed_step"], row["stop_asked"]
