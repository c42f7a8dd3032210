"""Arms: the runs of an experiment that differ in nothing but the seed, and what they are called."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.data.task_spec import TaskSpec
from core.methods.method import Role
from core.methods.registry import method_order
from core.numbers import exact_text, listed
from core.run_spec import RunSpec
from core.store.record import Run
from core.study.stats.intervals import Interval, t_interval
from core.study.stats.measures import Quantity, quantity, spread_text

MAX_LAYERS = 4
"""Maximum number of targets that the name of an arm lists; of more it lists the first, and counts the others."""


@dataclass(frozen=True)
class Arm:
    """The runs that differ in nothing but the seed: one per seed, seeds ascending, all with results."""

    key: str
    """:attr:`core.run_spec.RunSpec.arm` of every run."""
    label: str
    """Its name in tables and figures, from :func:`labels_of`."""
    runs: tuple[Run, ...]
    differing: Mapping[str, str] = field(default_factory=dict, compare=False)
    """The settings that tell it from arms with the same short name, from :func:`differing_of`."""

    @property
    def name(self) -> str:
        """Its name in a sentence, as in ``LoRA r=1 on attention``: of the label's settings those of its method."""
        own = {_setting_name(field) for field in type(self.spec.method).model_fields} - {"kind", LAYERS}
        others = {name: text for name, text in self.differing.items() if name in own}
        words = f" ({_joined(others)})" if others else ""
        layers = self.differing.get(LAYERS, "").split()
        if len(layers) > MAX_LAYERS:
            layers = [*layers[: MAX_LAYERS - 1], f"{len(layers) - MAX_LAYERS + 1} more"]
        return f"{self.spec.label}{words}{f' on {listed(layers)}' if layers else ''}"

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
    def trained(self) -> float:
        """Number of trainable parameters, the same in every run."""
        return self.interval("trainable_parameters").mean

    @property
    def primary(self) -> str:
        """Name of the measure by which it is chosen and compared."""
        return self.spec.objective.primary.name

    def what(self, name: str) -> Quantity:
        """The quantity of a name; see :func:`core.study.stats.measures.quantity`."""
        return quantity(name, self.spec.objective)

    def by_seed(self, name: str) -> dict[int, float]:
        """The quantity of each run that has it. NaN is a value; a run without one is left out."""
        read = self.what(name).of
        found = {run.spec.seed: read(run.result) for run in self.runs if run.result is not None}
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
        if self.what(name).timed and self.shares_time:
            return Interval(found.mean, math.nan, math.nan, found.n)
        return found

    def spread(self, name: str) -> str:
        """The mean with its interval, as in ``97.31 % (97.19 to 97.43)``."""
        return spread_text(self.interval(name), self.what(name))


TuningGroup = tuple[str | None, TaskSpec, str, Any]
"""Base, task, method and its size, such as the rank: arms of one group differ only in how they were tuned."""


def tuning_group(spec: RunSpec) -> TuningGroup:
    """The tuning group of an arm with this spec."""
    return spec.start, spec.task, spec.kind, spec.method.size


ORDER = (Role.REFERENCE, Role.ADAPTER, Role.CONTROL, Role.BASE)
"""Order of arms by the role of their methods."""


def arm_order(spec: RunSpec) -> tuple[Any, ...]:
    """Sort key of arms: full first, adapters by method, size, strength and rate, controls, pretraining last."""
    size, strength = spec.method.size or 0, spec.method.strength or 0.0
    return (ORDER.index(spec.role), method_order(spec.kind), size, strength, spec.optim.learning_rate, spec.arm)


def arms_of(runs: Iterable[Run], only_finished: bool = False) -> list[Arm]:
    """The arms among runs that have results, in :func:`arm_order`, with labels of :func:`labels_of`.

    The same spec gives the same numbers, so a seed that was run twice counts once: the finished
    run before a stopped one, then the latest. Counting it twice would make intervals too narrow.

    Args:
        runs: of one experiment or more.
        only_finished: whether stopped runs are left out.
    """
    everything = list(runs)
    differing = differing_of(run.spec for run in everything)
    by_arm: dict[str, dict[int, Run]] = {}
    for run in sorted(everything, key=lambda run: (run.state == "finished", run.created, run.id)):
        if run.result is not None and (run.state == "finished" or not only_finished):
            by_arm.setdefault(run.spec.arm, {})[run.spec.seed] = run
    arms = []
    for key, by_seed in by_arm.items():
        members = tuple(by_seed[seed] for seed in sorted(by_seed))
        arms.append(Arm(key, _label(members[0].spec, differing[key]), members, differing[key]))
    return sorted(arms, key=lambda arm: arm_order(arm.spec))


def averaged_arms(runs: Iterable[Run]) -> list[Arm]:
    """The arms of :func:`arms_of` as means are taken of them: without stopped runs where an arm has finished ones.

    A stopped run trained less than the others, so a mean over both would be of neither.

    Args:
        runs: of one experiment or more.
    """
    arms = [(arm, tuple(run for run in arm.runs if run.state == "finished")) for arm in arms_of(runs)]
    return [replace(arm, runs=finished or arm.runs) for arm, finished in arms]


def labels_of(specs: Iterable[RunSpec]) -> dict[str, str]:
    """A name for each arm, by its key; arms that would share a name also get the settings they differ in."""
    everything = {spec.arm: spec for spec in specs}
    differing = differing_of(everything.values())
    return {key: _label(spec, differing[key]) for key, spec in everything.items()}


LAYERS = "layers"
"""Name of the target modules in labels."""


def differing_of(specs: Iterable[RunSpec]) -> dict[str, dict[str, str]]:
    """The settings in which each arm differs from others with its short name: texts by name, by the arm's key."""
    by_label: dict[str, dict[str, RunSpec]] = {}
    for spec in specs:
        by_label.setdefault(spec.label, {})[spec.arm] = spec
    found: dict[str, dict[str, str]] = {}
    for sharing in by_label.values():
        settings = {key: _settings(spec) for key, spec in sharing.items()}
        names = [name for name in next(iter(settings.values())) if len({s[name] for s in settings.values()}) > 1]
        found |= {key: {name: s[name] for name in names} for key, s in settings.items()}
    return found


def _label(spec: RunSpec, differing: Mapping[str, str]) -> str:
    return f"{spec.label}, {_joined(differing)}" if differing else spec.label


def _joined(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {text}" for name, text in settings.items())


def _settings(spec: RunSpec) -> dict[str, str]:
    """Every setting but the seed under a short name, those that are varied most often first."""
    parts = spec.model_dump(mode="json", exclude={"seed": True, "objective": True, "method": {"kind"}})
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
