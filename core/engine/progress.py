"""How much of what was launched is done, as one share that only new launches lower."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from core.engine.experiments import plan_of
from core.errors import LabError, UnknownRunError
from core.forecast.forecast import plan as plan_of_network
from core.plan.plan import Plan
from core.plan.search import FIRST_POINTS
from core.run_spec import OptimSpec, RunSpec
from core.store.record import Run, stages_of
from core.store.store import Store
from core.tasks.tasks import Tasks
from core.training.schedule import total_steps

ENDED = ("finished", "failed", "stopped")
"""States of runs of which nothing waits."""

MAX_KEPT = 256
"""Maximum number of launches whose share is remembered, so that it never falls."""


class Progress:
    """Says which runs were launched together, and how far they are. Any thread may call any method."""

    def __init__(self, store: Store, tasks: Tasks) -> None:
        self._store, self._tasks = store, tasks
        self._lock = threading.Lock()
        self._reached: OrderedDict[frozenset[str], float] = OrderedDict()

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
        """Share of the work of these runs that is done, from 0 to 1, with what their plans are expected to add.

        Work is the number of parameters times that of the examples that they see. A run that has finished, failed or
        been stopped counts as a whole: nothing of it waits. Where a search adds more than was expected, the share stays
        what it was until as much of the whole is done, also for who opens the page anew.
        """
        total = over = trained = 0.0
        for run in runs:
            own = self._work(run.spec, run.spec.optim)
            total += own
            over += own if run.state in ENDED else own * run.progress
            trained += own if run.state in ("finished", "failed") else own * run.progress
        total += sum(self._work(spec, spec.optim) for specs in self.coming(runs).values() for spec in specs)
        return max(min(1.0, over / total), self._reached_by(runs, trained / total)) if total else 0.0

    def _reached_by(self, runs: Sequence[Run], share: float) -> float:
        """The largest share of these launches that was trained so far. What was stopped may be finished later, and
        counts as far as it was. Args: share: the present one, or one of a moment ago, as a slow page asks for it.
        """
        launches = _launches(runs)
        with self._lock:
            reached = self._reached[launches] = max(share, self._reached.pop(launches, 0.0))
            while len(self._reached) > MAX_KEPT:
                self._reached.popitem(last=False)
        return reached

    def coming(self, runs: Iterable[Run]) -> dict[str, list[RunSpec]]:
        """Runs that the plans of experiments are expected to add, by experiment: that every search ends as soon as it
        can, and chooses the number of epochs that was asked for, until other seeds than its own say that it does not.
        Of each it is one run at least, so that a bar is full only when nothing can follow. Seeds and rates stand for
        others.

        Args:
            runs: of the experiments; those without an open plan add nothing.
        """
        ids = dict.fromkeys(run.experiment for run in runs if run.experiment and run.plan == "open")
        return {id: self._coming(id) for id in ids}

    def _coming(self, id: str) -> list[RunSpec]:
        members = [run.spec for run in self._members(id)]
        plan = plan_of(self._store.experiment(id)) if members else None
        parts = () if plan is None else plan.parts
        own = [(part, [spec for spec in members if part.has(spec)]) for part in parts]
        return [spec for part, there in own for spec in self._coming_of(part, there)]

    def _coming_of(self, plan: Plan, members: Sequence[RunSpec]) -> list[RunSpec]:
        """The same of what an experiment compares, of a study at one point."""
        if not members:
            return []
        first, found = set(plan.first), list[RunSpec]()
        later = len(plan.configuration.seeds) - len(first)
        for arm in plan.configuration.arms:
            own = [spec for spec in members if spec.method == arm.method]
            if any(spec.seed not in first for spec in own):  # what is chosen was queued at once
                continue
            for epochs, whole in plan.expected((arm.optim, arm.method)).items():
                there = sum(spec.optim.epochs == epochs for spec in own)
                # More rates than the least were tried with the first seeds: that does not make the others fewer.
                runs = max(0, FIRST_POINTS * len(first) - there) + whole * later
                found += [members[0].but(method=arm.method, optim=arm.optim.but(epochs=epochs))] * runs
        return found or [members[-1]]

    def _members(self, id: str) -> list[Run]:
        """Runs of an experiment; none where it was deleted meanwhile."""
        try:
            return self._store.members(self._store.experiment(id).id)
        except UnknownRunError:
            return []

    def _work(self, spec: RunSpec, optim: OptimSpec) -> float:
        """Work of a run with other settings of training; 0 where it cannot be known, as of a dataset that is gone."""
        try:
            examples = len(self._tasks.outline(spec.task).train)
            parameters = plan_of_network(spec.trained_network, spec.method).parameters
        except LabError:
            return 0.0
        return float(total_steps(optim, examples) * optim.batch_size * parameters)


def _launches(runs: Sequence[Run]) -> frozenset[str]:
    """The first run of each launch, which what a plan adds to it does not change; of runs without one all of them."""
    by_experiment: dict[str, list[Run]] = {}
    for run in runs:
        if run.experiment:
            by_experiment.setdefault(run.experiment, []).append(run)
    firsts = [stage[0].id for own in by_experiment.values() for stage in stages_of(own)]
    return frozenset(firsts or [run.id for run in runs])
