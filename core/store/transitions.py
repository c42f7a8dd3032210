"""What happens to runs: which state follows which, and who may say so.

A claim puts runs into the hands of one worker. Whatever that worker says later counts only as long as they
are in its hands: a worker that was given up, or a process that slept while another took its runs, changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from core.errors import RunStateError, UnknownRunError
from core.spec import RunSpec
from core.store import curves
from core.store.checkpoints import PREFIX, step_of
from core.store.database import Database
from core.store.record import WAITING, Result, Run, State, run_of, spec_of
from core.store.schema import NEXT
from core.training.events import EpochEnd, StepLoss


class Life(Database):
    """The state machine of runs. Every method is one transaction."""

    def claim(self, owner: str, most: Callable[[Sequence[RunSpec]], int] = lambda specs: 1) -> list[Run]:
        """The next run that this owner may train, and those that can be trained with it; all are ``running`` now.

        Those that only wait to be stopped, for what a checkpoint of theirs has learnt, come first. A fine-tune
        run is ready once its base is there. One whose base came to nothing fails.

        Args:
            owner: the process that asks.
            most: how many of these runs, from the first, can be trained together.

        Returns:
            A bank, in the order in which its runs were queued; empty where nothing is ready.
        """
        with self.transaction() as db:
            rows = db.execute(
                "SELECT r.id, r.spec, r.base, r.bank_key, r.resumed_step, r.stop_asked,"
                " b.state AS base_state, b.result IS NOT NULL AS usable"
                " FROM runs r LEFT JOIN runs b ON b.id = r.base"
                " WHERE r.state = 'queued' AND r.owner = ? ORDER BY r.stop_asked DESC, r.created",
                (owner,),
            ).fetchall()
            for row in rows:
                if row["base"] is None or row["usable"]:
                    like = [other for other in rows if _bank(other) == _bank(row)]
                    bank = [other["id"] for other in like[: most([spec_of(other["spec"]) for other in like])]]
                    now = time.time()
                    for id in bank:
                        self._enter(db, id, "running", started=now, ended=None, cause=None, traceback=None)
                    return [run_of(db.execute("SELECT * FROM runs WHERE id = ?", (id,)).fetchone()) for id in bank]
                if row["base_state"] in (None, "failed", "stopped"):
                    word = {"failed": "failed", "stopped": "was stopped before it had learnt anything"}
                    cause = f"Its base {row['base']} {word.get(row['base_state'], 'does not exist any more')}."
                    self._enter(db, row["id"], "failed", cause=cause, ended=time.time())
        return []

    def begin(self, run: Run, steps: int, seconds: float = 0.0) -> None:
        """Note how many steps the run has, and forget what an earlier attempt recorded.

        A run that goes on from a checkpoint keeps all up to there.

        Args:
            run: as :meth:`claim` gave it.
            steps: of the whole run.
            seconds: of training before it went on.

        Raises:
            RunStateError: it is not in the hands of this claim any more; so do all below that take a run.
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
        """Keep what happened in training, to any number of runs, in one transaction.

        Returns:
            Those that are not in the hands of this claim any more; nothing was kept of theirs.
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
        """These checkpoints are what their runs go on from, in place of earlier ones; all at once.

        Args:
            files: runs, with name and SHA-256 of each file.

        Returns:
            Those that are not in the hands of this claim any more; nothing was kept of theirs.
        """
        with self.transaction(durable=True) as db:
            held = self._held(db, [run for run, _, _ in files])
            for run, name, sha256 in files:
                if run.id in held:
                    _drop_checkpoint(db, run.id)
                    db.execute("INSERT INTO files VALUES (?, ?, ?)", (run.id, name, sha256))
        return {run.id for run, _, _ in files} - held

    def checkpoint(self, id: str) -> tuple[str, str] | None:
        """Name and SHA-256 of the file that a run goes on from, if there is one."""
        query = f"SELECT name, sha256 FROM files WHERE run = ? AND name LIKE '{PREFIX}%'"  # noqa: S608
        return next(((row["name"], row["sha256"]) for row in self.rows(query, id)), None)

    def finish(self, run: Run, state: State, result: Result, files: dict[str, str]) -> None:
        """The run has a result: ``finished``, or ``stopped`` with what it had learnt."""
        with self.transaction() as db:
            self._hold(db, run)
            self._enter(db, run.id, state, ended=time.time(), result=json.dumps(asdict(result)))
            _drop_checkpoint(db, run.id)
            db.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?)", [(run.id, name, sha) for name, sha in files.items()]
            )

    def fail(self, run: Run, cause: str, traceback: str | None) -> None:
        """The run came to nothing, and this is why."""
        with self.transaction() as db:
            self._hold(db, run)
            self._enter(db, run.id, "failed", ended=time.time(), cause=cause, traceback=traceback)
            _drop_checkpoint(db, run.id)

    def interrupt(self, run: Run, cause: str | None = None, traceback: str | None = None) -> None:
        """The run is left by its process or worker; it can go on later."""
        with self.transaction() as db:
            self._hold(db, run)
            self._interrupt(db, run.id, cause, traceback)

    def start_over(self, run: Run, cause: str) -> None:
        """The run cannot go on from its checkpoint: queue it again, for its first step, or end it if it shall stop."""
        with self.transaction() as db:
            self._hold(db, run)
            self._interrupt(db, run.id, cause, None)
            _drop_checkpoint(db, run.id)
            if run.stop_asked:
                self._enter(db, run.id, "stopped", ended=time.time())
            else:
                self._requeue(db, run.id, run.owner)

    def put_back(self, run: Run, cause: str) -> None:
        """Queue a run again that was not at fault, for its last checkpoint; end it if it shall stop and has none."""
        with self.transaction() as db:
            self._hold(db, run)
            self._interrupt(db, run.id, cause, None)
            (stop,) = db.execute("SELECT stop_asked FROM runs WHERE id = ?", (run.id,)).fetchone()
            if stop and not _checkpoint_step(db, run.id):
                self._enter(db, run.id, "stopped", ended=time.time())
            else:
                self._requeue(db, run.id, run.owner, stop=bool(stop))

    def _interrupt(self, db: sqlite3.Connection, id: str, cause: str | None, traceback: str | None) -> None:
        self._enter(db, id, "interrupted", ended=time.time(), cause=cause, traceback=traceback)
        if cause:
            db.execute("INSERT INTO log VALUES (?, ?, ?)", (id, time.time(), cause))

    def ask_stop(self, id: str, owner: str) -> None:
        """Stop a run: at once if it has learnt nothing, at its next event if it trains; nothing where it has ended.

        One that waits with a checkpoint goes to the head of the queue, to make its result of that.

        Args:
            id: of the run.
            owner: the process that will make that result where the run had been interrupted.

        Raises:
            UnknownRunError: there is none of that id.
        """
        with self.transaction() as db:
            row = db.execute("SELECT state, step FROM runs WHERE id = ?", (id,)).fetchone()
            if row is None:
                raise UnknownRunError(f"There is no run {id!r}.")
            learnt = row["step"] if row["state"] == "running" else _checkpoint_step(db, id)
            if row["state"] in ("queued", "running", "interrupted") and not learnt:
                self._enter(db, id, "stopped", ended=time.time())
            elif row["state"] in WAITING:
                db.execute("UPDATE runs SET stop_asked = 1 WHERE id = ?", (id,))
            elif row["state"] == "interrupted":
                self._requeue(db, id, owner, stop=True)

    def stops_asked(self, ids: Sequence[str]) -> set[str]:
        """Which of these runs somebody, in any process, wants to stop."""
        marks = ", ".join("?" * len(ids))
        return {row["id"] for row in self.rows(f"SELECT id FROM runs WHERE stop_asked AND id IN ({marks})", *ids)}  # noqa: S608

    def held(self, runs: Sequence[Run]) -> set[str]:
        """Which of these runs are still in the hands of the claim that gave them."""
        with self.connection() as db:
            return self._held(db, runs)

    def requeue(self, ids: Sequence[str], owner: str) -> None:
        """Queue interrupted runs again, all or none; each goes on from its checkpoint if it has one.

        Raises:
            RunStateError: one of them is not interrupted.
        """
        with self.transaction() as db:
            for id in ids:
                self._requeue(db, id, owner)

    def _requeue(self, db: sqlite3.Connection, id: str, owner: str, stop: bool = False) -> None:
        step = _checkpoint_step(db, id)
        if step > curves.last_step(db, id):  # the machine went down, and the curve's last pages with it
            _drop_checkpoint(db, id)
            step = 0
            text = "What it had recorded did not reach its checkpoint, so it trains again from its first step."
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
        )

    def take_over(self, dead: str, owner: str, cause: str | None = None) -> list[str]:
        """Settle what a dead process left: running runs are interrupted, waiting ones change owner.

        Returns:
            The runs that were interrupted.
        """
        with self.transaction() as db:
            left = db.execute("SELECT id FROM runs WHERE state = 'running' AND owner = ?", (dead,)).fetchall()
            for row in left:
                self._interrupt(db, row["id"], cause, None)
            db.execute(
                "UPDATE runs SET owner = ? WHERE state IN ('queued', 'interrupted') AND owner = ?", (owner, dead)
            )
        return [row["id"] for row in left]

    def last_ended(self, owner: str, limit: int = 50) -> list[str]:
        """The runs of a process that ended last."""
        rows = self.rows(
            "SELECT id FROM runs WHERE owner = ? AND ended IS NOT NULL ORDER BY ended DESC LIMIT ?", owner, limit
        )
        return [row["id"] for row in rows]

    def owners(self) -> set[str]:
        """Processes that hold runs which have not ended."""
        rows = self.rows(f"SELECT DISTINCT owner FROM runs WHERE state IN {WAITING}")  # noqa: S608
        return {row["owner"] for row in rows}

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

    def _held(self, db: sqlite3.Connection, runs: Iterable[Run]) -> set[str]:
        """Those still as :meth:`claim` gave them: no other process or worker has them, and nobody has ended them."""
        query = "SELECT 1 FROM runs WHERE id = ? AND state = 'running' AND owner = ? AND started = ?"
        return {run.id for run in runs if db.execute(query, (run.id, run.owner, run.started)).fetchone()}

    def _hold(self, db: sqlite3.Connection, run: Run) -> None:
        if not self._held(db, [run]):
            raise RunStateError(f"Run {run.id} is in other hands, or has ended.")


def _bank(row: sqlite3.Row) -> tuple[str, int, int]:
    """Equal for queued runs that can be trained together now."""
    return row["bank_key"], row["resumed_step"], row["stop_asked"]


def _checkpoint_step(db: sqlite3.Connection, id: str) -> int:
    """The step of a run's checkpoint, 0 where it has none."""
    row = db.execute(f"SELECT name FROM files WHERE run = ? AND name LIKE '{PREFIX}%'", (id,)).fetchone()  # noqa: S608
    return step_of(row["name"]) if row else 0


def _drop_checkpoint(db: sqlite3.Connection, id: str) -> None:
    db.execute(f"DELETE FROM files WHERE run = ? AND name LIKE '{PREFIX}%'", (id,))  # noqa: S608
