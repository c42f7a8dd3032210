"""The store of runs and experiments: one SQLite file that several processes may use at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from sqlite3 import Connection, Row

from core.errors import QueueFullError, RunStateError, UnknownRunError
from core.run_spec import RunSpec
from core.store.curves import curve_of
from core.store.record import (
    COLUMNS_OF_RUN,
    EPOCH_COLUMNS,
    LAUNCH_GAP,
    WAITING,
    Curve,
    Experiment,
    ExperimentRow,
    PlanState,
    Run,
    State,
    columns_in,
    run_of,
)
from core.store.transitions import REOPEN, Transitions
from core.training.sharing import bank_key

LAST_ENDED = 50
"""Number of runs of a process that is gone whose folders may still have files to delete."""

MEMBERS = "SELECT run FROM members WHERE experiment = ?"
"""SQL of the ids of the runs of an experiment."""


class Store(Transitions):
    """The store. Every method is one transaction; any thread may call any method."""

    # Runs and experiments

    def add(
        self,
        runs: Sequence[tuple[str, RunSpec]],
        owner: str,
        limit: int,
        experiment: Experiment | None = None,
        before: Experiment | None = None,
        lines: Sequence[str] = (),
        joins: bool = False,
    ) -> None:
        """Queue runs, all or none.

        Args:
            runs: ids and specs.
            owner: name of the process that will train them.
            limit: maximum number of queued runs in the store.
            experiment: the experiment that they belong to, if they are to be compared, with all of its runs, of which
                some may be there already, as those of other experiments.
            before: the same experiment without them, if it is in the store already.
            lines: first line of the log of each run; empty for none.
            joins: whether they belong to the last launch of the experiment, and take its place in the queue.

        Raises:
            QueueFullError: more than ``limit`` runs would be queued; nothing was queued.
            RunStateError: the store's experiment is not as ``before``; nothing was queued.
        """
        with self.transaction(backed_up=True) as db:
            now = time.time()
            (waiting,) = db.execute("SELECT count(*) FROM runs WHERE state = 'queued'").fetchone()
            if waiting + len(runs) > limit:
                raise QueueFullError(
                    f"The queue takes {limit} waiting runs, and {waiting} are waiting already: "
                    f"stop some, or try again when they have finished."
                )
            created = now
            if experiment and before:
                _check_unchanged(db, before)
                query = f"SELECT max(created) FROM runs WHERE id IN ({MEMBERS})"  # noqa: S608
                (latest,) = db.execute(query, (experiment.id,)).fetchone()
                created = latest + 1e-6 if joins else max(now, latest + LAUNCH_GAP)
                if experiment.name != before.name:
                    db.execute("UPDATE experiments SET name = ? WHERE id = ?", (experiment.name, experiment.id))
                if experiment.plan is not None:
                    update = "UPDATE experiments SET plan = ?, plan_state = 'open' WHERE id = ?"
                    db.execute(update, (experiment.plan, experiment.id))
            elif experiment:
                values = (experiment.id, experiment.name, experiment.created, experiment.base, experiment.trim)
                state = "complete" if experiment.plan is None else "open"
                row = (*values, experiment.plan, state)
                db.execute("INSERT INTO experiments VALUES (?, ?, ?, ?, ?, ?, ?, 1)", row)
            if experiment:
                known = set(before.runs if before else ())
                rows = [(experiment.id, id) for id in experiment.runs if id not in known]
                db.executemany("INSERT INTO members VALUES (?, ?)", rows)
            for offset, (id, spec) in enumerate(runs):
                member = experiment.id if experiment and id in experiment.runs else None
                at = created + offset * 1e-6
                db.execute(
                    "INSERT INTO runs (id, spec, method, base, bank_key, state, experiment, owner, created)"
                    " VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?)",
                    (id, spec.to_json(), spec.kind, spec.base, bank_key(spec), member, owner, at),
                )
                db.execute("INSERT INTO transitions VALUES (?, ?, 'queued')", (id, now))
            entries = [(id, now, line) for (id, _), line in zip(runs, lines, strict=False)]
            db.executemany("INSERT INTO log VALUES (?, ?, ?)", entries)

    def run(self, id: str) -> Run:
        """One run. Raises: UnknownRunError: there is no run with this id."""
        rows = self.rows(f"SELECT {COLUMNS_OF_RUN} FROM runs r WHERE id = ?", id)  # noqa: S608
        if not rows:
            raise UnknownRunError(f"There is no run {id!r}.")
        return run_of(rows[0])

    def runs(
        self,
        *,
        states: Sequence[State] | None = None,
        methods: Sequence[str] | None = None,
        limit: int = 10_000,
        before: str | None = None,
    ) -> list[Run]:
        """Runs that match all filters, the newest first.

        Args:
            states: the runs are in one of these.
            methods: of the runs.
            limit: maximum number of runs.
            before: run after which the list goes on.

        Raises:
            UnknownRunError: there is no run to go on after.
        """
        where: list[str] = ["1"]
        values: list[object] = []
        for column, allowed in (("state", states), ("method", methods)):
            if allowed is not None:
                where.append(f"{column} IN ({', '.join('?' * len(allowed))})")
                values += list(allowed)
        if before is not None:
            where.append("(created, id) < (?, ?)")
            values += [self.run(before).created, before]
        query = f"SELECT {COLUMNS_OF_RUN} FROM runs r WHERE {' AND '.join(where)}"  # noqa: S608
        rows = self.rows(f"{query} ORDER BY created DESC, id DESC LIMIT ?", *values, limit)
        return [run_of(row) for row in rows]

    def members(self, experiment: Experiment | str) -> list[Run]:
        """The runs of an experiment, or of that with this id, in the order in which they were queued, each as one of
        this experiment.
        """
        experiment = experiment if isinstance(experiment, str) else experiment.id
        query = f"SELECT {columns_in('?')} FROM runs r WHERE id IN ({MEMBERS}) ORDER BY created, id"  # noqa: S608
        return [replace(run_of(row), experiment=experiment) for row in self.rows(query, experiment, experiment)]

    def experiments_of(self, ids: Sequence[str]) -> list[str]:
        """Ids of the experiments that have one of these runs, the oldest first."""
        marks = ", ".join("?" * len(ids))
        having = f"SELECT experiment FROM members WHERE run IN ({marks})"  # noqa: S608
        rows = self.rows(f"SELECT id FROM experiments WHERE id IN ({having}) ORDER BY created", *ids)  # noqa: S608
        return [row["id"] for row in rows]

    def shared(self, experiment: str) -> set[str]:
        """Ids of the runs of an experiment that other experiments have, too."""
        query = f"SELECT run FROM members WHERE run IN ({MEMBERS}) AND experiment <> ?"  # noqa: S608
        rows = self.rows(query, experiment, experiment)
        return {row["run"] for row in rows}

    def alike(self, specs: Iterable[RunSpec]) -> dict[RunSpec, str]:
        """Ids of runs that experiments have of these specs, by spec: finished ones with their files, those that will
        be without anybody's action, and those that would diverge again. The newest of several.
        """
        wanted, found = set(specs), dict[RunSpec, str]()
        for base in {spec.base for spec in wanted}:
            rows = self.rows(
                f"SELECT {COLUMNS_OF_RUN} FROM runs r WHERE base IS ? AND id IN (SELECT run FROM members)"  # noqa: S608
                " AND (state IN ('queued', 'running', 'failed') OR (state = 'finished' AND EXISTS (SELECT 1 FROM files"
                " WHERE run = r.id AND name IN ('network.safetensors', 'adapter.zip'))))"
                " AND NOT stop_asked AND NOT archived ORDER BY created",
                base,
            )
            runs = [run for run in map(run_of, rows) if run.state != "failed" or run.has_diverged]
            found |= {run.spec: run.id for run in runs if run.spec in wanted}
        return found

    def runs_of(self, ids: Sequence[str]) -> list[Run]:
        """These runs, in this order; unknown ids are skipped."""
        marks = ", ".join("?" * len(ids))
        query = f"SELECT {COLUMNS_OF_RUN} FROM runs r WHERE id IN ({marks})"  # noqa: S608
        found = {row["id"]: row for row in self.rows(query, *ids)}
        return [run_of(found[id]) for id in ids if id in found]

    def is_busy(self) -> bool:
        """Whether runs train, or will without anybody's action: not those whose base is interrupted."""
        query = (
            "SELECT 1 FROM runs r LEFT JOIN runs b ON b.id = r.base WHERE r.state = 'running'"
            " OR (r.state = 'queued' AND (b.id IS NULL OR b.state <> 'interrupted')) LIMIT 1"
        )
        return bool(self.rows(query))

    def experiment(self, id: str) -> Experiment:
        """One experiment. Raises: UnknownRunError: there is no experiment with this id."""
        rows = self.rows("SELECT * FROM experiments WHERE id = ?", id)
        if not rows:
            raise UnknownRunError(f"There is no experiment {id!r}.")
        return self._experiment(rows[0])

    def experiments(self, limit: int = 100, base: str | None = None) -> list[Experiment]:
        """Experiments, the newest first. Args: limit: maximum number; base: of which they are, or None for all."""
        query = "SELECT * FROM experiments WHERE ? IS NULL OR base = ? ORDER BY created DESC LIMIT ?"
        return [self._experiment(row) for row in self.rows(query, base, base, limit)]

    def untrimmed(self) -> list[str]:
        """Ids of experiments that were launched to keep chosen networks only, have ended, and have all networks yet."""
        rows = self.rows(
            "SELECT id FROM experiments e WHERE trim AND plan_state = 'complete'"
            " AND NOT EXISTS (SELECT 1 FROM members m JOIN runs r ON r.id = m.run WHERE m.experiment = e.id"
            " AND (r.state IN ('queued', 'running') OR (r.state IN ('interrupted', 'stopped') AND NOT r.archived)"
            " OR (r.result IS NOT NULL AND NOT EXISTS"
            " (SELECT 1 FROM files WHERE run = r.id AND name IN ('network.safetensors', 'adapter.zip')))))"
        )
        return [row["id"] for row in rows]

    def experiment_rows(self, limit: int = 100, skipped: int = 0) -> list[ExperimentRow]:
        """What a list shows of each experiment, the newest first; one query, whatever their number.

        Args:
            limit: maximum number.
            skipped: number of newer ones to leave out.
        """
        found: dict[str, ExperimentRow] = {}
        rows = self.rows(
            "SELECT e.id, e.name, e.created, r.state, count(*) AS count, total(r.training_seconds) AS seconds,"
            " sum(r.changes) AS changes"
            " FROM (SELECT * FROM experiments ORDER BY created DESC, id LIMIT ? OFFSET ?) e"
            " JOIN members m ON m.experiment = e.id JOIN runs r ON r.id = m.run"
            " GROUP BY e.id, r.state ORDER BY e.created DESC, e.id, r.state",
            limit,
            skipped,
        )
        for row in rows:
            known = found.get(row["id"]) or ExperimentRow(row["id"], row["name"], row["created"], {})
            counts = known.counts | {row["state"]: row["count"]}
            seconds, changes = known.seconds + row["seconds"], known.changes + row["changes"]
            found[row["id"]] = replace(known, counts=counts, seconds=seconds, changes=changes)
        return list(found.values())

    def open_plans(self) -> list[Experiment]:
        """Experiments none of whose runs is live, and whose plans may have more to queue, the oldest first."""
        rows = self.rows(
            "SELECT * FROM experiments e WHERE plan_state = 'open' AND NOT EXISTS (SELECT 1 FROM members m"
            " JOIN runs r ON r.id = m.run WHERE m.experiment = e.id AND r.state IN ('queued', 'running'))"
            " ORDER BY created"
        )
        return [self._experiment(row) for row in rows]

    def end_plan(self, experiment: Experiment, state: PlanState) -> None:
        """Say that a plan has nothing to queue now, unless somebody has changed the experiment since it was read."""
        with self.transaction() as db, suppress(RunStateError):
            _check_unchanged(db, experiment)
            db.execute("UPDATE experiments SET plan_state = ? WHERE id = ?", (state, experiment.id))

    def reopen_plans(self, ids: Iterable[str]) -> None:
        """Have the plans of experiments looked at again, for which a person had to do something."""
        with self.transaction() as db:
            db.executemany(f"{REOPEN} = ?", [(id,) for id in ids])

    def rename(self, id: str, name: str) -> None:
        """Rename an experiment. Raises: UnknownRunError: there is no experiment with this id."""
        with self.transaction(backed_up=True) as db:
            if db.execute("UPDATE experiments SET name = ? WHERE id = ?", (name, id)).rowcount != 1:
                raise UnknownRunError(f"There is no experiment {id!r}.")

    def _experiment(self, row: Row) -> Experiment:
        query = f"SELECT id FROM runs WHERE id IN ({MEMBERS}) ORDER BY created, id"  # noqa: S608
        members = self.rows(query, row["id"])
        runs = tuple(member["id"] for member in members)
        return Experiment(row["id"], row["name"], row["created"], row["base"], runs, bool(row["trim"]), row["plan"])

    # Processes

    def last_ended(self, owner: str) -> list[str]:
        """Ids of the :data:`LAST_ENDED` runs of a process that ended most recently."""
        rows = self.rows(
            "SELECT id FROM runs WHERE owner = ? AND ended IS NOT NULL ORDER BY ended DESC LIMIT ?", owner, LAST_ENDED
        )
        return [row["id"] for row in rows]

    def owners(self) -> set[str]:
        """Names of the processes with queued or running runs."""
        rows = self.rows(f"SELECT DISTINCT owner FROM runs WHERE state IN {WAITING}")  # noqa: S608
        return {row["owner"] for row in rows}

    # Curves, logs and files

    def curve(self, id: str) -> Curve:
        """All losses and epochs of a run."""
        losses = self.rows("SELECT first_step, losses, seconds FROM losses WHERE run = ? ORDER BY first_step", id)
        epochs = self.rows(f"SELECT {', '.join(EPOCH_COLUMNS)}, measures FROM epochs WHERE run = ? ORDER BY epoch", id)  # noqa: S608
        return curve_of(losses, epochs)

    def add_log(self, id: str, text: str) -> None:
        """Append an entry to a run's log."""
        with self.transaction() as db:
            db.execute("INSERT INTO log VALUES (?, ?, ?)", (id, time.time(), text))

    def log(self, id: str) -> list[tuple[float, str]]:
        """A run's log as times and sentences: its forecast, interruptions, checkpoints that could not be written, how
        it was trained, and files that were not kept.
        """
        return [(row["at"], row["text"]) for row in self.rows("SELECT * FROM log WHERE run = ? ORDER BY rowid", id)]

    def files(self, id: str) -> dict[str, str]:
        """SHA-256 of each of a run's files, by name."""
        return {row["name"]: row["sha256"] for row in self.rows("SELECT name, sha256 FROM files WHERE run = ?", id)}

    def add_file(self, id: str, name: str, sha256: str) -> None:
        """Record, or replace, the SHA-256 of a file that was derived from a run's own files."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (id, name, sha256))

    def drop_file(self, id: str, name: str, cause: str) -> None:
        """Forget a file of a run that somebody asked not to keep, with a line in the run's log."""
        with self.transaction() as db:
            db.execute("DELETE FROM files WHERE run = ? AND name = ?", (id, name))
            db.execute("INSERT INTO log VALUES (?, ?, ?)", (id, time.time(), cause))

    def transitions(self, id: str) -> list[tuple[float, State]]:
        """The states that a run has entered, with times."""
        rows = self.rows("SELECT at, state FROM transitions WHERE run = ? ORDER BY rowid", id)
        return [(row["at"], row["state"]) for row in rows]


def _check_unchanged(db: Connection, experiment: Experiment) -> None:
    """Raises: RunStateError: the experiment has another name, another plan or other runs by now."""
    known = db.execute("SELECT name, plan FROM experiments WHERE id = ?", (experiment.id,)).fetchone()
    runs = {row["run"] for row in db.execute(MEMBERS, (experiment.id,))}
    if known is None or tuple(known) != (experiment.name, experiment.plan) or runs != set(experiment.runs):
        raise RunStateError("Somebody changed this experiment at the same time: look at it, and try again.")
