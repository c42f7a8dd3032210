"""What the store and the files of runs have for trackers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.artifacts.artifacts import Artifacts
from core.engine.jobs.run_files import ADAPTER
from core.errors import LabError, StoreError
from core.methods.method import Role
from core.store.record import Experiment, Run, State
from core.store.store import Store
from core.tracking.content import OVER, Group, TrackedRun, group_of, tracked_run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunProgress:
    """What of a run changes when there is something new to send."""

    id: str
    experiment: str | None
    state: State
    step: int
    epochs: int

    @property
    def is_over(self) -> bool:
        """Whether nothing about it will change by itself."""
        return self.state in OVER


class Source:
    """Reads runs for trackers. Any thread may call any method."""

    def __init__(self, store: Store, artifacts: Artifacts) -> None:
        """Args: store: has the runs; artifacts: their files."""
        self._store = store
        self._artifacts = artifacts

    def since(self, moment: float) -> list[RunProgress]:
        """Runs that have begun and were in training at this moment or later, in the order in which they began.

        Args:
            moment: in seconds since 1970, UTC.
        """
        rows = self._store.rows(
            "SELECT id, experiment, state, step, (SELECT count(*) FROM epochs WHERE run = id) AS epochs FROM runs"
            " WHERE started IS NOT NULL AND (state IN ('running', 'queued') OR ended >= ?) ORDER BY started, created",
            moment,
        )
        return [RunProgress(row["id"], row["experiment"], row["state"], row["step"], row["epochs"]) for row in rows]

    def of_experiment(self, experiment: Experiment) -> list[str]:
        """Ids of the runs of an experiment that have begun, after those of the bases that they start from."""
        members = self._store.members(experiment.id)
        bases = self._store.runs_of(list(dict.fromkeys(run.spec.base for run in members if run.spec.base)))
        return [run.id for run in [*bases, *members] if run.started is not None]

    def run(self, id: str) -> TrackedRun:
        """All that a tracker is told about a run. Raises: UnknownRunError: there is no such run."""
        run = self._store.run(id)  # before its curve, so that the curve of a run that is over is complete
        entered = [at for at, state in self._store.transitions(id) if state == "running"]
        started = min([*entered, *([run.started] if run.started else [])], default=run.created)
        return tracked_run(run, self._store.curve(id), started, self._group(run))

    def files(self, id: str) -> dict[str, Path]:
        """Files that a tracker keeps of a run with a result, by name: its adapter, if it has one."""
        run = self._store.run(id)
        if run.result is None or run.spec.role is not Role.ADAPTER:
            return {}
        try:
            return {ADAPTER: self._artifacts.path(id, ADAPTER)}
        except StoreError:
            raise
        except LabError as error:  # a damaged file is no reason to track nothing of the run
            log.warning("The adapter of run %s is not sent to a tracker: %s", id, error)
            return {}

    def experiment(self, id: str) -> Experiment:
        """One experiment. Raises: UnknownRunError: it was deleted."""
        return self._store.experiment(id)

    def report_version(self, experiment: Experiment) -> str | None:
        """Equal for reports on the same runs; None while one of them is not over."""
        runs: Sequence[Run] = self._store.members(experiment.id)
        if not runs or any(run.state not in OVER for run in runs):
            return None
        return f"{len(runs)} runs until {max(run.ended or run.created for run in runs):.3f}"

    def _group(self, run: Run) -> Group:
        return group_of(self._store.experiment(run.experiment) if run.experiment else None)
