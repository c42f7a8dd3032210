"""What Home can ask: the targets that it offers for a dataset, and the configuration of each of its plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.data.sources.source import DatasetInfo
from core.data.task_spec import TaskSpec
from core.errors import LabError
from core.lab import Lab
from core.methods.pretrain import PretrainSpec
from core.networks.network import NetworkSpec
from core.networks.registry import families_for
from core.plan.configuration import Configuration, objective_for, preset_configuration, preset_of, preset_task
from core.plan.defaults import default_shots, has_own_bases
from core.plan.experiment import settings_of
from core.run_spec import RunSpec, default_optim
from core.store.record import Experiment, Run, stages_of
from core.tasks.presets import preset_tasks, presets_for
from pages.home.plans import PLANS, Plan
from pages.shared.ui.literal import literal

DATASET = "data:"
"""Prefix of the choices that learn another dataset; the others are names of presets."""


@dataclass(frozen=True)
class Question:
    """What is asked, but for how thoroughly."""

    source: str
    """Dataset to pretrain on, or to fine-tune the network on as it is."""
    target: str
    """What is learned: one of :func:`targets`."""
    direct: bool
    """Whether the network is fine-tuned as it was imported."""
    network: NetworkSpec
    length: int
    """Longest input, in tokens; images have none."""
    forgetting: str = ""
    """Dataset on which the forgetting of an imported language model is measured; empty for none."""

    def configuration(self, lab: Lab, plan: Plan) -> Configuration:
        """What is asked for with a plan. Raises: LabError: a dataset is missing, or not for the preset."""
        network = self.network
        settings, seeds, tune = plan.settings(network), range(plan.seeds(network)), plan.search(network)
        if self.direct:
            task = preset_task(lab.catalog, self.target, None, self.network, self.source).but(length=self.length)
            other = TaskSpec.of(dataset=self.forgetting, length=self.length) if self.forgetting else None
            objective = objective_for(lab.catalog, task, network.learns)
            more = {"tune": tune, "forgetting": other, "objective": objective}
            return Configuration.on(self.network, task, settings, seeds, **more)
        preset, other = preset_named(self.target)
        task = tasks_of(lab, self.source, self.target, network.learns)[1]
        return preset_configuration(
            lab.catalog,
            preset,
            self.source,
            other,
            default_optim(PretrainSpec, self.network),
            settings,
            seeds,
            self.network,
            shots=shots_of(lab, task),
            length=self.length,
            tune=tune,
            own_bases=plan.tuned and has_own_bases(self.network),
            objective=objective_for(lab.catalog, task, network.learns),
        )

    def is_like(self, other: Question | None) -> bool:
        """Whether another one asks for the same to be learned from the same, by a network that comes from the same."""
        if other is None:
            return False
        return replace(other, network=self.network) == self and other.network.brought == self.network.brought


def is_imported(kind: str) -> bool:
    """Whether people import networks for datasets of a kind."""
    return any(family.is_imported for family in families_for(kind))


def is_made(kind: str) -> bool:
    """Whether networks for datasets of a kind are made here, from random weights."""
    return not all(family.is_imported for family in families_for(kind))


def targets(lab: Lab, source: DatasetInfo, direct: bool) -> dict[str, str]:
    """What can be learned: every preset on the same dataset, and every other dataset like it that is ready.

    Without pretraining there is no other dataset: the one that is learned is the one that was chosen.
    """
    presets = presets_for(source.kind, direct, source.num_classes).items()
    found = {name: preset.title_for(source.kind) for name, preset in presets if not preset.other_dataset}
    known = [info.seen_by(source.kind) for info in lab.catalog.list() if info.state == "ready"]
    ready = [info for info in known if info.is_like(source)]
    others = [info for info in ready if info.name != source.name]
    return found | {f"{DATASET}{info.name}": f"{info.title}, another dataset" for info in others if not direct}


def target_line(lab: Lab, target: str, source: DatasetInfo, direct: bool) -> str:
    """What a target is, in one line of Markdown."""
    if target.startswith(DATASET):
        return literal(lab.catalog.info(target.removeprefix(DATASET)).line)
    return presets_for(source.kind, direct, source.num_classes)[target].line_for(source.kind)


def preset_named(target: str) -> tuple[str, str | None]:
    """The preset that a choice of :func:`targets` stands for, and the dataset that it takes beside its source."""
    return ("transfer", target.removeprefix(DATASET)) if target.startswith(DATASET) else (target, None)


def tasks_of(lab: Lab, source: str, target: str, learns: str) -> tuple[TaskSpec, TaskSpec]:
    """The task to pretrain on and the one to fine-tune on. Args: learns: kind of data that the network learns.

    Raises:
        LabError: a dataset is missing, or not for the preset.
    """
    preset, other = preset_named(target)
    return preset_tasks(preset, source, lab.catalog, other, learns=learns)


def shots_of(lab: Lab, task: TaskSpec) -> int | None:
    """Examples of each class that are learned from; None for as many as the task has, where it says so or has fewer."""
    return None if task.shots is not None else default_shots(lab.tasks, task)


def asked_by(lab: Lab, members: Sequence[Run]) -> Question | None:
    """What the runs of an experiment asked; None where Home cannot ask it."""
    target = _target_of(lab, members[0].spec) if members else None
    if target is None:
        return None
    spec = members[0].spec
    start, other = (spec.task, spec.source) if spec.is_direct else (spec.source or spec.task, None)
    forgetting = other.dataset if other else ""
    return Question(start.dataset, target, spec.is_direct, spec.network, spec.task.length, forgetting)


def question_of(lab: Lab, experiment: Experiment) -> tuple[Question | None, str | None]:
    """What an experiment asked, as far as Home can ask it; and which of its plans it was asked with.

    Returns:
        The question, None where Home cannot ask it; and the name of the plan, None for other settings than those. What
        was added to the experiment since, as longer training, does not count.
    """
    members = lab.store.members(experiment)
    asked = asked_by(lab, members)
    if asked is None:
        return None, None
    try:
        wanted = _as_launched(lab.experiments.configuration(experiment), experiment, members)
        for name, plan in PLANS.items():
            own = asked.configuration(lab, plan)
            if own.asks_the_same(wanted.but(seeds=own.seeds, trim=own.trim)):  # whatever seeds were added since
                return asked, name
    except LabError:
        pass  # its base is gone
    return asked, None


def _as_launched(wanted: Configuration, experiment: Experiment, members: Sequence[Run]) -> Configuration:
    """The configuration of an experiment without the settings that were added after its launch."""
    first, *later = stages_of(members)
    launched = set(settings_of(run.spec for run in first))
    added = set(settings_of(run.spec for own in later for run in own)) - launched
    if experiment.plan is not None:  # it has one arm for all rates and epochs of a method
        methods = {method for _, method in added} - {method for _, method in launched}
        arms = [arm for arm in wanted.arms if arm.method not in methods]
    else:
        arms = [arm for arm in wanted.arms if (arm.optim, arm.method) not in added]
    return wanted.but(arms=tuple(arms)) if arms else wanted


def _target_of(lab: Lab, spec: RunSpec) -> str | None:
    """The choice of :func:`targets` that a run learns; None where there is none."""
    try:
        start = None if spec.is_direct else spec.source
        infos = [lab.catalog.info(task.dataset, spec.network.learns) for task in (start or spec.task, spec.task)]
        offered = targets(lab, infos[0], spec.is_direct)
    except LabError:
        return None
    preset = preset_of(lab.catalog, spec)
    target = f"{DATASET}{spec.task.dataset}" if preset == "transfer" else preset
    ready = all(info.state == "ready" for info in infos)
    return target if ready and target in offered else None
