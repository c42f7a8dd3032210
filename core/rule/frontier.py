"""Accuracy against forgetting over all rates and checkpoints, and methods compared at equal accuracy.

The learning rate often moves forgetting more than the method does, so two methods that are compared at their own best
rates may differ in forgetting only because their rates do. Here every setting after every evaluated epoch is a point
(accuracy on the target, forgetting of the source), and the frontier of a method is made of the points that no other
point of it dominates: none has both at least that accuracy and less forgetting. Everything is measured on the
validation parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.methods.method import Role
from core.methods.registry import methods
from core.numbers import NOTHING, listed, number_text, signed_text
from core.objectives.classification import ACCURACY
from core.objectives.measure import Measure
from core.results.arm import Arm, judged_by
from core.results.choice import by_group, candidates, comparisons_of, is_adapter, is_full, winners
from core.results.intervals import MIN_SEEDS, Interval, t_interval
from core.results.measures import FORGETTING, digits_of, ends_text, quantity
from core.results.row import Row
from core.results.setting import TuningGroup
from core.store.record import Curve

FRONTIER_NOTE = (
    "Accuracies are those of the validation parts after each epoch. Each interval stands alone: it is not corrected "
    "for the number of accuracies and ranks, so this describes what was seen and claims nothing."
)
"""How to read what :func:`frontier_table` shows."""

POINTS = quantity(FORGETTING)
"""Forgetting is compared in points."""

SHARES = (1.0, 0.95, 0.9)
"""Accuracies at which two methods are compared, as shares of the highest one that both reach with every seed."""


@dataclass(frozen=True)
class Point:
    """One setting after one epoch."""

    target: float
    """Accuracy on the target, in percent."""
    forgetting: float
    """Accuracy on the source before fine-tuning minus after this epoch, in points."""
    learning_rate: float
    epoch: int


@dataclass(frozen=True)
class Frontier:
    """All that one method and rank was seen to reach."""

    key: str
    """Key of the arm that stands for it: the one that validation chose, or the first."""
    label: str
    group: TuningGroup
    points: tuple[Point, ...]
    """Means over the seeds, by rate and epoch."""
    by_seed: dict[int, tuple[Point, ...]]
    """The points of each seed that all settings have."""
    measure: Measure
    """What the points are of."""

    @property
    def best(self) -> tuple[Point, ...]:
        """The frontier of the means."""
        return non_dominated(self.points)


@dataclass(frozen=True)
class EqualAccuracy:
    """Forgetting of one method minus that of another where both reach the same accuracy on the target."""

    a: str
    """Label of the method and rank that is compared."""
    level: float
    """Accuracy on the target, in percent."""
    values: tuple[float, ...]
    """Difference for each seed that both have, in points."""
    interval: Interval
    """95 % Student's t interval of the mean difference; not corrected for other levels and ranks."""
    measure: Measure
    """What is equal."""

    @property
    def leaves_out_zero(self) -> bool:
        """Whether there are enough seeds for an interval that says anything, and it leaves out 0."""
        return len(self.values) >= MIN_SEEDS and (self.interval.low > 0 or self.interval.high < 0)


