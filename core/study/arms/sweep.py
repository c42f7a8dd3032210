"""A sweep: LoRA over ranks, alphas and learning rates, full fine-tuning over its own rates; validation picks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

import pandas as pd

from core.errors import SpecError
from core.methods.full import FullSpec
from core.methods.method import MethodSpec, Role
from core.numbers import count_text, listed, seeds_text
from core.plan.experiment import Setting
from core.run_spec import OptimSpec, RunSpec
from core.spec import bounds
from core.store.record import Run
from core.study.arms.arm import Arm as ResultsArm
from core.study.arms.arm import arm_order
from core.study.arms.choice import ArmRuns, Choice, choices_of, no_choice_sentence
from core.study.arms.judged import judged_by
from core.study.arms.tables import is_count, mean_text, varied_columns
from core.study.arms.tuning import end_sentence, ratio_text
from core.study.stats.intervals import Interval, t_interval
from core.study.stats.measures import Quantity, ends_text, quantity, value_text

MAX_RUNS = 500
"""Maximum number of runs in one sweep."""

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

    @property
    def num_arms(self) -> int:
        """Settings, each of which gets every seed."""
        values = math.prod(map(len, self.varied.values()))
        return values * len(self.learning_rates) + len(self.full_learning_rates)

    @property
    def num_runs(self) -> int:
        """Runs in all."""
        return self.num_arms * self.seeds

    def arms(self, optim: OptimSpec, adapter: MethodSpec) -> list[Setting]:
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
                f"A sweep takes at most {MAX_RUNS} runs and this one has {count_text(self.num_runs)}: choose fewer "
                f"{', '.join([*names, 'learning rates'])} or seeds."
            )
        full: list[Setting] = [(optim.but(learning_rate=rate), FullSpec()) for rate in sorted(self.full_learning_rates)]
        return full + [
            (optim.but(learning_rate=rate), adapter.but(**dict(zip(self.varied, values, strict=True))))
            for *values, rate in product(*map(sorted, self.varied.values()), sorted(self.learning_rates))
        ]


def setting_text(spec: RunSpec) -> str:
    """What a sweep varies, in words, as in ``LoRA r=4, alpha 8, learning rate 0.01``."""
    field = spec.method.strength_field
    strength = f", {spec.method.setting_text(field)}" if field else ""
    return f"{spec.label}{strength}, learning rate {spec.optim.learning_rate:g}"


@dataclass(frozen=True)
class Cell:
    """One setting of a sweep: its runs in any state, and what it reached."""

    setting: ArmRuns
    choice: Choice = field(repr=False, compare=False)
    """The choice among all settings of the experiment, controls included."""

    @property
    def key(self) -> str:
        """:attr:`core.run_spec.RunSpec.arm` of every run."""
        return self.setting.key

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, by seed."""
        return self.setting.runs

    @property
    def spec(self) -> RunSpec:
        """The spec of the first run: right for all in everything but the seed."""
        return self.setting.spec

    @property
    def what(self) -> Quantity:
        """The primary measure on the target."""
        return quantity(self.spec.objective.primary.name, self.spec.objective)

    @cached_property
    def judged(self) -> tuple[int, ...]:
        """Seeds over which accuracy on the validation part is averaged: those that decide the choice, so that settings
        are shown as they were compared; all finished ones where it lacks one of those.
        """
        seeds = self.choice.judged_on(self.setting)
        return seeds if set(seeds) <= set(self.setting.finished) else tuple(self.setting.finished)

    @cached_property
    def validation(self) -> tuple[float, ...]:
        """Accuracy on the validation part of the finished run of each judged seed that has one, in percent."""
        runs = [self.setting.finished[seed] for seed in self.judged]
        values = [run.validated for run in runs]
        return tuple(value for value in values if value is not None and math.isfinite(value))

    @property
    def method(self) -> str:
        """Kind of its method, as in ``lora``."""
        return self.spec.kind

    @property
    def size(self) -> Any:
        """Size of its method, such as the rank; None for full fine-tuning, and for a method without one."""
        return self.spec.method.size

    @property
    def strength(self) -> Any:
        """Strength of its method, such as alpha; None for full fine-tuning, and for a method without one."""
        return self.spec.method.strength

    @property
    def learning_rate(self) -> float:
        """The learning rate of every run."""
        return self.spec.optim.learning_rate

    @property
    def label(self) -> str:
        """The setting in words; see :func:`setting_text`."""
        return setting_text(self.spec)

    @property
    def finished(self) -> tuple[Run, ...]:
        """The finished run of each seed. A stopped run trained less, so it is left out."""
        return tuple(self.setting.finished.values())

    @property
    def failed(self) -> int:
        """Number of seeds that failed."""
        return len(self.setting.failed)

    @cached_property
    def validated(self) -> Interval:
        """Mean and 95 % interval of the accuracy on the validation part, in percent: by which settings are chosen."""
        return t_interval(self.validation)

    @cached_property
    def tested(self) -> Interval:
        """Mean and 95 % interval of the accuracy on the test part, in percent: which is reported for a choice."""
        return t_interval(self.test)

    @property
    def test(self) -> tuple[float, ...]:
        """Accuracy on the test part of each finished run, in percent."""
        return tuple(run.score for run in self.finished if run.score is not None)

    @property
    def trainable_parameters(self) -> int | None:
        """The same in every run; None before the first has finished."""
        return self.setting.parameters or None


