"""Arms: rows that differ in nothing but the seed, what they reached, and what they are called."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from core.methods.method import Role
from core.numbers import listed
from core.objectives.registry import CLASSIFICATION
from core.results.intervals import Interval, t_interval
from core.results.measures import Quantity, quantity, spread_text
from core.results.row import Row
from core.results.scale import Objective
from core.results.setting import (
    LAYERS,
    Setting,
    differing_of,
    full_label,
    joined_settings,
    order,
)
from core.run_spec import RunSpec
from core.store.record import Run

MAX_LAYERS = 4
"""Maximum number of targets that the name of an arm lists; of more it lists the first, and counts the others."""

FLOAT_BYTES = 4
"""Size of a float32."""


Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Arm:
    """Rows that differ in nothing but the seed.

    Those of :func:`all_arms` are in any state. Read measures where each seed has one run, as in :attr:`finished_only`.
    """

    label: str
    """Its name in tables and figures, from :func:`core.results.setting.labels_of`."""
    rows: tuple[Row, ...]
    """Seeds ascending; several of one seed where it was trained again."""
    differing: Mapping[str, str] = field(default_factory=dict, compare=False)
    """The settings that tell it from arms with the same short name, from
    :func:`core.results.setting.differing_of`."""
    planned: tuple[int, ...] = field(default=(), compare=False)
    """Seeds of all arms that it is compared with; see :func:`core.results.choice.comparisons_of`."""
    common: tuple[int, ...] = field(default=(), compare=False)
    """Those of these seeds that every arm which may be chosen has finished."""
    tried: Mapping[int, Arm] = field(default_factory=dict, compare=False)
    """The best arm of its method and size with each number of epochs, where several were tried; its own among them."""

    @property
    def key(self) -> str:
        """:attr:`core.results.setting.Setting.key` of every row."""
        return self.setting.key

    @property
    def name(self) -> str:
        """Its name in a sentence, as in ``LoRA r=1 on attention``: of the label's settings those of its method."""
        own = self.setting.names
        others = {name: text for name, text in self.differing.items() if name in own}
        words = f" ({joined_settings(others)})" if others else ""
        layers = self.differing.get(LAYERS, "").split()
        if len(layers) > MAX_LAYERS:
            layers = [*layers[: MAX_LAYERS - 1], f"{len(layers) - MAX_LAYERS + 1} more"]
        return f"{self.setting.label}{words}{f' on {listed(layers)}' if layers else ''}{self._early}"

    @property
    def _early(self) -> str:
        """What names say where every run was stopped."""
        return " (stopped early)" if all(row.state == "stopped" for row in self.rows) else ""

    @property
    def setting(self) -> Setting:
        """What its rows share."""
        return self.rows[0].setting

    @property
    def spec(self) -> RunSpec:
        """The spec of the first row. Raises: LookupError: others report the rows, so that they have none."""
        if self.setting.spec is None:
            raise LookupError("What others report has no spec.")
        return self.setting.spec

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of its rows. Raises: LookupError: others report it, so that there are none."""
        found = tuple(row.run for row in self.rows if row.run is not None)
        if len(found) < len(self.rows):
            raise LookupError("What others report has no runs.")
        return found

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the rows, ascending."""
        return tuple(row.seed for row in self.rows)

    @property
    def learning_rate(self) -> float:
        """Learning rate of every row; 0 where it is not reported."""
        return self.setting.learning_rate

    @property
    def role(self) -> Role:
        """What its method is for in a comparison."""
        return self.setting.role

    @property
    def primary(self) -> str:
        """Name of the measure by which it is chosen and compared."""
        return self.setting.objective.primary.name

    @cached_property
    def with_results(self) -> Arm:
        """The same with the rows that have results: of each seed a finished one before a stopped one, then the latest.
        A seed that was run twice counts once, since counting it twice would make intervals too narrow.
        """
        ended = [row for row in self.rows if row.has_result]
        ranked = sorted(ended, key=lambda row: (row.state == "finished", row.created, row.id))
        latest = {row.seed: row for row in ranked}
        return replace(self, rows=tuple(latest[seed] for seed in sorted(latest)))

    @cached_property
    def finished_only(self) -> Arm:
        """The same with the finished row of each seed; a stopped one trained less."""
        return replace(self, rows=tuple(row for row in self.with_results.rows if row.state == "finished"))

    @cached_property
    def finished(self) -> dict[int, Row]:
        """The latest finished row of each seed, seeds ascending."""
        return {row.seed: row for row in self.finished_only.rows}

    @cached_property
    def failed(self) -> tuple[int, ...]:
        """Seeds that failed and have no finished row, and seeds whose validation measure is not finite; ascending."""
        broken = {seed for seed, row in self.finished.items() if not math.isfinite(row.validated or 0.0)}
        failed = {row.seed for row in self.rows if row.state == "failed"}
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
        """Number of trainable parameters, the same in every row; 0 before the first has a result."""
        return next((row.trained for row in self.rows if row.has_result), 0)

    def bytes_for(self, customers: int) -> float:
        """Bytes to store where each of so many customers has a network; NaN without a result. Adapters take one base
        and a file per customer, controls that start from a base its trained values in float32, all others a checkpoint.
        """
        checkpoint = self.interval("checkpoint_bytes").mean
        if self.role is Role.ADAPTER:
            return checkpoint + customers * self.interval("adapter_bytes").mean
        if self.role is Role.CONTROL and self.spec.method.starts_from_base:
            return checkpoint + customers * FLOAT_BYTES * self.trained
        return customers * checkpoint

    def what(self, name: str = "") -> Quantity:
        """The quantity of a name, or the primary measure; see :func:`core.results.measures.quantity`."""
        return quantity(name or self.primary, self.setting.objective)

    def by_seed(self, name: str) -> dict[int, float]:
        """The quantity of each row that has it. NaN is a value; a row without one is left out."""
        found = {row.seed: self.what(name).of(row) for row in self.rows if row.has_result}
        return {seed: float(value) for seed, value in found.items() if value is not None}

    def values(self, name: str) -> tuple[float, ...]:
        """The quantity of each row that has it, by seed."""
        return tuple(self.by_seed(name).values())

    @property
    def shares_time(self) -> bool:
        """Whether any of its runs was trained in a bank, whose time is divided equally among its runs."""
        return any(row.result is not None and row.result.bank > 1 for row in self.rows)

    def interval(self, name: str) -> Interval:
        """Mean and 95 % Student-t interval over the seeds; no interval of times that runs have shared."""
        found = t_interval(self.values(name))
        if self.shares_time and self.what(name).timed:
            return Interval(found.mean, math.nan, math.nan, found.n)
        return found

    def spread(self, name: str) -> str:
        """The mean with its interval, as in ``97.31 % (97.19 to 97.43)``."""
        return spread_text(self.interval(name), self.what(name))


