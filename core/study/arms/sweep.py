"""A sweep: LoRA over ranks, alphas and learning rates, full fine-tuning over its own rates; validation picks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pandas as pd

from core.errors import SpecError
from core.methods.full import FullSpec
from core.methods.method import MethodSpec, Role
from core.numbers import count_text, listed, seeds_text
from core.plan import experiment
from core.plan.search import FIRST_POINTS
from core.results.arm import Arm, grouped, judged_by
from core.results.choice import best, comparisons_of, is_adapter, is_full, no_choice_sentence
from core.results.measures import ends_text, value_text
from core.results.row import Row
from core.results.setting import Setting, differing_of, joined_settings, order
from core.rule.tuning import end_sentence, ratio_text
from core.run_spec import OptimSpec
from core.spec import bounds
from core.study.arms.tables import is_count, mean_text, varied_columns

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


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which points are on the Pareto front of lowest cost and highest worth.

    A point is off it where another costs no more, is worth no less, and is better in one of the two.

    Args:
        points: cost and worth of each; a worth that is NaN is never on the front.
    """

    def beaten(cost: float, worth: float) -> bool:
        return any(c <= cost and w >= worth and (c, w) != (cost, worth) for c, w in points)

    return [not math.isnan(worth) and not beaten(cost, worth) for cost, worth in points]


def rates_sentence(arms: Sequence[Arm]) -> str:
    """Which settings validation chooses, how far apart the two best learning rates are, and which lie at an end."""
    full, lora = chosen(arms)
    parts = [
        f"{arm.label.replace('Full', 'full fine-tuning', 1)} ({_reached(arm)})"
        for arm in (lora, full)
        if arm is not None
    ]
    if not parts:
        return no_choice_sentence(row for arm in arms for row in arm.rows) or "Nothing ranks these settings."
    are = "setting is" if len(parts) == 1 else "settings are"
    sentences = [f"On the validation part the best {are} {listed(parts)}."]
    if full is not None and lora is not None:
        sentences.append(_ratio_sentence(lora.setting.title, lora.learning_rate / full.learning_rate))
    sentences += [_end_sentence(arm, arms) for arm in (lora, full) if arm is not None]
    return " ".join(filter(None, sentences))


def _reached(arm: Arm) -> str:
    """The mean on the validation part, with its seeds where these are not all that have finished."""
    seeds = f", {seeds_text(arm.judged)}" if len(arm.judged) < len(arm.finished) else ""
    return f"{value_text(arm.what(), arm.validated.mean)}{seeds}"


def _ratio_sentence(method: str, ratio: float) -> str:
    if math.isclose(ratio, 1):
        return "Both methods do best at the same learning rate."
    return f"{method}'s best learning rate is {ratio_text(ratio)} times that of full fine-tuning."


def _end_sentence(best: Arm, arms: Iterable[Arm]) -> str:
    """A warning where the best rate is the first or last that was tried: a better one may lie beyond it."""
    tried = {arm.learning_rate for arm in arms if _fixed(arm) == _fixed(best)}
    own = [bounds(type(best.spec.method), name).title.lower() for name in best.spec.method.varied()]
    name = f"this {' and '.join(own)}" if own else best.setting.title.lower()
    return end_sentence(best.learning_rate, tried, name)


def _fixed(arm: Arm) -> tuple[object, ...]:
    return arm.setting.method, arm.setting.size, arm.setting.alpha


def trained_seconds(rows: Iterable[Row]) -> float:
    """Seconds of training that the runs took, each by the clock of its own training.

    The machine's time of day may be set while they train, so nothing is taken from when they started and ended. A run
    that waits to be trained again does not count.
    """
    return sum(row.seconds for row in rows if row.state != "queued")


def sweep_table(arms: Sequence[Arm], unread: bool = False) -> pd.DataFrame:
    """One row per arm, as numbers; means have the half-width of their 95 % interval beside them, if there is one.

    Args:
        arms: of a sweep.
        unread: whether the test part is not to be read yet, so that its columns are left out.
    """
    picked = {arm.key for arm in chosen(arms) if arm} | {arm.key for arm in best_adapters(arms).values()}
    validated, tested = [arm.validated for arm in arms], [arm.tested for arm in arms]
    done = [arm.finished_only for arm in arms]
    axis, on = _titles(arms)
    varied = varied_columns([arm.spec.method for arm in arms])
    columns: dict[str, tuple[str, Sequence[object]]] = {
        "Method": ("string", [arm.setting.method for arm in arms]),
        **{title: (_kind_of(title, values), values) for title, values in varied.items()},
        "Learning rate": ("Float64", [arm.learning_rate for arm in arms]),
        "Chosen": ("boolean", [arm.key in picked for arm in arms]),
        "Seeds": ("Int64", [len(arm.finished) for arm in arms]),
        "Failed": ("Int64", [len(arm.failed) for arm in arms]),
        f"Validation {on}": ("Float64", [interval.mean for interval in validated]),
        f"± Validation {on}": ("Float64", [interval.half_width for interval in validated]),
        axis: ("Float64", [interval.mean for interval in tested]),
        f"± {axis}": ("Float64", [interval.half_width for interval in tested]),
        "Trainable parameters": ("Int64", [arm.trained or None for arm in done]),
        "Training time (s)": ("Float64", [arm.interval("seconds").mean for arm in done]),
        "Time shared": ("boolean", [arm.shares_time if arm.rows else None for arm in done]),
    }
    if unread:
        del columns[axis], columns[f"± {axis}"]
    return pd.DataFrame({title: pd.Series(list(values), dtype=kind) for title, (kind, values) in columns.items()})


def _kind_of(title: str, values: Sequence[object]) -> str:
    return "Int64" if title == "Rank" or is_count(values) else "Float64"


def sweep_view(arms: Sequence[Arm], unread: bool = False) -> pd.DataFrame:
    """The table of :func:`sweep_table` as pages show it: methods and times in words, and intervals by their ends."""
    table = sweep_table(arms, unread).drop(columns="Time shared")
    times = [mean_text(arm.finished_only, "seconds") if arm.finished else None for arm in arms]
    table["Training time (s)"] = pd.Series(times, dtype="string")
    table["Method"] = pd.array([arm.setting.title for arm in arms], dtype="string")
    axis, on = _titles(arms)
    for title, intervals in (
        (f"Validation {on}", [arm.validated for arm in arms]),
        (axis, [arm.tested for arm in arms]),
    )[: 1 if unread else 2]:
        ends = [ends_text(interval, arm.what()) or None for arm, interval in zip(arms, intervals, strict=True)]
        table[f"± {title}"] = pd.Series(ends, dtype="string")
        table = table.rename(columns={f"± {title}": f"{title.split(' (')[0]}, 95 %"})
    return table


def _titles(arms: Sequence[Arm]) -> tuple[str, str]:
    """The title of a column of the primary measure, and the same within a title."""
    measure = judged_by(arms).primary
    return measure.axis, measure.noun + measure.unit_suffix
