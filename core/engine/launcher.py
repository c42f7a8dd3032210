"""Planning experiments, and queueing runs: what is queued is queued as a whole or not at all."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.artifacts.artifacts import Artifacts
from core.data.sources.catalog import Catalog
from core.engine.executors import Executors
from core.engine.jobs.run_files import NETWORK
from core.engine.usage import DiskUsage
from core.engine.workers import Workers
from core.errors import LabError
from core.forecast.estimates import Estimates
from core.forecast.forecast import plan as plan_of_network
from core.methods.method import Role
from core.methods.registry import methods
from core.networks.library.networks import Networks
from core.networks.network import NetworkSpec
from core.objectives.registry import CLASSIFICATION
from core.plan.configuration import Configuration, objective_for, outputs, with_head
from core.plan.experiment import Wanted, arm_specs, every
from core.plan.plan import Plan
from core.run_spec import RunSpec
from core.settings import Settings, check_device
from core.store.record import Experiment, Run
from core.store.store import Store
from core.tasks.tasks import Tasks
from core.tasks.views.registry import view_of

log = logging.getLogger(__name__)

Queued = list[tuple[str, RunSpec]]
"""Ids and specs of runs that are to be queued."""


@dataclass(frozen=True)
class Planned:
    """Runs of an experiment that are to be trained: their specs are made once, shown to people, and queued."""

    runs: tuple[RunSpec, ...]
    """Their specs, ordered by seed."""
    bases: tuple[tuple[str, RunSpec], ...] = ()
    """Ids and specs of the bases that must be trained before them: new ones, and those that are to be finished."""
    plan: Plan | None = None
    """What decides which runs follow; None where there are no others."""
    least: tuple[RunSpec, ...] = ()
    """All runs that will have been trained if no search tries more rates than its first ones; empty without a plan."""
    most: tuple[RunSpec, ...] = ()
    """All runs that will have been trained if every search tries as many as it may; empty without a plan."""
    shared: frozenset[RunSpec] = frozenset()
    """Those of all of these that a study finds trained in other experiments, so that they cost nothing."""

    @property
    def specs(self) -> list[RunSpec]:
        """Specs of all that are queued at once, the bases first."""
        return [*(spec for _, spec in self.bases), *self._not_shared(self.runs)]

    @property
    def at_least(self) -> list[RunSpec]:
        """Specs of the bases and of the fewest runs that are trained in the end."""
        return [*(spec for _, spec in self.bases), *self._not_shared(self.least or self.runs)]

    @property
    def at_most(self) -> list[RunSpec]:
        """Specs of the bases and of the most runs that are trained in the end."""
        return [*(spec for _, spec in self.bases), *self._not_shared(self.most or self.runs)]

    def _not_shared(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        return [spec for spec in specs if spec not in self.shared]


@dataclass(frozen=True)
class Rest:
    """Runs that were stopped or interrupted or failed, and can be trained to their ends; the oldest first.

    :attr:`core.store.record.Run.step` of each is where it goes on: the step of its checkpoint, or 0.
    """

    runs: tuple[Run, ...] = ()
    bases: tuple[Run, ...] = ()
    """Bases of these runs that must be trained to their ends before them."""
    anew: tuple[Run, ...] = ()
    """Bases that were asked for, but on whose results other runs have been trained: new ones like them are."""

    @property
    def everything(self) -> tuple[Run, ...]:
        """All of them, in the order of training."""
        return (*self.bases, *self.anew, *self.runs)

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return bool(self.everything)


@dataclass(frozen=True)
class Launcher:
    """Plans experiments, and queues runs."""

    settings: Settings
    catalog: Catalog
    networks: Networks
    tasks: Tasks
    store: Store
    artifacts: Artifacts
    usage: DiskUsage
    estimates: Estimates
    workers: Workers
    executors: Executors
    owner: str

    def launch(self, spec: RunSpec) -> Run:
        """Queue one run. Raises: LabError: the spec is not valid, the dataset is missing, or the queue is full."""
        id = new_id("r")
        self.queue([(id, spec)])
        return self.store.run(id)

    def repeat(self, *ids: str) -> list[str]:
        """Queue new runs with the specs of these, all or none. Returns: their ids. Raises: see :meth:`queue`."""
        new = [(new_id("r"), self.store.run(id).spec) for id in ids]
        self.queue(new)
        return [id for id, _ in new]

    def finish(self, ids: Sequence[str]) -> int:
        """Queue runs again that were stopped or interrupted or failed, with the bases that they wait for.

        Each goes on from its checkpoint, or else starts from its first step. Runs that were trained in one bank go on
        in one bank, if they are finished by one call. What can be finished is said by
        :meth:`rest`.

        Args:
            ids: of the runs, such as all of an experiment; those that have finished, or are live, are skipped.

        Returns:
            The number of runs that were queued, bases among them.

        Raises:
            LabError: a dataset or network is missing, or there is no room; nothing was queued.
        """
        rest = rest_of(self.store, ids)
        again = [run.id for run in (*rest.bases, *rest.runs)]
        self.check_runs(run.spec for run in rest.everything)
        self.usage.check(run.spec for run in rest.everything)
        if rest.anew:
            self.repeat(*(run.id for run in rest.anew))
        self.store.requeue(again, self.owner)
        self.store.reopen_plans(self.store.experiments_of(ids))
        self.workers.wake()
        return len(rest.everything)

    def rest(self, ids: Sequence[str]) -> Rest:
        """What :meth:`finish` would train of these runs; see :func:`rest_of`."""
        return rest_of(self.store, ids)

    def _usable_base(self, finished: Sequence[Run], spec: RunSpec) -> Run | None:
        """The first of these with this spec whose network is intact."""
        for run in finished:
            if run.spec == spec:
                try:
                    self.artifacts.path(run.id, NETWORK)
                except (LabError, OSError) as error:
                    log.warning("Run %s cannot be used as a base: %s", run.id, error)
                else:
                    return run
        return None

    # Experiments

    def plan(self, configuration: Configuration, base: Run | None = None) -> Planned:
        """Plan an experiment: every arm with every seed, on one task, and the bases that must be trained first.

        Where learning rates are searched for, what is queued at once is what the search begins with.

        Args:
            configuration: what is asked for.
            base: the pretrain run to start from, where one was chosen; it has the spec of the configuration's base.
                Otherwise one that has, or will have, a result for that spec is used.

        Raises:
            LabError: a spec is not valid, or there is no such dataset.
        """
        configuration = with_head(configuration)
        task, spec, seeds = configuration.task, configuration.base, configuration.seeds
        asked = every(configuration.settings, seeds, task)  # raises where two are the same
        objective = configuration.objective
        if objective == CLASSIFICATION:  # nothing else was asked for than what the targets are for
            objective = objective_for(self.catalog, task, configuration.start.learns)
        start: RunSpec | NetworkSpec
        origin: str | Mapping[int, str] | None
        new: Queued = []
        if spec is None:
            origin, start = (
                None,
                configuration.start.but(num_classes=outputs(self.catalog, configuration.start.learns, task)),
            )
        elif base is not None and not configuration.own_bases:
            origin, start = base.id, spec
        else:
            bases, new = self.bases(spec, seeds if configuration.own_bases else [spec.seed])
            origin, start = bases if configuration.own_bases else bases[spec.seed], spec

        def specs(wanted: Iterable[Wanted]) -> tuple[RunSpec, ...]:
            forgetting, head = configuration.forgetting, configuration.head
            return tuple(arm_specs(origin, start, wanted, configuration.device, objective, forgetting, head))

        if not configuration.is_search:
            return Planned(specs(asked), tuple(new))
        plan = Plan.of_configuration(configuration.but(objective=objective))
        least, most = specs(plan.at_least()), specs(plan.at_most())
        shared = self.store.alike(most) if configuration.vary is not None else {}
        return Planned(specs(plan.wanted([])), tuple(new), plan, least, most, frozenset(shared))

    def bases(self, spec: RunSpec, seeds: Sequence[int]) -> tuple[dict[int, str], Queued]:
        """Ids of a base like ``spec`` for each seed, and ids and specs of the bases that must be queued first."""
        specs = {seed: spec.but(seed=seed) for seed in seeds}
        runs = self.store.runs(methods=list(methods(Role.BASE)))
        finished = [run for run in runs if run.state == "finished"]
        left = rest_of(self.store, [run.id for run in runs if run.is_unfinished and run.spec in specs.values()])
        coming = {run.spec: run for run in (*left.runs, *(run for run in runs if run.is_live))}
        known = {seed: self._usable_base(finished, own) or coming.get(own) for seed, own in specs.items()}
        ids = {seed: base.id if base else new_id("r") for seed, base in known.items()}
        missing = [seed for seed, base in known.items() if base is None or base.is_unfinished]
        return ids, [(ids[seed], specs[seed]) for seed in missing]

    def check_runs(self, specs: Iterable[RunSpec]) -> None:
        """Check that runs can be trained on this machine: devices, adapters, datasets, and networks that were imported.

        Raises:
            LabError: one cannot.
        """
        specs = set(specs)
        for device in {spec.device for spec in specs}:
            check_device(device, self.executors.current.machines.devices())
        for network, method in {(spec.trained_network, spec.method) for spec in specs}:
            plan_of_network(network, method)
        learned = {(spec.network, spec.objective, task) for spec in specs for task in (spec.task, spec.source)}
        for network, objective, task in learned:
            if network.brought is not None:
                self.networks.card(network.brought)  # raises if it is not on this machine
            if task is not None:
                info, classes = self.catalog.info(task.dataset, network.learns), self.tasks.outline(task).classes
                objective.check_dataset(task.dataset, info.objective)
                inputs = view_of(info.kind).inputs
                network.check_fit(task.dataset, inputs, classes)

    def queue(
        self,
        runs: Queued,
        experiment: Experiment | None = None,
        before: Experiment | None = None,
        joins: bool = False,
    ) -> None:
        """Check and queue runs; see :meth:`core.store.store.Store.add`. Bases that are there are finished first."""
        self.check_runs(spec for _, spec in runs)
        self.usage.check(spec for _, spec in runs)
        there = self.store.runs_of([id for id, _ in runs])
        new = [(id, spec) for id, spec in runs if id not in {run.id for run in there}]
        lines = [forecast.to_line() for forecast in self.estimates.each([spec for _, spec in new], ask=False)]
        # The bases come first: what starts from one must not begin on what it had learned when it was stopped.
        self.store.requeue([run.id for run in there if run.is_unfinished], self.owner)
        self.store.add(new, self.owner, self.settings.max_waiting, experiment, before, lines, joins)
        self.workers.wake()


def rest_of(store: Store, ids: Sequence[str]) -> Rest:
    """What is left of some runs.

    Left out is what would end as it did: runs that diverged, or whose base did or was deleted.

    Args:
        store: has them.
        ids: of the runs, such as all of an experiment; unknown ones are skipped.
    """
    asked = sorted((run for run in store.runs_of(ids) if run.is_unfinished), key=lambda run: run.created)
    starts = {base.id: base for base in store.runs_of(list({run.spec.base for run in asked if run.spec.base}))}
    runs = [run for run in asked if run.spec.base is None or _can_start(starts.get(run.spec.base))]
    needed = {run.spec.base for run in runs}.difference(run.id for run in runs)
    bases = [base for base in starts.values() if base.id in needed and base.is_unfinished]
    built_on = store.built_on([run.id for run in (*runs, *bases)])
    steps = store.checkpoint_steps([run.id for run in (*runs, *bases)])

    def found(among: Sequence[Run], is_built_on: bool) -> tuple[Run, ...]:
        chosen = [run for run in among if (run.id in built_on) is is_built_on]
        return tuple(replace(run, step=0 if is_built_on else steps.get(run.id, 0)) for run in chosen)

    return Rest(found(runs, False), found(bases, False), found(runs, True))


def _can_start(base: Run | None) -> bool:
    """Whether runs can start from a base, once it has been trained to its end."""
    return base is not None and (base.result is not None or base.is_live or base.is_unfinished)


def is_usable(base: Run | None) -> bool:
    """Whether a base has a result, or will have one."""
    return base is not None and (base.result is not None or base.state in ("queued", "running", "interrupted"))


def new_id(kind: str) -> str:
    """A new id of a run, ``r``, or of an experiment, ``e``."""
    return f"{kind}-{secrets.token_hex(4)}"