def non_dominated(points: Iterable[Point]) -> tuple[Point, ...]:
    """The points that no other one dominates, by accuracy, ascending; of equal points the first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (-point.target, point.forgetting)):
        if not found or point.forgetting < found[-1].forgetting:
            found.append(point)
    return tuple(reversed(found))


def frontiers(rows: Iterable[Row], curves: Mapping[str, Curve], before: float, masked: bool = False) -> list[Frontier]:
    """The frontier of full fine-tuning and of every LoRA rank, over the seeds that all settings of a method have
    finished.

    The more rates and epochs a method has, the further out its frontier lies, so this is fair only where methods were
    tuned equally; :func:`core.study.arms.fairness.comparable` warns where they were not.

    Args:
        rows: of one experiment.
        curves: of its finished runs, by id; settings without them are left out.
        before: accuracy of the base on the source's validation part, in percent. It cancels in every comparison.
        masked: whether accuracy on the source considers only the outputs of the source's own classes.

    Returns:
        Full fine-tuning first, then LoRA by rank; empty where accuracy on the source was not recorded, and where the
        primary measure is no percentage.
    """
    found = []
    everything = list(rows)
    if judged_by(everything).primary.unit != "%":
        return []
    for arms in comparisons_of(everything):
        compared = [arm for arm in candidates(arms) if is_full(arm) or is_adapter(arm)]
        found += [_frontier(members, curves, before, masked) for members in by_group(compared)]
    return [frontier for frontier in found if frontier.points]


def _frontier(arms: Sequence[Arm], curves: Mapping[str, Curve], before: float, masked: bool) -> Frontier:
    objective = arms[0].setting.objective
    columns = [objective.validated, objective.on_source(masked)]
    seeds = sorted(set.intersection(*(set(arm.finished) for arm in arms)))
    means: list[Point] = []
    by_seed: dict[int, list[Point]] = {seed: [] for seed in seeds}
    for arm in arms:
        known = [curves[id] for seed in seeds if (id := arm.finished[seed].id) in curves]
        shared = min((len(curve.epochs) for curve in known), default=0)
        tables = [np.stack([curve.measured(name)[:shared] for name in columns], axis=1) for curve in known]
        if not shared or len(tables) < len(seeds):
            continue
        evaluated = np.flatnonzero(~np.isnan(tables).all(axis=(0, 2)))
        if not len(evaluated) or not np.isfinite(np.array(tables)[:, evaluated]).all():
            continue
        for seed, table in zip((*seeds, None), (*tables, np.mean(tables, axis=0)), strict=True):
            own = [
                Point(float(table[i, 0]), before - float(table[i, 1]), arm.learning_rate, int(i) + 1) for i in evaluated
            ]
            (means if seed is None else by_seed[seed]).extend(own)
    return Frontier(
        winners(arms)[0].key,
        arms[0].setting.label,
        arms[0].setting.group,
        tuple(means),
        {seed: tuple(points) for seed, points in by_seed.items()},
        objective.primary,
    )


def frontier_pairs(found: Sequence[Frontier]) -> list[tuple[Frontier, Frontier]]:
    """Every method and rank with full fine-tuning on the same base and task."""
    references = methods(Role.REFERENCE)
    full = [frontier for frontier in found if frontier.group[2] in references]
    return [(own, other) for other in full for own in found if own is not other and own.group[:2] == other.group[:2]]


def at_equal_accuracy(a: Frontier, b: Frontier) -> list[EqualAccuracy]:
    """Forgetting of ``a`` minus that of ``b`` at equal accuracy on the target, paired by seed.

    For each seed, forgetting at an accuracy is interpolated linearly between the points of that seed's own frontier.
    The highest level is the highest accuracy that both reach with every seed, rounded down to 0.1 %; the others are
    :data:`SHARES` of it. A level below the lowest point of a frontier is left out: it would need extrapolation.
    """
    seeds = [seed for seed in sorted(a.by_seed) if seed in b.by_seed]
    pairs = [(non_dominated(a.by_seed[seed]), non_dominated(b.by_seed[seed])) for seed in seeds]
    lines = [line for pair in pairs for line in pair]
    if not lines or not all(lines):
        return []
    low, top = max(line[0].target for line in lines), min(line[-1].target for line in lines)
    found = []
    for level in dict.fromkeys(math.floor(10 * share * top) / 10 for share in SHARES):
        if low <= level <= top:
            values = tuple(_forgetting_at(left, level) - _forgetting_at(right, level) for left, right in pairs)
            found.append(EqualAccuracy(a.label, level, values, t_interval(values), a.measure))
    return found


def equal_to_full(
    arm: Arm, full: Arm, rows: Iterable[Row], curves: Mapping[str, Curve], masked: bool = False
) -> tuple[EqualAccuracy, ...]:
    """Forgetting of one setting's method and rank minus that of full fine-tuning on the same base and task, as of
    :func:`at_equal_accuracy`; only the curves of both tuning groups are needed.
    """
    groups = arm.setting.group, full.setting.group
    pairs = frontier_pairs(frontiers(rows, curves, before=0.0, masked=masked))  # where the base stood cancels
    return tuple(one for a, b in pairs if (a.group, b.group) == groups for one in at_equal_accuracy(a, b))


def _forgetting_at(line: Sequence[Point], level: float) -> float:
    return float(np.interp(level, [point.target for point in line], [point.forgetting for point in line]))


def frontier_sentence(pairs: Sequence[tuple[Frontier, Frontier]]) -> str:
    """What was seen of each method and rank at equal accuracy, in one sentence. Args: pairs: at least one."""
    noun = pairs[0][0].measure.noun
    who: dict[str, list[str]] = {}
    for lora, full in pairs:
        who.setdefault(_seen(at_equal_accuracy(lora, full), lora.measure), []).append(lora.label)
    told = "; ".join(f"{listed(names)} {seen}" for seen, names in who.items())
    return f"Seen beside full fine-tuning at equal {noun} on the target: {told}."


def _seen(found: Sequence[EqualAccuracy], measure: Measure) -> str:
    """What a setting did at all levels."""
    if not found:
        return f"reached no {measure.noun} that both have"
    if len(found[0].values) < MIN_SEEDS:
        return f"had too few seeds to compare, {len(found[0].values)}"
    sides = {(equal.interval.mean > 0) if equal.leaves_out_zero else None for equal in found}
    words = {True: "forgot more", False: "forgot less", None: "could not be told apart"}
    first, *others = (words[side] for side in (True, False, None) if side in sides)
    return f"{first} at some values and {listed(others)} at others" if others else first


def frontier_table(found: Sequence[EqualAccuracy]) -> pd.DataFrame:
    """One row per comparison, as text: who, at which accuracy, and how much more is forgotten."""
    return pd.DataFrame(
        {
            "Setting": [equal.a for equal in found],
            f"{found[0].measure.title if found else ACCURACY.title} on the target": [
                f"{number_text(equal.level, 1)} %" for equal in found
            ],
            "Forgets, minus full": [
                signed_text(equal.interval.mean, digits_of(equal.interval, POINTS)) for equal in found
            ],
            "95 % interval": [ends_text(equal.interval, POINTS) or NOTHING for equal in found],
            "Seeds": [str(len(equal.values)) for equal in found],
            "Seen": [
                ("more" if equal.interval.mean > 0 else "less") if equal.leaves_out_zero else "interval contains 0"
                for equal in found
            ],
        },
        dtype=object,
    )
