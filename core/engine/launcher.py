"""Launching runs and experiments, and growing experiments: what is queued is queued as a whole or not at all."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.data.catalog import Catalog
from core.data.presets import preset_tasks
from core.data.task_spec import TaskSpec
from core.data.tasks import Tasks
from core.data.views.registry import view_of
from core.engine.artifacts import Artifacts
from core.engine.cost import plan
from core.engine.estimates import Estimates
from core.engine.experiment import Setting, arm_specs, next_seeds, settings_of
from core.engine.jobs.run_files import NETWORK
from core.engine.usage import DiskUsage
from core.engine.workers import Workers
from core.errors import LabError, RunStateError
from core.methods.method import Role
from core.methods.pretrain import PretrainSpec
from core.methods.registry import methods
from core.networks.library.networks import Networks
from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES
from core.run_spec import OptimSpec, RunSpec, default_length
from core.settings import Settings, choose_device
from core.spec import Device
from core.store.notes import clean_name
from core.store.record import Experiment, Run
from core.store.store import Store
from core.wording.experiments import experiment_name

log = logging.getLogger(__name__)

Queued = list[tuple[str, RunSpec]]
"""Ids and specs of new runs."""


@dataclass(frozen=True)
class Planned:
    """Runs of an experiment that are to be trained: their specs are made once, shown to people, and queued."""

    runs: tuple[RunSpec, ...]
    """Their specs, ordered by seed."""
    bases: tuple[tuple[str, RunSpec], ...] = ()
    """Ids and specs of the bases that must be trained before them."""

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

    def find_base(self, spec: RunSpec) -> Run | None:
        """A finished pretrain run with exactly this spec, whose network can be used instead of training it again."""
        return self._usable_base(self.store.runs(methods=list(methods(Role.BASE)), states=["finished"]), spec)

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
            planned: by :meth:`planned` or :meth:`comparison`, and not queued before.
            name: title of the experiment; empty for :func:`core.wording.experiments.experiment_name`.
            trim: whether only the networks of chosen settings are kept once all runs have ended; adapters always are.

        Raises:
            LabError: a dataset is missing, or the queue is full; nothing was queued.
        """
        members = [(_new_id("r"), spec) for spec in planned.runs]
        title = name or experiment_name(planned.runs)
        base = planned.runs[0].base or ""
        experiment = Experiment(_new_id("e"), title, time.time(), base, tuple(id for id, _ in members), trim)
        self._queue([*planned.bases, *members], experiment)
        return experiment

    def fine_tune(
        self,
        base: Run | NetworkSpec,
        task: TaskSpec,
        arms: Sequence[Setting],
        seeds: Sequence[int],
        name: str = "",
        device: Device = "auto",
        own_bases: bool = False,
        trim: bool = False,
    ) -> Experiment:
        """Plan an experiment, and queue it; see :meth:`planned` and :meth:`queue`.

        Raises:
            LabError: a spec is not valid, the dataset is missing, or the queue is full; nothing was queued.
        """
        return self.queue(self.planned(base, task, arms, seeds, device, own_bases), name, trim)

    def planned(
        self,
        base: Run | NetworkSpec,
        task: TaskSpec,
        arms: Sequence[Setting],
        seeds: Sequence[int],
        device: Device = "auto",
        own_bases: bool = False,
    ) -> Planned:
        """Plan an experiment: every arm with every seed, on one task.

        Args:
            base: a pretrain run, finished or not; or a network that somebody brought, to fine-tune it as it is.
            task: what to fine-tune on.
            arms: training settings and method of each.
            seeds: one run per arm and seed.
            device: where to train.
            own_bases: whether each seed starts from its own base, pretrained like this one with that seed.

        Raises:
            LabError: a spec is not valid, or there is no such dataset.
        """
        if not isinstance(base, Run):
            network = base.but(num_classes=self.catalog.info(task.dataset).num_classes)
            return Planned(tuple(arm_specs(None, network, task, arms, seeds, device)))
        bases, new = self._bases(base.spec, seeds) if own_bases else (base.id, [])
        return Planned(tuple(arm_specs(bases, base.spec, task, arms, seeds, device)), tuple(new))

    def compare(
        self,
        preset: str,
        source: str,
        target: str | None,
        pretraining: OptimSpec,
        arms: Sequence[Setting],
        seeds: Sequence[int],
        device: Device = "auto",
        own_bases: bool = False,
        network: NetworkSpec | None = None,
        shots: int | None = None,
        length: int | None = None,
    ) -> Experiment:
        """Plan a base, or one per seed, and an experiment on it; and queue what has to be trained.

        Raises:
            LabError: see :meth:`fine_tune`; nothing was queued.
        """
        return self.queue(
            self.comparison(preset, source, target, pretraining, arms, seeds, device, own_bases, network, shots, length)
        )

    def comparison(
        self,
        preset: str,
        source: str,
        target: str | None,
        pretraining: OptimSpec,
        arms: Sequence[Setting],
        seeds: Sequence[int],
        device: Device = "auto",
        own_bases: bool = False,
        network: NetworkSpec | None = None,
        shots: int | None = None,
        length: int | None = None,
    ) -> Planned:
        """Plan a base, or one per seed, and an experiment on it. A base with the same spec is reused.

        Args:
            preset: name of a preset.
            source: dataset to pretrain on.
            target: dataset to fine-tune on, where the preset needs another one.
            pretraining: how the base is trained.
            arms: training settings and method of each.
            seeds: one run per arm and seed.
            device: where to train.
            own_bases: whether each seed starts from its own base.
            network: which one to pretrain, with as many outputs as the datasets need; None for the first family of
                :data:`core.networks.registry.FAMILIES`.
            shots: training examples per class of the target; None for those of the preset.
            length: longest input of both tasks, in tokens; None for :func:`core.run_spec.default_length`.

        Raises:
            LabError: a spec is not valid, or a dataset is missing.
        """
        source_task, target_task = (
            task.but(length=default_length(network) if length is None else length)
            for task in preset_tasks(preset, source, self.catalog, target)
        )
        if shots is not None:
            target_task = target_task.but(shots=shots)
        classes = max(self.catalog.info(task.dataset).num_classes for task in (source_task, target_task))
        spec = RunSpec.of(
            method=PretrainSpec(),
            network=network.but(num_classes=classes) if network else FAMILIES[0].of(num_classes=classes),
            task=source_task,
            optim=pretraining,
            device=device,
        )
        bases, new = self._bases(spec, seeds if own_bases else [spec.seed])
        starts = bases if own_bases else bases[spec.seed]
        return Planned(tuple(arm_specs(starts, spec, target_task, arms, seeds, device)), tuple(new))

    def find_experiment(self, specs: Sequence[RunSpec]) -> Experiment | None:
        """The newest experiment that has, or will have, a result for each of these specs."""
        wanted = set(specs)
        for experiment in self.store.experiments():
            if len(experiment.runs) >= len(wanted) and experiment.base == (specs[0].base or ""):
                members = self.store.runs_of(experiment.runs)
                if wanted <= {run.spec for run in members if run.state not in ("failed", "stopped")}:
                    return experiment
        return None

    def rename(self, id: str, name: str) -> str:
        """Rename an experiment; an empty name gives it the one it would have by itself.

        Returns:
            The name that it has now.

        Raises:
            NoteError: the name is too long, or contains characters that are not text.
            UnknownRunError: there is no experiment with this id.
        """
        new = clean_name(name) or experiment_name(run.spec for run in self._members(id))
        self.store.rename(id, new)
        return new

    def growth(
        self, experiment: Experiment, arms: Sequence[Setting], seeds: Sequence[int], again: bool = False
    ) -> Planned:
        """What is missing for an experiment to have each of these arms with each of these seeds.

        An arm with a seed is missing if no run of the experiment has both. A run counts while it is queued, running or
        interrupted and when it has finished.

        Args:
            experiment: to which runs are to be added. Base, task and device are those of its runs.
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
            specs = arm_specs(None, first.network, first.task, arms, seeds, first.device)
        elif first.own_base:
            bases = {run.id: run for run in self.store.runs_of(list({str(run.spec.base) for run in members}))}
            starts = {run.spec.seed: str(run.spec.base) for run in members if _usable(bases.get(str(run.spec.base)))}
            other, new = self._bases(base.spec, [seed for seed in seeds if seed not in starts])
            specs = arm_specs(starts | other, base.spec, first.task, arms, seeds, first.device)
        elif _usable(base):
            specs = arm_specs(base.id, base.spec, first.task, arms, seeds, first.device)
        else:
            raise RunStateError(f"The base of this experiment, {base.id}, has no result: start a new experiment.")
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
        name = before.name
        if name == experiment_name(known):
            name = experiment_name([*known, *growth.runs])
        after = replace(before, name=name, runs=(*before.runs, *(id for id, _ in new)))
        self._queue([*growth.bases, *new], after, before)
        return tuple(id for id, _ in new)

    def add_seeds(self, experiment: Experiment, count: int) -> tuple[str, ...]:
        """Queue every setting of an experiment with its next ``count`` seeds.

        Returns:
            Ids of the new runs.

        Raises:
            SpecError: the count is out of bounds.
            LabError: see :meth:`grow`; nothing was queued.
        """
        specs = [run.spec for run in self._members(experiment.id)]
        return self.grow(experiment, settings_of(specs), next_seeds(specs, count))

    def _members(self, id: str) -> list[Run]:
        """Runs of an experiment, in the order in which they were queued. Raises: UnknownRunError."""
        return self.store.runs_of(self.store.experiment(id).runs)

    def _bases(self, spec: RunSpec, seeds: Sequence[int]) -> tuple[dict[int, str], Queued]:
        """Ids of a base like ``spec`` for each seed, and ids and specs of the bases that must be queued first."""
        specs = {seed: spec.but(seed=seed) for seed in seeds}
        runs = self.store.runs(methods=list(methods(Role.BASE)), states=["finished", "queued", "running"])
        finished = [run for run in runs if run.state == "finished"]
        coming = {run.spec: run for run in runs if run.state != "finished"}
        known = {seed: self._usable_base(finished, own) or coming.get(own) for seed, own in specs.items()}
        ids = {seed: base.id if base else _new_id("r") for seed, base in known.items()}
        return ids, [(ids[seed], specs[seed]) for seed, base in known.items() if base is None]

    def _queue(self, runs: Queued, experiment: Experiment | None = None, before: Experiment | None = None) -> None:
        """Check and queue runs; see :meth:`core.store.store.Store.add`."""
        specs = {spec for _, spec in runs}
        for device in {spec.device for spec in specs}:
            choose_device(device)
        for network, method in {(spec.network, spec.method) for spec in specs}:
            plan(network, method)
        for network, task in {(spec.network, task) for spec in specs for task in (spec.task, spec.source)}:
            if network.brought is not None:
                self.networks.card(network.brought)  # raises if it is not on this machine
            if task is not None:
                classes = self.tasks.outline(task).classes
                inputs = view_of(self.catalog.info(task.dataset).kind).inputs
                network.check_fit(task.dataset, inputs, classes)
        self.usage.check(spec for _, spec in runs)
        lines = [forecast.to_line() for forecast in self.estimates.each([spec for _, spec in runs], ask=False)]
        self.store.add(runs, self.owner, self.settings.max_waiting, experiment, before, lines)
        self.workers.wake()


def _usable(base: Run | None) -> bool:
    """Whether a base has a result, or will have one."""
    return base is not None and (base.result is not None or base.state in ("queued", "running", "interrupted"))


def _new_id(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(4)}"
