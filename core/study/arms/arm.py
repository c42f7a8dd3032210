"""Arms: the runs of an experiment that differ in nothing but the seed, what they reached, and what they are called."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from core.data.task_spec import TaskSpec
from core.methods.method import Role
from core.methods.registry import method_order
from core.numbers import exact_text, listed
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import RunSpec
from core.store.record import Run
from core.study.stats.intervals import Interval, t_interval
from core.study.stats.measures import Quantity, quantity, spread_text

MAX_LAYERS = 4
"""Maximum number of targets that the name of an arm lists; of more it lists the first, and counts the others."""

FLOAT_BYTES = 4
"""Size of a float32."""


Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but the seed.

    Those of :func:`all_arms` are in any state. Measures are read where each seed has one run: of :attr:`with_results`,
    :attr:`finished_only`, and what other functions return.
    """

    label: str
    """Its name in tables and figures, from :func:`labels_of`."""
    runs: tuple[Run, ...]
    """Seeds ascending; several of one seed where it was trained again."""
    differing: Mapping[str, str] = field(default_factory=dict, compare=False)
    """The settings that tell it from arms with the same short name, from :func:`differing_of`."""
    planned: tuple[int, ...] = field(default=(), compare=False)
    """Seeds of all arms that it is compared with; see :func:`core.study.arms.choice.comparisons_of`."""
    common: tuple[int, ...] = field(default=(), compare=False)
    """Those of these seeds that every arm which may be chosen has finished."""
    tried: Mapping[int, Arm] = field(default_factory=dict, compare=False)
    """The best arm of its method and size with each number of epochs, where several were tried; its own among them."""

    @property
    def key(self) -> str:
        """:attr:`core.run_spec.RunSpec.arm` of every run."""
        return self.spec.arm

    @property
    def name(self) -> str:
        """Its name in a sentence, as in ``LoRA r=1 on attention``: of the label's settings those of its method."""
        own = {_setting_name(field) for field in type(self.spec.method).model_fields} - {"kind", LAYERS}
        others = {name: text for name, text in self.differing.items() if name in own}
        words = f" ({joined_settings(others)})" if others else ""
        layers = self.differing.get(LAYERS, "").split()
        if len(layers) > MAX_LAYERS:
            layers = [*layers[: MAX_LAYERS - 1], f"{len(layers) - MAX_LAYERS + 1} more"]
        return f"{self.spec.label}{words}{f' on {listed(layers)}' if layers else ''}{self._early}"

    @property
    def _early(self) -> str:
        """What names say where every run was stopped."""
        return STOPPED_EARLY if all(run.state == "stopped" for run in self.runs) else ""

    @property
    def tuning_group(self) -> TuningGroup:
        """The group of arms that differ only in how they were tuned; see :data:`TuningGroup`."""
        return tuning_group(self.spec)

    @property
    def spec(self) -> RunSpec:
        """The spec of the first run: right for all in everything but the seed."""
        return self.runs[0].spec

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs, ascending."""
        return tuple(run.spec.seed for run in self.runs)

    @property
    def learning_rate(self) -> float:
        """Learning rate of every run."""
        return self.spec.optim.learning_rate

    @property
    def role(self) -> Role:
        """What its method is for in a comparison."""
        return self.spec.role

    @property
    def primary(self) -> str:
        """Name of the measure by which it is chosen and compared."""
        return self.spec.objective.primary.name

    @cached_property
    def with_results(self) -> Arm:
        """The same with the runs that have results: of each seed a finished one before a stopped one, then the latest.

        The same spec gives the same numbers, so a seed that was run twice counts once. Counting it twice would make
        intervals too narrow.
        """
        ended = [run for run in self.runs if run.result is not None]
        order = sorted(ended, key=lambda run: (run.state == "finished", run.created, run.id))
        latest = {run.spec.seed: run for run in order}
        return replace(self, runs=tuple(latest[seed] for seed in sorted(latest)))

    @cached_property
    def finished_only(self) -> Arm:
        """The same with the finished run of each seed; a stopped one trained less."""
        return replace(self, runs=tuple(run for run in self.with_results.runs if run.state == "finished"))

    @cached_property
    def finished(self) -> dict[int, Run]:
        """The latest finished run of each seed, seeds ascending."""
        return {run.spec.seed: run for run in self.finished_only.runs}

    @cached_property
    def failed(self) -> tuple[int, ...]:
        """Seeds that failed and have no finished run, and seeds whose validation measure is not finite; ascending."""
        broken = {seed for seed, run in self.finished.items() if not math.isfinite(run.validated or 0.0)}
        failed = {run.spec.seed for run in self.runs if run.state == "failed"}
        return tuple(sorted(broken | failed.difference(self.finished)))

    @property
    def is_complete(self) -> bool:
        """Whether every planned seed has finished."""
        return len(self.finished) == len(self.planned)

    @cached_property
    def judged(self) -> tuple[int, ...]:
        """Seeds over which the validation part is averaged: those that decide the choice, so that settings are shown as
        they were compared; all finished ones where it lacks one of those.
        """
        seeds = self.planned if self.is_complete else self.common
        return seeds if seeds and set(seeds) <= set(self.finished) else tuple(self.finished)

    @cached_property
    def validation(self) -> tuple[float, ...]:
        """The primary measure on the validation part of each judged seed that has one."""
        values = [self.finished[seed].validated for seed in self.judged]
        return tuple(value for value in values if value is not None and math.isfinite(value))

    @cached_property
    def validated(self) -> Interval:
        """Mean and 95 % interval of :attr:`validation`, by which settings are chosen."""
        return t_interval(self.validation)

    @cached_property
    def tested(self) -> Interval:
        """Mean and 95 % interval of the primary measure on the test part, of finished runs: reported for a choice."""
        return self.finished_only.interval(self.primary)

    @property
    def trained(self) -> int:
        """Number of trainable parameters, the same in every run; 0 before the first has a result."""
        return next((run.result.trainable_parameters for run in self.runs if run.result is not None), 0)

    def bytes_for(self, customers: int) -> float:
        """Bytes to store where each of so many customers has a network of their own; NaN without a result.

        Full fine-tuning and training from scratch store one checkpoint per customer. Adapters take one base and one
        adapter file per customer. Head only and biases only take one base and the trained values, in float32.
        """
        checkpoint = self.interval("checkpoint_bytes").mean
        if self.role is Role.ADAPTER:
            return checkpoint + customers * self.interval("adapter_bytes").mean
        if self.role is Role.CONTROL and self.spec.method.starts_from_base:
            return checkpoint + customers * FLOAT_BYTES * self.trained
        return customers * checkpoint

    def what(self, name: str = "") -> Quantity:
        """The quantity of a name, or the primary measure; see :func:`core.study.stats.measures.quantity`."""
        return quantity(name or self.primary, self.spec.objective)

    def by_seed(self, name: str) -> dict[int, float]:
        """The quantity of each run that has it. NaN is a value; a run without one is left out."""
        found = {run.spec.seed: self.what(name).of(run.result) for run in self.runs if run.result is not None}
        return {seed: float(value) for seed, value in found.items() if value is not None}

    def values(self, name: str) -> tuple[float, ...]:
        """The quantity of each run that has it, by seed."""
        return tuple(self.by_seed(name).values())

    @property
    def shares_time(self) -> bool:
        """Whether any of its runs was trained in a bank, whose time is divided equally among its runs."""
        return any(run.result is not None and run.result.bank > 1 for run in self.runs)

    def interval(self, name: str) -> Interval:
        """Mean and 95 % Student-t interval over the seeds; no interval of times that runs have shared."""
        found = t_interval(self.values(name))
        if self.shares_time and self.what(name).timed:
            return Interval(found.mean, math.nan, math.nan, found.n)
        return found

    def spread(self, name: str) -> str:
        """The mean with its interval, as in ``97.31 % (97.19 to 97.43)``."""
        return spread_text(self.interval(name), self.what(name))


def judged_by(trained: Iterable[Run | Arm]) -> ObjectiveSpec:
    """The objective of some runs, which all runs of an experiment share; that of the first fine-tune run.

    Args:
        trained: runs or arms of one experiment, or selected; without any the default objective.
    """
    specs = [each.spec for each in trained]
    tuned = [spec for spec in specs if spec.role is not Role.BASE]
    return next((spec.objective for spec in (*tuned, *specs)), CLASSIFICATION)


TuningGroup = tuple[str | None, TaskSpec, str, Any, int]
"""Base, task, method, its size such as the rank, and the number of epochs: arms of one group differ only in how they
were tuned. How long a setting trains is its budget, and no way of tuning it."""


def tuning_group(spec: RunSpec) -> TuningGroup:
    """The tuning group of an arm with this spec."""
    return spec.start, spec.task, spec.kind, spec.method.size, spec.optim.epochs


def tuning_groups(specs: Iterable[RunSpec]) -> list[list[RunSpec]]:
    """One spec of each arm, by tuning group, in :func:`arm_order`."""
    groups: dict[TuningGroup, dict[str, RunSpec]] = {}
    for spec in sorted(specs, key=arm_order):
        groups.setdefault(tuning_group(spec), {})[spec.arm] = spec
    return [list(arms.values()) for arms in groups.values()]


ORDER = (Role.REFERENCE, Role.ADAPTER, Role.CONTROL, Role.BASE)
"""Order of arms by the role of their methods."""


def arm_order(spec: RunSpec) -> tuple[Any, ...]:
    """Sort key of arms: full first, adapters by method, size, epochs, strength and rate, controls, pretraining last."""
    size, strength, optim = spec.method.size or 0, spec.method.strength or 0.0, spec.optim
    order = ORDER.index(spec.role), method_order(spec.kind)
    return (*order, size, optim.epochs, strength, optim.learning_rate, spec.arm)


def all_arms(runs: Iterable[Run]) -> list[Arm]:
    """The arms among runs in any state, in :func:`arm_order`, with labels of :func:`labels_of`."""
    everything, by_arm = list(runs), dict[str, list[Run]]()
    for run in sorted(everything, key=lambda run: (run.spec.seed, run.created, run.id)):
        by_arm.setdefault(run.spec.arm, []).append(run)
    differing = differing_of(run.spec for run in everything)
    arms = [
        Arm(_label(members[0].spec, differing[key]), tuple(members), differing[key]) for key, members in by_arm.items()
    ]
    return sorted(arms, key=lambda arm: arm_order(arm.spec))


def grouped(arms: Iterable[Arm], by: Callable[[Arm], Key]) -> dict[Key, list[Arm]]:
    """Arms by what a function says of each, in the order in which that first occurs."""
    found: dict[Key, list[Arm]] = {}
    for arm in arms:
        found.setdefault(by(arm), []).append(arm)
    return found


def arms_of(runs: Iterable[Run]) -> list[Arm]:
    """The arms among runs that have results, stopped ones too; see :attr:`Arm.with_results`."""
    return [found for arm in all_arms(runs) if (found := arm.with_results).runs]


def averaged_arms(runs: Iterable[Run]) -> list[Arm]:
    """The arms of :func:`arms_of` as means are taken of them: without stopped runs where an arm has finished ones.

    A stopped run trained less than the others, so a mean over both would be of neither. An arm that has only stopped
    ones says so in its label.

    Args:
        runs: of one experiment or more.
    """
    return [arm.finished_only if arm.finished else replace(arm, label=arm.label + arm._early) for arm in arms_of(runs)]


def labels_of(specs: Iterable[RunSpec]) -> dict[str, str]:
    """A name for each arm, by its key; arms that would share a name also get the settings they differ in."""
    everything = {spec.arm: spec for spec in specs}
    differing = differing_of(everything.values())
    return {key: _label(spec, differing[key]) for key, spec in everything.items()}


STOPPED_EARLY = " (stopped early)"
"""What is put behind the name of an arm that has only stopped runs."""

LAYERS = "layers"
"""Name of the target modules in labels."""


def differing_of(specs: Iterable[RunSpec]) -> dict[str, dict[str, str]]:
    """The settings in which each arm differs from others with its short name: texts by name, by the arm's key."""
    by_label: dict[str, dict[str, RunSpec]] = {}
    for spec in specs:
        by_label.setdefault(spec.label, {})[spec.arm] = spec
    found: dict[str, dict[str, str]] = {}
    for sharing in by_label.values():
        if len(sharing) == 1:
            found |= {key: {} for key in sharing}
            continue
        settings = {key: _settings(spec) for key, spec in sharing.items()}
        known = dict.fromkeys(name for own in settings.values() for name in own)
        names = [name for name in known if len({own.get(name) for own in settings.values()}) > 1]
        found |= {key: {name: own.get(name, "none") for name in names} for key, own in settings.items()}
    return found


