"""Launching runs and experiments, and growing experiments: what is queued is queued as a whole or not at all."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Any

from core.artifacts.artifacts import Artifacts
from core.data.sources.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.engine.executors import Executors
from core.engine.jobs.run_files import NETWORK
from core.engine.rest import rest_of
from core.engine.usage import DiskUsage
from core.engine.workers import Workers
from core.errors import LabError, RunStateError
from core.forecast.cost import plan
from core.forecast.estimates import Estimates
from core.methods.method import Role
from core.methods.registry import methods
from core.networks.library.networks import Networks
from core.networks.network import NetworkSpec
from core.plan.configuration import Configuration, outputs, suited
from core.plan.experiment import Setting, arm_specs, settings_of
from core.run_spec import RunSpec
from core.settings import Settings, check_device
from core.store.notes import clean_name
from core.store.record import Experiment, Run
from core.store.store import Store
from core.tasks.tasks import Tasks
from core.tasks.views.registry import view_of
from core.wording.experiments import experiment_name

log = logging.getLogger(__name__)

Queued = list[tuple[str, RunSpec]]
"""Ids and specs of runs that are to be queued."""

AGAIN = r" \(\d+\)"
"""Pattern of the number behind the name of an experiment that other experiments have, too."""


@dataclass(frozen=True)
class Planned:
    """Runs of an experiment that are to be trained: their specs are made once, shown to people, and queued."""

    runs: tuple[RunSpec, ...]
    """Their specs, ordered by seed."""
    bases: tuple[tuple[str, RunSpec], ...] = ()
    """Ids and specs of the bases that must be trained before them: new ones, and those that are to be finished."""

    @property
    def specs(self) -> list[RunSpec]:
        """Specs of all, the bases first."""
        return [*(spec for _, spec in self.bases), *self.runs]


class Launcher:
    """The part of :class:`core.lab.Lab` that queues runs; the lab sets the attributes."""

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
        """Queue one run.

        Raises:
            LabError: the spec is not valid, the dataset is missing, or the queue is full.
        """
        id = _new_id("r")
        self._queue([(id, spec)])
        return self.store.run(id)

    def repeat(self, *ids: str) -> list[str]:
        """Queue new runs with the specs of these, all or none. Returns: their ids. Raises: see :meth:`fine_tune`."""
        new = [(_new_id("r"), self.store.run(id).spec) for id in ids]
        self._queue(new)
        return [id for id, _ in new]

    def finish(self, ids: Sequence[str]) -> int:
        """Queue runs again that were stopped or interrupted or failed, with the bases that they wait for.

        Each goes on from its checkpoint, or else starts from its first step. Runs that were trained in one bank go on
        in one bank, if they are finished by one call. What can be finished is said by
        :func:`core.engine.rest.rest_of`.

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
        self.workers.wake()
        return len(rest.everything)

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

    def queue(self, planned: Planned, name: str = "", trim: bool = False) -> Experiment:
        """Queue a new experiment.

        Args:
            planned: by :meth:`planned`, and not queued before.
            name: title of the experiment; empty for :func:`core.wording.experiments.experiment_name`.
            trim: whether only the networks of chosen settings are kept once all runs have ended; adapters always are.

        Raises:
            LabError: a dataset is missing, or the queue is full; nothing was queued.
        """
        members = [(_new_id("r"), spec) for spec in planned.runs]
        title = name or self._unused(experiment_name(planned.runs))
        base = planned.runs[0].base or ""
        experiment = Experiment(_new_id("e"), title, time.time(), base, tuple(id for id, _ in members), trim)
        self._queue([*planned.bases, *members], experiment)
        return experiment

    def compare(self, configuration: Configuration) -> Experiment:
        """Plan an experiment, and queue it with the bases that it needs; see :meth:`planned` and :meth:`queue`.

        Raises:
            LabError: a spec is not valid, a dataset is missing, or the queue is full; nothing was queued.
        """
        return self.queue(self.planned(configuration), trim=configuration.trim)

    def fine_tune(
        self,
        base: Run | NetworkSpec,
        task: TaskSpec,
        arms: Sequence[Setting],
        seeds: Sequence[int],
        name: str = "",
        **more: Any,
    ) -> Experiment:
        """Plan an experiment on one base, and queue it; see :meth:`planned` and :meth:`queue`.

        Args:
            base: a pretrain run, finished or not; or a network that somebody brought, to fine-tune it as it is.
            task: what to fine-tune on.
            arms: training settings and method of each.
            seeds: one run per arm and seed.
            name: title of the experiment; see :meth:`queue`.
            more: the other fields of :class:`core.plan.configuration.Configuration`, by their names.

        Raises:
            LabError: see :meth:`compare`; nothing was queued.
        """
        run = base if isinstance(base, Run) else None
        start = base.spec if isinstance(base, Run) else base
        configuration = Configuration.on(start, task, arms, seeds, **more)
        return self.queue(self.planned(configuration, run), name, configuration.trim)

    def planned(self, configuration: Configuration, base: Run | None = None) -> Planned:
        """Plan an experiment: every arm with every seed, on one task, and the bases that must be trained first.

        Args:
            configuration: what is asked for.
            base: the pretrain run to start from, where one was chosen; it has the spec of the configuration's base.
                Otherwise one that has, or will have, a result for that spec is used.

        Raises:
            LabError: a spec is not valid, or there is no such dataset.
        """
        task, device, spec = configuration.task, configuration.device, configuration.base
        settings, seeds = configuration.settings, configuration.seeds
        objective = suited(configuration.objective, self.catalog, task)
        if spec is None:
            network = configuration.start.but(num_classes=outputs(self.catalog, task))
            return Planned(tuple(arm_specs(None, network, task, settings, seeds, device, objective)))
        if base is not None and not configuration.own_bases:
            return Planned(tuple(arm_specs(base.id, spec, task, settings, seeds, device, objective)))
        bases, new = self._bases(spec, seeds if configuration.own_bases else [spec.seed])
        starts = bases if configuration.own_bases else bases[spec.seed]
        return Planned(tuple(arm_specs(starts, spec, task, settings, seeds, device, objective)), tuple(new))

    def configuration(self, experiment: Experiment) -> Configuration:
        """The configuration that gives the runs of an experiment again, every arm with every seed.

        A base that was stopped early is pretrained in full by it.

        Raises:
            UnknownRunError: the experiment or its base is gone.
        """
        specs = [run.spec for run in self._members(experiment.id)]
        first = specs[0]
        start = first.network if first.is_direct else self.store.run(str(first.base)).spec
        seeds = sorted({spec.seed for spec in specs})
        more: dict[str, Any] = {"device": first.device, "own_bases": first.own_base, "trim": experiment.trim}
        more["objective"] = first.objective
        return Configuration.on(start, first.task, settings_of(specs), seeds, **more)

    def find_experiment(self, specs: Sequence[RunSpec]) -> Experiment | None:
        """The newest experiment that has, or will have, all of these runs trained to their ends; else the newest one
        that has them, of which some can be finished.
        """
        wanted, left = set(specs), None
        for experiment in self.store.experiments(base=specs[0].base or ""):
            if len(experiment.runs) >= len(wanted):
                members = self.store.runs_of(experiment.runs)
                if wanted <= {run.spec for run in members if not run.is_unfinished}:
                    return experiment
                if left is None and wanted <= {run.spec for run in members}:
                    left = experiment
        return left

    def rename(self, id: str, name: str) -> str:
        """Rename an experiment; an empty name gives it the one it would have by itself.

        Returns:
            The name that it has now.

        Raises:
            NoteError: the name is too long, or contains characters that are not text.
            UnknownRunError: there is no experiment with this id.
        """
        new = clean_name(name) or self._unused(experiment_name(run.spec for run in self._members(id)), id)
        self.store.rename(id, new)
        return new

    def growth(
        self, experiment: Experiment, arms: Sequence[Setting], seeds: Sequence[int], again: bool = False
    ) -> Planned:
        """What is missing for an experiment to have each of these arms with each of these seeds.

        An arm with a seed is missing if no run of the experiment has both. A run counts while it is queued, running or
        interrupted and when it has finished.

        Args:
            experiment: to which runs are to be added. Base, task, device, measure and margin are those
                of its runs.
            arms: training settings, as in :meth:`fine_tune`.
            seeds: one run per arm and seed.
            again: whether runs that failed or were stopped are to be trained again; otherwise they count too.

        Raises:
            RunStateError: the base of all runs failed, or was stopped before it had learnt anything.
            LabError: a spec is not valid.
            UnknownRunError: there is no such experiment.
        """
        members = self._members(experiment.id)
        first = members[0].spec
        base = None if first.is_direct else self.store.run(str(first.base))
        new: Queued = []
        if base is None:
            specs = arm_specs(None, first.network, first.task, arms, seeds, first.device, first.objective)
        elif first.own_base:
            bases = {run.id: run for run in self.store.runs_of(list({str(run.spec.base) for run in members}))}
            starts = {run.spec.seed: str(run.spec.base) for run in members if _usable(bases.get(str(run.spec.base)))}
            other, new = self._bases(base.spec, [seed for seed in seeds if seed not in starts])
            specs = arm_specs(starts | other, base.spec, first.task, arms, seeds, first.device, first.objective)
        elif _usable(base):
            specs = arm_specs(base.id, base.spec, first.task, arms, seeds, first.device, first.objective)
        else:
            raise RunStateError(f"The base of this experiment, {base.id}, has no result: finish the experiment first.")
        ended = ("failed", "stopped") if again else ()
        there = {(run.spec.arm, run.spec.seed) for run in members if run.state not in ended}
        missing = tuple(spec for spec in specs if (spec.arm, spec.seed) not in there)
        needed = {spec.base for spec in missing}
        return Planned(missing, tuple((id, spec) for id, spec in new if id in needed))

    def grow(
        self, experiment: Experiment, arms: Sequence[Setting], seeds: Sequence[int], again: bool = False
    ) -> tuple[str, ...]:
        """Queue what is missing for an experiment to have each of these arms with each of these seeds, all or none.

        What was trained stays. If the experiment has the name that it was given at its launch, the name follows.

        Args:
            experiment: to which the runs are added.
            arms: see :meth:`growth`.
            seeds: see :meth:`growth`.
            again: see :meth:`growth`.

        Returns:
            Ids of the new runs, bases not among them; empty if nothing is missing.

        Raises:
            LabError: see :meth:`growth` and :meth:`fine_tune`; nothing was queued.
            RunStateError: somebody else changed the experiment at the same time; nothing was queued.
        """
        before = self.store.experiment(experiment.id)
        growth = self.growth(before, arms, seeds, again)
        if not growth.runs:
            return ()
        new = [(_new_id("r"), spec) for spec in growth.runs]
        known = [run.spec for run in self.store.runs_of(before.runs)]
        name, own = before.name, experiment_name(known)
        if name == own or re.fullmatch(re.escape(own) + AGAIN, name):
            name = self._unused(experiment_name([*known, *growth.runs]))
        after = replace(before, name=name, runs=(*before.runs, *(id for id, _ in new)))
        self._queue([*growth.bases, *new], after, before)
        return tuple(id for id, _ in new)

    def _unused(self, name: str, id: str = "") -> str:
        """A name with a number behind it, where other experiments than that with this id have it already."""
        taken = {experiment.name for experiment in self.store.experiments() if experiment.id != id}
        numbered = (f"{name} ({number})" for number in count(2))
        return next(each for each in chain([name], numbered) if each not in taken)

    def _members(self, id: str) -> list[Run]:
        """Runs of an experiment, in the order in which they were queued. Raises: UnknownRunError."""
        return self.store.runs_of(self.store.experiment(id).runs)

    def _bases(self, spec: RunSpec, seeds: Sequence[int]) -> tuple[dict[int, str], Queued]:
        """Ids of a base like ``spec`` for each seed, and ids and specs of the bases that must be queued first."""
        specs = {seed: spec.but(seed=seed) for seed in seeds}
        runs = self.store.runs(methods=list(methods(Role.BASE)))
        finished = [run for run in runs if run.state == "finished"]
        left = rest_of(self.store, [run.id for run in runs if run.is_unfinished and run.spec in specs.values()])
        coming = {run.spec: run for run in (*left.runs, *(run for run in runs if run.is_live))}
        known = {seed: self._usable_base(finished, own) or coming.get(own) for seed, own in specs.items()}
        ids = {seed: base.id if base else _new_id("r") for seed, base in known.items()}
        missing = [seed for seed, base in known.items() if base is None or base.is_unfinished]
        return ids, [(ids[seed], specs[seed]) for seed in missing]

    def check_runs(self, specs: Iterable[RunSpec]) -> None:
        """Check that runs can be trained on this machine: devices, adapters, datasets, and networks that were brought.

        Raises:
            LabError: one cannot.
        """
        specs = set(specs)
        for device in {spec.device for spec in specs}:
            check_device(device, self.executors.current.machines.devices())
        for network, method in {(spec.network, spec.method) for spec in specs}:
            plan(network, method)
        learned = {(spec.network, spec.objective, task) for spec in specs for task in (spec.task, spec.source)}
        for network, objective, task in learned:
            if network.brought is not None:
                self.networks.card(network.brought)  # raises if it is not on this machine
            if task is not None:
                info, classes = self.catalog.info(task.dataset), self.tasks.outline(task).classes
                objective.check_dataset(task.dataset, info.objective)
                inputs = view_of(info.kind).inputs
                network.check_fit(task.dataset, inputs, classes)

    def _queue(self, runs: Queued, experiment: Experiment | None = None, before: Experiment | None = None) -> None:
        """Check and queue runs; see :meth:`core.store.store.Store.add`. Bases that are there are finished first."""
        self.check_runs(spec for _, spec in runs)
        self.usage.check(spec for _, spec in runs)
        there = self.store.runs_of([id for id, _ in runs])
        new = [(id, spec) for id, spec in runs if id not in {run.id for run in there}]
        lines = [forecast.to_line() for forecast in self.estimates.each([spec for _, spec in new], ask=False)]
        # The bases come first: what starts from one must not begin on what it had learnt when it was stopped.
        self.store.requeue([run.id for run in there if run.is_unfinished], self.owner)
        self.store.add(new, self.owner, self.settings.max_waiting, experiment, before, lines)
        self.workers.wake()


def _usable(base: Run | None) -> bool:
    """Whether a base has a result, or will have one."""
    return base is not None and (base.result is not None or base.state in ("queued", "running", "interrupted"))


def _new_id(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(4)}"
