"""Configurations: all that somebody asks for when an experiment is started, as one spec.

Forms, the command line and files (:mod:`core.plan.configuration_file`) make one, and
:meth:`core.engine.launcher.Launcher.plan` makes the runs of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Self, cast

from pydantic import Field, field_validator, model_validator

from core.data.sources.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.errors import LabError, SpecError
from core.methods.method import Role
from core.methods.registry import AnyMethod
from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES, AnyNetwork
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION, AnyObjective, objective_of
from core.plan.axes import Point, VarySpec
from core.plan.experiment import Recipe, head_for, pretraining_for
from core.plan.search import FIRST_POINTS, MOST, TuneSpec, default_search, tuned_arms
from core.run_spec import Head, OptimSpec, RunSpec, default_length, default_rate, with_head_rate
from core.spec import Device, Spec
from core.tasks.presets import PRESETS, direct_task, preset_tasks

MAX_RUNS = 10_000
"""Maximum number of runs of one configuration; how many may wait at once is in the settings of the home folder."""


class ArmSpec(Spec):
    """One arm: its method, and how it is trained."""

    method: AnyMethod = Field(title="Method", description="What is trained, and how.")
    optim: OptimSpec = Field(title="Training", description="How it is trained.")


class Configuration(Spec):
    """An experiment as somebody asks for it: what it starts from, what is learned, every arm and every seed."""

    base: RunSpec | None = Field(
        None, title="Base", description="The pretrain run to start from; one that is there is used, else it is trained."
    )
    network: AnyNetwork | None = Field(
        None, title="Network", description="A network that was imported, in place of a base: it is fine-tuned as it is."
    )
    task: TaskSpec = Field(title="Task", description="What is learned by fine-tuning.")
    head: Head | None = Field(
        None,
        exclude_if=lambda head: head is None,  # as in versions without it
        title="Head",
        description="How the head of the base is trained; :func:`with_head` decides it for what is asked anew.",
    )
    forgetting: TaskSpec | None = Field(
        None,
        exclude_if=lambda forgetting: forgetting is None,  # as in versions without it
        title="Forgetting measured on",
        description="Other texts, on which an imported language model is measured before and after: it has no source. "
        "Takes an evaluation of them after each epoch.",
    )
    arms: tuple[ArmSpec, ...] = Field(title="Arms", description="What is compared.")
    tune: TuneSpec | None = Field(
        None, title="Tuning", description="Learning rates that every arm tries; empty for its own alone."
    )
    seeds: tuple[Annotated[int, Field(ge=0, le=2**31 - 1)], ...] = Field(
        title="Seeds", description="Every arm is trained with each of them."
    )
    own_bases: bool = Field(
        False, title="A base for each seed", description="Each seed starts from a base that was pretrained with it."
    )
    vary: VarySpec | None = Field(
        None, title="Study", description="What is varied beside method, rank and rate; empty where it is no study."
    )
    trim: bool = Field(
        False,
        title="Keep only chosen networks",
        description="Delete the whole networks of settings that validation did not choose, once all runs have ended.",
    )
    device: Device = Field("auto", title="Device", description="Device to train on; auto picks the fastest one.")
    objective: AnyObjective = Field(
        default=CLASSIFICATION,
        title="Objective",
        description="What is learned, the measure by which settings are chosen and compared, and the margin.",
    )

    @field_validator("base", mode="after")
    @classmethod
    def _base_is_shared(cls, base: RunSpec | None) -> RunSpec | None:
        """A base is the same run whatever the measure and the margin of the experiments that start from it."""
        shared = None if base is None else base.objective.without_choices()
        return base if base is None or base.objective == shared else base.but(objective=shared)

    @classmethod
    def on(
        cls, start: RunSpec | NetworkSpec, task: TaskSpec, arms: Sequence[Recipe], seeds: Sequence[int], **more: Any
    ) -> Self:
        """The configuration of these arms and seeds.

        Args:
            start: a pretrain run, or a network that was imported, to fine-tune it as it is.
            task: what is learned.
            arms: training settings and method of each.
            seeds: one run per arm and seed.
            more: the other fields, by their names.

        Raises:
            SpecError: a value is out of bounds, or two contradict each other.
        """
        where = "base" if isinstance(start, RunSpec) else "network"
        specs = tuple(ArmSpec.of(optim=optim, method=method) for optim, method in arms)
        return cls.of(**{where: start}, task=task, arms=specs, seeds=tuple(seeds), **more)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if (self.base is None) == (self.network is None):
            raise ValueError("An experiment starts from a base or from a network that was imported: give one of them.")
        if self.base is not None and self.base.role is not Role.BASE:
            raise ValueError("A base must be a pretrain run.")
        if self.base is not None and self.forgetting is not None:
            raise ValueError("What a base forgets is measured on its source: leave forgetting out.")
        if self.network is not None and self.own_bases:
            raise ValueError("A network that was imported is one base for all seeds: leave a base for each seed out.")
        if self.vary is not None:
            self._check_study()
        points = 1 if self.vary is None else len(self.vary.points)
        runs = len(self.arms) * len(self.seeds) * self._most_rates() * points
        if runs > MAX_RUNS:
            raise ValueError(
                f"An experiment takes at most {MAX_RUNS:,} runs and this one has {runs:,}: choose fewer arms, rates or "
                "seeds."
            )
        return self

    def _check_study(self) -> None:
        """Raises: ValueError: it is no search, or a point is out of bounds."""
        if not self.is_search or (self.tune is not None and self.tune.longer):
            raise ValueError("A study finds learning rates at each of its points: search for them, without longer.")
        try:
            self.parts  # noqa: B018 (raises)
        except LabError as error:
            raise ValueError(str(error)) from error

    def _most_rates(self) -> int:
        """How many learning rates each arm tries at most, with every number of epochs from that which is asked for."""
        return 1 if self.tune is None else (self.tune.rates or MOST) * (1 + self.tune.longer)

    @property
    def start(self) -> NetworkSpec:
        """The network that is pretrained, or that is fine-tuned as it was imported."""
        return self.base.network if self.base is not None else cast(NetworkSpec, self.network)

    @property
    def trained_network(self) -> NetworkSpec:
        """The same as it is fine-tuned: one that knows whether its head is trained whole."""
        return self.start.but(whole_head=True) if self.head else self.start

    @property
    def is_search(self) -> bool:
        """Whether rates are searched for, so that what is trained depends on results; see :mod:`core.plan.plan`."""
        return self.tune is not None and self.tune.rates is None

    @property
    def settings(self) -> list[Recipe]:
        """The settings that are trained: those of the arms, or each at the rates of the grid that it is tuned over; of
        a search those that it begins with.
        """
        if self.vary is not None:
            return list(dict.fromkeys(setting for part in self.parts for setting in part.settings))
        own: list[Recipe] = [(arm.optim, arm.method) for arm in self.arms]
        return own if self.tune is None else tuned_arms(own, self.tune.rates or FIRST_POINTS)

    @cached_property
    def parts(self) -> tuple[Configuration, ...]:
        """The configuration at each point of a study; itself where it is none."""
        return (self,) if self.vary is None else tuple(self.at(point) for point in self.vary.points)

    def at(self, point: Point) -> Configuration:
        """The configuration at a point of a study: an experiment without an axis.

        Raises:
            SpecError: the point is none of the axis, or what it asks for is out of bounds.
            LoRAError: adapters do not fit the network there.
        """
        if self.vary is None:
            raise SpecError("This experiment is no study, so it has no points.")
        axis, network = self.vary.axis, self.trained_network
        axis.point(str(point), network)
        settings = [axis.setting((arm.optim, arm.method), point, network) for arm in self.arms]
        # Ranks that are matched to numbers of parameters may become one where layers are small.
        arms = tuple(ArmSpec.of(optim=optim, method=method) for optim, method in dict.fromkeys(settings))
        tune = None if self.tune is None else self.tune.but(shorter=0)
        return self.but(vary=None, task=axis.task(self.task, point), arms=arms, tune=tune)

    def searched(self) -> Self:
        """The same question where learning rates were given, with a search that finds them: one arm for each method and
        its settings, at the method's usual rate and the fewest epochs that it was given.

        Raises:
            SpecError: that would be more runs than an experiment takes.
        """
        found: dict[Recipe, OptimSpec] = {}
        for arm in self.arms:
            usual = arm.optim.but(learning_rate=default_rate(arm.method, self.trained_network))
            key = usual.but(epochs=1), arm.method
            found[key] = min(found.get(key, usual), usual, key=lambda optim: optim.epochs)
        arms = tuple(ArmSpec.of(optim=optim, method=method) for (_, method), optim in found.items())
        return self.but(arms=arms, tune=default_search(self.start))

    def asks_the_same(self, other: Configuration) -> bool:
        """Whether both ask for the same runs, in whatever order and however the rates are written down."""
        return self._runs() == other._runs()

    def _runs(self) -> tuple[object, ...]:
        base = self.base.but(seed=0) if self.base is not None and self.own_bases else self.base
        brought = None if self.network is None else self.network.brought
        settings, seeds = frozenset(self.settings), frozenset(self.seeds)
        search = self.tune if self.is_search else None
        own = search, self.vary, self.own_bases, self.trim, self.device, self.objective, self.forgetting, self.head
        return base, brought, tuple(part.task for part in self.parts), settings, seeds, *own


def with_head(asked: Configuration) -> Configuration:
    """What is asked anew, with the head trained as :func:`core.plan.experiment.head_for` has it."""
    base = asked.base
    head = None if base is None else head_for(base.network, base.task, asked.task, base.objective)
    found = asked.but(head=head)
    network = found.trained_network
    arms = (arm.but(optim=with_head_rate(arm.method, arm.optim, network)) for arm in asked.arms)
    return found.but(arms=tuple(arms))


def preset_configuration(
    catalog: Catalog,
    preset: str,
    source: str,
    target: str | None,
    pretraining: OptimSpec,
    arms: Sequence[Recipe],
    seeds: Sequence[int],
    network: NetworkSpec | None = None,
    shots: int | None = None,
    length: int | None = None,
    device: Device = "auto",
    objective: ObjectiveSpec = CLASSIFICATION,
    **more: Any,
) -> Configuration:
    """The configuration of a base that is pretrained on the source of a preset, and fine-tuned on its target.

    Args:
        catalog: all datasets.
        preset: name of a preset.
        source: dataset to pretrain on.
        target: dataset to fine-tune on, where the preset needs another one.
        pretraining: how the base is trained.
        arms: training settings and method of each.
        seeds: one run per arm and seed.
        network: which one to pretrain, with as many outputs as the datasets need; None for the first family of
            :data:`core.networks.registry.FAMILIES`.
        shots: training examples per class of the target; None for those of the preset.
        length: longest input of both tasks, in tokens; None for :func:`core.run_spec.default_length`.
        device: where to train.
        objective: what base and arms learn, with the measure and the margin of the experiment.
        more: the other fields of :class:`Configuration`, by their names.

    Raises:
        LabError: a value is not valid, or a dataset is missing.
    """
    network = network or FAMILIES[0].of()
    learns = network.learns
    source_task, target_task = (
        task.but(length=default_length(network) if length is None else length)
        for task in preset_tasks(preset, source, catalog, target, learns=learns)
    )
    if shots is not None:
        target_task = target_task.but(shots=shots)
    network = network.but(num_classes=outputs(catalog, learns, source_task, target_task))
    base = RunSpec.of(
        method=pretraining_for(catalog, source_task, network),
        network=network,
        task=source_task,
        optim=pretraining,
        objective=objective_for(catalog, source_task, learns),
        device=device,
    )
    asked = Configuration.on(base, target_task, arms, seeds, device=device, objective=objective, **more)
    return with_head(asked)


def preset_task(
    catalog: Catalog,
    preset: str,
    source: TaskSpec | None,
    network: NetworkSpec,
    dataset: str,
    validation: float | None = None,
) -> TaskSpec:
    """What a preset has a network learn by fine-tuning.

    Args:
        catalog: all datasets.
        preset: name of a preset.
        source: the task of the base; None for a network that is fine-tuned as it was imported.
        network: of the base, or that was imported.
        dataset: to fine-tune on.
        validation: fraction to hold out; None for the default of :class:`core.data.task_spec.TaskSpec`.

    Returns:
        The task, with the longest input of the source; without a source that of :func:`core.run_spec.default_length`.

    Raises:
        LabError: the preset is not for such a start, or not for the dataset.
    """
    if source is None:
        return direct_task(preset, dataset, catalog, validation, network.learns).but(length=default_length(network))
    _, found = preset_tasks(preset, source.dataset, catalog, dataset, validation, network.learns)
    return found.but(length=source.length)


def preset_of(catalog: Catalog, spec: RunSpec) -> str | None:
    """The preset that gives what a run learns, whatever its longest input, and with its shots where the preset says
    nothing of them; None if none does.

    Args:
        catalog: all datasets.
        spec: of a fine-tune run.
    """
    task, source = spec.task, None if spec.is_direct else spec.source
    same = source is None or task.dataset == source.dataset
    found: dict[str, TaskSpec] = {}
    for name in sorted(PRESETS, key=lambda name: PRESETS[name].other_dataset == same):
        try:
            found[name] = preset_task(catalog, name, source, spec.network, task.dataset, task.validation)
        except LabError:
            continue  # a preset for other datasets, or one that is not on this machine any more
    alike = {name: each.but(length=task.length) for name, each in found.items()}
    exact = [name for name, each in alike.items() if each == task]
    close = [name for name, each in alike.items() if each.shots is None and each.but(shots=task.shots) == task]
    return next(iter([*exact, *close]), None)


def outputs(catalog: Catalog, learns: str, *tasks: TaskSpec) -> int:
    """Outputs that a network needs for all of these tasks. Args: learns: kind of data that it learns.

    Raises:
        DatasetError: there is no such dataset.
    """
    return max(catalog.info(task.dataset, learns).num_outputs for task in tasks)


def objective_for(catalog: Catalog, task: TaskSpec, learns: str = "") -> ObjectiveSpec:
    """What the targets of a task are for, with its default measure. Args: learns: kind of data that a network learns.

    Raises:
        DatasetError: there is no such dataset.
    """
    return objective_of(catalog.info(task.dataset, learns).objective)