def _label(spec: RunSpec, differing: Mapping[str, str]) -> str:
    return f"{spec.label}, {joined_settings(differing)}" if differing else spec.label


def joined_settings(settings: Mapping[str, str]) -> str:
    """Settings of :func:`differing_of` in one line, as in ``lr 0.01, epochs 30``."""
    return ", ".join(f"{name} {text}" for name, text in settings.items())


def _settings(spec: RunSpec) -> dict[str, str]:
    """Every setting but the seed under a short name, those that are varied most often first."""
    left_out: dict[str, Any] = {"seed": True, "objective": True, "method": {"kind"}} | (
        {"base": True} if spec.own_base else {}
    )
    parts = spec.model_dump(mode="json", exclude=left_out)
    found = {}
    # What only programs can read, such as the config of a network: other fields tell it apart.
    hidden = {name for name, about in type(spec.network).model_fields.items() if not about.repr}
    for part, prefix in (("method", ""), ("optim", ""), ("task", ""), ("source", "source "), ("network", "")):
        for name, value in (parts.pop(part) or {}).items():
            if part == "network" and name in hidden:
                continue
            found[prefix + _setting_name(name)] = _setting_text(name, value)
    return found | {name: _setting_text(name, value) for name, value in parts.items()}


def _setting_name(field: str) -> str:
    """What labels call a setting."""
    return {"learning_rate": "lr", "target_modules": LAYERS}.get(field, field.replace("_", " "))


def _setting_text(field: str, value: Any) -> str:
    if value is None:
        return "all" if field in ("classes", "shots") else "none"
    if isinstance(value, float):
        return exact_text(value)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
