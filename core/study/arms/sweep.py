"""A sweep: LoRA over ranks, alphas and learning rates, full fine-tuning over its own rates; validation picks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from core.errors import SpecError
from core.methods.full import FullSpec
from core.methods.method import MethodSpec, Role
from core.numbers import count_text
from core.plan import experiment
from core.plan.search import FIRST_POINTS
from core.results.arm import Arm, grouped
from core.results.choice import best, comparisons_of, is_adapter, is_full
from core.results.row import Row
from core.results.setting import Setting, differing_of, joined_settings, order
from core.run_spec import OptimSpec
from core.spec import bounds

MAX_RUNS = 2000
"""Maximum number of runs in one sweep or study."""

MIN_ARMS = 4
"""Arms below which an experiment is not shown as a sweep: Compare shows so few better."""


@dataclass(frozen=True)
class Grid:
    """The settings that a sweep tries."""

    varied: Mapping[str, tuple[Any, ...]]
    """Values of each field of the adapter method that it varies, such as ``rank`` and ``alpha``, by its name."""
    learning_rates: tuple[float, ...]
    """Learning rates of the adapters, each with every value of these fields."""
    full_learning_rates: tuple[float, ...]
    """Learning rates of full fine-tuning, the reference; empty leaves it out."""
    seeds: int
    points: int = 1
    """Number of points of a study along an axis, at each of which all of them are tried; 1 for a sweep."""
    searched: bool = False
    """Whether these rates are only where a search begins, for full fine-tuning and for all values of these fields."""

    @property
    def num_arms(self) -> int:
        """Settings, each of which gets every seed; of a search the fewest."""
        values = math.prod(map(len, self.varied.values()))
        own = values * len(self.learning_rates) + len(self.full_learning_rates)
        return self.points * (own * FIRST_POINTS if self.searched else own)

    @property
    def num_runs(self) -> int:
        """Runs in all."""
        return self.num_arms * self.seeds

    def arms(self, optim: OptimSpec, adapter: MethodSpec) -> list[experiment.Recipe]:
        """Settings of every arm: full fine-tuning first, then adapters by the varied fields and learning rate.

        Args:
            optim: how all are trained, but for the learning rate.
            adapter: the adapter method, and how all adapters are made, but for the varied fields.

        Raises:
            SpecError: too few settings, too many runs, or a value out of bounds.
        """
        names = [f"{bounds(type(adapter), name).title.lower()}s" for name in self.varied]
        if self.num_arms < MIN_ARMS:
            raise SpecError(
                f"A sweep tries at least {MIN_ARMS} settings and this one has {self.num_arms}: choose more "
                f"{' or '.join(filter(None, [', '.join(names), 'learning rates']))}."
            )
        if self.num_runs > MAX_RUNS:
            raise SpecError(
                f"A sweep takes at most {count_text(MAX_RUNS)} runs and this one has {count_text(self.num_runs)}: "
                f"choose fewer {', '.join([*names, 'learning rates'])} or seeds."
            )
        full: list[experiment.Recipe] = [
            (optim.but(learning_rate=rate), FullSpec()) for rate in sorted(self.full_learning_rates)
        ]
        return full + [
            (optim.but(learning_rate=rate), adapter.but(**dict(zip(self.varied, values, strict=True))))
            for *values, rate in product(*map(sorted, self.varied.values()), sorted(self.learning_rates))
        ]


def setting_text(setting: Setting) -> str:
    """What a sweep varies, in words, as in ``LoRA r=4, alpha 8, learning rate 0.01``."""
    alpha = f", {setting.alpha_text}" if setting.alpha_text else ""
    return f"{setting.label}{alpha}, learning rate {setting.learning_rate:g}"


def setting_texts(settings: Iterable[Setting]) -> dict[str, str]:
    """The same of each setting, by its key; those that would read alike also have that in which they differ."""
    alike: dict[str, list[Setting]] = {}
    for setting in settings:
        alike.setdefault(setting_text(setting), []).append(setting)
    differing = {text: differing_of(own) for text, own in alike.items()}
    return {
        key: f"{text}, {joined_settings(texts)}" if texts else text
        for text, own in differing.items()
        for key, texts in own.items()
    }


def is_sweep(settings: Iterable[Setting]) -> bool:
    """Whether rows have enough different ranks, alphas and learning rates to be shown as a sweep."""
    found = {
        (each.method, each.size, each.alpha, each.learning_rate) for each in settings if each.role is not Role.CONTROL
    }
    return len(found) >= MIN_ARMS


def sweep_arms(rows: Iterable[Row]) -> list[Arm]:
    """The arms of a sweep, full fine-tuning first, then LoRA by rank, alpha and learning rate, named by what it varies.

    Args:
        rows: all of one experiment. Controls are left out, but the seeds that they lack count as everywhere else.
    """
    arms = [arm for arms in comparisons_of(rows) for arm in arms if arm.role is not Role.CONTROL]
    return [replace(arm, label=setting_text(arm.setting)) for arm in sorted(arms, key=lambda arm: order(arm.setting))]


def best_adapters(arms: Iterable[Arm]) -> dict[str, Arm]:
    """The best alpha and learning rate of each adapter method and rank, by its label, in the order of the arms."""
    adapters = sorted(filter(is_adapter, arms), key=lambda arm: order(arm.setting))
    found = {label: best(members) for label, members in grouped(adapters, lambda arm: arm.setting.label).items()}
    return {label: arm for label, arm in found.items() if arm is not None}


def chosen(arms: Iterable[Arm]) -> tuple[Arm | None, Arm | None]:
    """The best setting of full fine-tuning, and that of all adapters."""
    everything = list(arms)
    return best(filter(is_full, everything)), best(filter(is_adapter, everything))


def at_alpha(arms: Iterable[Arm], alpha: float | None) -> list[Arm]:
    """Full fine-tuning, and one arm for each adapter method, rank and learning rate.

    Args:
        arms: of a sweep.
        alpha: the arms' alpha; None takes the best one for each rank and learning rate.
    """
    own = (arm for arm in arms if alpha is None or arm.setting.alpha in (None, alpha))
    tiles = grouped(own, lambda arm: (arm.setting.method, arm.setting.size, arm.learning_rate))
    return [best(members) or members[0] for members in tiles.values()]


def trained_seconds(rows: Iterable[Row]) -> float:
    """Seconds of training that the runs took, each by the clock of its own training.

    The machine's time of day may be set while they train, so nothing is taken from when they started and ended. A run
    that waits to be trained again does not count.
    """
    return sum(row.seconds for row in rows if row.state != "queued")