def is_sweep(specs: Iterable[RunSpec]) -> bool:
    """Whether runs have enough different ranks, alphas and learning rates to be shown as a sweep."""
    settings = {
        (s.kind, s.method.size, s.method.strength, s.optim.learning_rate) for s in specs if s.role is not Role.CONTROL
    }
    return len(settings) >= MIN_ARMS


def cells_of(runs: Iterable[Run]) -> list[Cell]:
    """The settings of a sweep, full fine-tuning first, then LoRA by rank, alpha and learning rate.

    Args:
        runs: all of one experiment. Controls get no cell, but the seeds that they lack count as everywhere else.
    """
    cells = [
        Cell(setting, choice)
        for choice in choices_of(runs)
        for setting in choice.settings
        if setting.spec.role is not Role.CONTROL
    ]
    return sorted(cells, key=lambda cell: arm_order(cell.spec))


def best_of(cells: Iterable[Cell]) -> Cell | None:
    """The cell that :mod:`core.study.arms.choice` picks among some of a sweep; None where none may be chosen."""
    by_key = {cell.key: cell for cell in cells}
    choice = next((cell.choice for cell in by_key.values()), None)
    best = choice.best(lambda setting: setting.key in by_key) if choice is not None else None
    return by_key[best.key] if best is not None else None


def best_adapters(cells: Iterable[Cell]) -> dict[str, Cell]:
    """The best alpha and learning rate of each adapter method and rank, by its label, in the order of the arms."""
    by_label: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: arm_order(cell.spec)):
        if cell.spec.role is Role.ADAPTER:
            by_label.setdefault(cell.spec.label, []).append(cell)
    found = {label: best_of(members) for label, members in by_label.items()}
    return {label: cell for label, cell in found.items() if cell is not None}


def chosen(cells: Iterable[Cell]) -> tuple[Cell | None, Cell | None]:
    """The best setting of full fine-tuning, and that of all adapters."""
    everything = list(cells)
    full, adapter = (
        best_of(cell for cell in everything if cell.spec.role is role) for role in (Role.REFERENCE, Role.ADAPTER)
    )
    return full, adapter


