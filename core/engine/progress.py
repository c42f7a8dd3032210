"""How much of what was launched is done, as one share that the end of a run or of a bank does not lower."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.engine.growing import plan_of
from core.errors import LabError, UnknownRunError
from core.forecast.cost import plan as plan_of_network
from core.plan.search import FIRST_POINTS
from core.run_spec import OptimSpec, RunSpec
from core.store.record import Run
from core.store.stages import stages_of
from core.store.store import Store
from core.tasks.tasks import Tasks
from core.training.schedule import total_steps


class Progress:
    """Says which runs were launched together, and how far they are. Any thread may call any method."""

    def __init__(self, store: Store, tasks: Tasks) -> None:
        self._store, self._tasks = store, tasks

    def launched_with(self, runs: Iterable[Run]) -> list[Run]:
        """These runs, with those that were launched together with them: of their experiments and the bases of those."""
        own = list(runs)
        found = {run.id: run for run in own}
        for id in dict.fromkeys(run.experiment for run in own if run.experiment):
            members = self._members(id)
            bases = self._store.runs_of(list({run.spec.base for run in members if run.spec.base}))
            for stage in stages_of([*bases, *members]):
                if any(run.id in found for run in stage):
                    found |= {run.id: run for run in stage}
        return list(found.values())

    def share_done(self, runs: Sequence[Run]) -> float:
        """Share of the work of these runs that is done, from 0 to 1, with the runs that their plans will at least add.

        Work is the number of parameters times that of the examples that they see. A run that has finished, failed or
        been stopped counts as a whole: nothing of it waits.
        """
        total = done = 0.0
        for run in runs:
            own = self._work(run.spec, run.spec.optim)
            total += own
            done += own if run.state in ("finished", "failed", "stopped") else own * run.progress
        for id in dict.fromkeys(run.experiment for run in runs if run.experiment and run.plan == "open"):
            total += self._coming(id)
        return min(1.0, done / total) if total else 0.0

    def _coming(self, id: str) -> float:
        """Work of the runs that the plan of an experiment will add if every search ends as soon as it can, and no
        setting trains for more epochs than it does now.
        """
        members = [run.spec for run in self._members(id)]
        plan = plan_of(self._store.experiment(id)) if members else None
        if plan is None:
            return 0.0
        least = sum(self._work(members[0], optim) for (optim, _), _ in plan.at_least())
        there = sum(self._work(spec, spec.optim) for spec in members)
        first, seeds, missing = set(plan.first), len(plan.configuration.seeds), 0.0
        for arm in plan.configuration.arms:
            own = [spec for spec in members if spec.method == arm.method]
            epochs = max((spec.optim.epochs for spec in own), default=arm.optim.epochs)
            early = [spec.seed in first for spec in own if spec.optim.epochs == epochs]
            # More rates than the least were tried with the first seeds: that does not make the others fewer.
            runs = max(0, FIRST_POINTS * len(first) - sum(early))
            runs += max(0, FIRST_POINTS * (seeds - len(first)) - early.count(False))
            missing += runs * self._work(members[0], arm.optim.but(epochs=epochs))
        return max(least - there, missing)

    def _members(self, id: str) -> list[Run]:
        """Runs of an experiment; none where it was deleted meanwhile."""
        try:
            return self._store.runs_of(self._store.experiment(id).runs)
        except UnknownRunError:
            return []

    def _work(self, spec: RunSpec, optim: OptimSpec) -> float:
        """Work of a run with other settings of training; 0 where it cannot be known, as of a dataset that is gone."""
        try:
            examples = len(self._tasks.outline(spec.task).train)
            parameters = plan_of_network(spec.network, spec.method).parameters
        except LabError:
            return 0.0
        return float(total_steps(optim, examples) * optim.batch_size * parameters)