def judged_by(trained: Iterable[Row | Arm]) -> Objective:
    """The objective that rows or arms of one experiment share; without any the default objective."""
    settings = [each.setting for each in trained]
    tuned = [setting for setting in settings if setting.role is not Role.BASE]
    return next((setting.objective for setting in (*tuned, *settings)), CLASSIFICATION)


def all_arms(rows: Iterable[Row]) -> list[Arm]:
    """The arms among rows in any state, in :func:`core.results.setting.order`, with labels that tell them apart."""
    everything, by_arm = list(rows), dict[str, list[Row]]()
    for row in sorted(everything, key=lambda row: (row.seed, row.created, row.id)):
        by_arm.setdefault(row.setting.key, []).append(row)
    differing = differing_of(row.setting for row in everything)
    arms = [
        Arm(full_label(members[0].setting, differing[key]), tuple(members), differing[key])
        for key, members in by_arm.items()
    ]
    return sorted(arms, key=lambda arm: order(arm.setting))


def grouped(arms: Iterable[Arm], by: Callable[[Arm], Key]) -> dict[Key, list[Arm]]:
    """Arms by what a function says of each, in the order in which that first occurs."""
    found: dict[Key, list[Arm]] = {}
    for arm in arms:
        found.setdefault(by(arm), []).append(arm)
    return found


def arms_of(rows: Iterable[Row]) -> list[Arm]:
    """The arms among rows that have results, stopped ones too; see :attr:`Arm.with_results`."""
    return [found for arm in all_arms(rows) if (found := arm.with_results).rows]


def averaged_arms(rows: Iterable[Row]) -> list[Arm]:
    """The arms of :func:`arms_of` without stopped rows where an arm has finished ones: a stopped run trained less, so a
    mean over both would be of neither. An arm that has only stopped rows says so in its label.
    """
    return [arm.finished_only if arm.finished else replace(arm, label=arm.label + arm._early) for arm in arms_of(rows)]


def named(arms: Sequence[Arm]) -> list[Arm]:
    """The same arms, called as in sentences where that tells them apart; see :attr:`Arm.name`."""
    names = [arm.name for arm in arms]
    return [replace(arm, label=arm.name) for arm in arms] if len(set(names)) == len(names) else list(arms)