def at_alpha(cells: Iterable[Cell], alpha: float | None) -> list[Cell]:
    """Full fine-tuning, and one cell for each adapter method, rank and learning rate.

    Args:
        cells: of a sweep.
        alpha: the cells' alpha; None takes the best one for each rank and learning rate.
    """
    tiles: dict[tuple[str, Any, float], list[Cell]] = {}
    for cell in cells:
        if alpha is None or cell.strength in (None, alpha):
            tiles.setdefault((cell.method, cell.size, cell.learning_rate), []).append(cell)
    return [best_of(members) or members[0] for members in tiles.values()]


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points are on the Pareto front of lowest cost and highest worth.

    A point is off it where another costs no more, is worth no less, and is better in one of the two.

    Args:
        points: cost and worth of each; a worth that is NaN is never on the front.
    """

    def beaten(cost: float, worth: float) -> bool:
        return any(c <= cost and w >= worth and (c, w) != (cost, worth) for c, w in points)

    return [not math.isnan(worth) and not beaten(cost, worth) for cost, worth in points]


def rates_sentence(cells: Sequence[Cell]) -> str:
    """Which settings validation chooses, how far apart the two best learning rates are, and which lie at an end."""
    full, lora = chosen(cells)
    best = [cell for cell in (lora, full) if cell is not None]
    parts = [
        f"{cell.label.replace('Full', 'full fine-tuning', 1)} ({_reached(cell)}{_judged_text(cell)})" for cell in best
    ]
    if not parts:
        return no_choice_sentence(run for cell in cells for run in cell.runs) or "Nothing ranks these settings."
    are = "setting is" if len(parts) == 1 else "settings are"
    sentences = [f"On the validation part the best {are} {listed(parts)}."]
    if full is not None and lora is not None:
        sentences.append(_ratio_sentence(lora.spec.method.title, lora.learning_rate / full.learning_rate))
    sentences += [_end_sentence(cell, cells) for cell in (lora, full) if cell is not None]
    return " ".join(filter(None, sentences))


def _reached(cell: Cell) -> str:
    return value_text(cell.what, cell.validated.mean)


def _judged_text(cell: Cell) -> str:
    """The seeds of its mean where these are not all that have finished, for the inside of brackets."""
    return f", {seeds_text(cell.judged)}" if len(cell.judged) < len(cell.finished) else ""


def _ratio_sentence(method: str, ratio: float) -> str:
    if math.isclose(ratio, 1):
        return "Both methods do best at the same learning rate."
    return f"{method}'s best learning rate is {ratio_text(ratio)} times that of full fine-tuning."


def _end_sentence(best: Cell, cells: Iterable[Cell]) -> str:
    """A warning where the best rate is the first or last that was tried: a better one may lie beyond it."""
    fixed = (best.method, best.size, best.strength)
    tried = {cell.learning_rate for cell in cells if (cell.method, cell.size, cell.strength) == fixed}
    own = [bounds(type(best.spec.method), name).title.lower() for name in best.spec.method.varied()]
    name = f"this {' and '.join(own)}" if own else best.spec.method.title.lower()
    return end_sentence(best.learning_rate, tried, name)


def trained_seconds(runs: Iterable[Run]) -> float:
    """Seconds of training that the runs took, each by the clock of its own training.

    The machine's time of day may be set while they train, so nothing is taken from when they started and ended. A run
    that waits to be trained again does not count.
    """
    return sum(run.training_seconds for run in runs if run.state != "queued")


def sweep_table(cells: Sequence[Cell]) -> pd.DataFrame:
    """One row per cell, as numbers; means have the half-width of their 95 % interval beside them, if there is one."""
    picked = {cell.key for cell in chosen(cells) if cell} | {cell.key for cell in best_adapters(cells).values()}
    validated, tested = [cell.validated for cell in cells], [cell.tested for cell in cells]
    axis, on = _titles(cells)
    seconds = [t_interval([run.result.seconds for run in cell.finished if run.result]).mean for cell in cells]
    varied = varied_columns([cell.spec.method for cell in cells])
    columns: dict[str, tuple[str, Sequence[object]]] = {
        "Method": ("string", [cell.method for cell in cells]),
        **{title: (_kind_of(title, values), values) for title, values in varied.items()},
        "Learning rate": ("Float64", [cell.learning_rate for cell in cells]),
        "Chosen": ("boolean", [cell.key in picked for cell in cells]),
        "Seeds": ("Int64", [len(cell.finished) for cell in cells]),
        "Failed": ("Int64", [cell.failed for cell in cells]),
        f"Validation {on}": ("Float64", [interval.mean for interval in validated]),
        f"± Validation {on}": ("Float64", [interval.half_width for interval in validated]),
        axis: ("Float64", [interval.mean for interval in tested]),
        f"± {axis}": ("Float64", [interval.half_width for interval in tested]),
        "Trainable parameters": ("Int64", [cell.trainable_parameters for cell in cells]),
        "Training time (s)": ("Float64", seconds),
        "Time shared": ("boolean", [arm.shares_time if arm.runs else None for arm in map(_arm_of, cells)]),
    }
    return pd.DataFrame({title: pd.Series(list(values), dtype=kind) for title, (kind, values) in columns.items()})


def _kind_of(title: str, values: Sequence[object]) -> str:
    return "Int64" if title == "Rank" or is_count(values) else "Float64"


def shares_time(cells: Iterable[Cell]) -> bool:
    """Whether any finished run was trained in a bank, whose time is divided among its runs."""
    return any(_arm_of(cell).shares_time for cell in cells)


def _arm_of(cell: Cell) -> ResultsArm:
    """The finished runs of a setting as an arm; it has none before the first has finished."""
    return ResultsArm(cell.key, cell.label, cell.finished)


def sweep_view(cells: Sequence[Cell]) -> pd.DataFrame:
    """The table of :func:`sweep_table` as pages show it: methods and times in words, and intervals by their ends."""
    table = sweep_table(cells).drop(columns="Time shared")
    times = [mean_text(arm, "seconds") if arm.runs else None for arm in map(_arm_of, cells)]
    table["Training time (s)"] = pd.Series(times, dtype="string")
    table["Method"] = pd.array([cell.spec.method.title for cell in cells], dtype="string")
    axis, on = _titles(cells)
    for title, intervals in (
        (f"Validation {on}", [cell.validated for cell in cells]),
        (axis, [cell.tested for cell in cells]),
    ):
        ends = [ends_text(interval, cell.what) or None for cell, interval in zip(cells, intervals, strict=True)]
        table[f"± {title}"] = pd.Series(ends, dtype="string")
        table = table.rename(columns={f"± {title}": f"{title.split(' (')[0]}, 95 %"})
    return table


def _titles(cells: Sequence[Cell]) -> tuple[str, str]:
    """The title of a column of the primary measure, and the same within a title."""
    measure = judged_by(cells).primary
    return measure.axis, measure.noun + measure.unit_suffix
