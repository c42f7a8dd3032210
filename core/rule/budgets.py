"""What an experiment says by budget: each method and rank beside full fine-tuning, after several numbers of epochs.

An experiment that was trained longer has several budgets: at each, every method is at the rate that is best there, and
the test part says what that reached. Where learning rates are constant, epochs that were merely passed say what shorter
training would have reached, on the validation part. Nothing here is tested, and nothing of it is a look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.methods.method import Role
from core.plan.axes import MAX_POINTS, EpochsAxis, VarySpec
from core.results.arm import Arm, grouped, judged_by
from core.results.choice import compared_with, comparisons_of
from core.results.grid import common_seeds
from core.results.intervals import Interval, t_interval
from core.results.results import Results
from core.results.row import Row
from core.results.setting import order
from core.rule.answer import Answer
from core.rule.differences import candidate_of
from core.rule.place import Place
from core.rule.withheld import compared_settings
from core.store.record import Curve


def by_budget(results: Results) -> Answer | None:
    """What was reached with each number of epochs, as places along the epochs of which nothing was tested; None where
    fewer than two have a finished seed of full fine-tuning and of an adapter in common.
    """
    everything = [row for row in results.rows if row.setting.role in (Role.REFERENCE, Role.ADAPTER)]
    places = []
    for epochs in sorted({row.setting.epochs for row in everything}):
        at = _at(epochs, results.only(row for row in everything if row.setting.epochs == epochs))
        places += [at] if at is not None else []
    if len(places) < 2:
        return None
    adapters = {row.setting.label: row.setting for row in everything if row.setting.role is Role.ADAPTER}
    lines = {each.label: each.spec.method for each in sorted(adapters.values(), key=order) if each.spec is not None}
    shown = places[-MAX_POINTS:]
    vary = VarySpec.of(name=EpochsAxis.name, points=tuple(at.point for at in shown))
    return Answer(results.margin, tuple(shown), vary, lines)


def _at(epochs: int, results: Results) -> Place | None:
    """What was reached with a number of epochs; each setting over the seeds that it shares with full fine-tuning."""
    full, arms, reason = compared_settings(results.rows)
    if reason or full is None:
        return None
    everyone = compared_with(full, results.rows)
    seeds = {arm.key: common_seeds([full, arm]) for arm in arms}
    own = {
        arm.setting.label: candidate_of(arm, full, everyone, seeds[arm.key], results.outcomes)
        for arm in arms
        if seeds[arm.key]
    }
    candidates = tuple(own.values())
    return Place(results.margin, full, candidates, point=epochs, rows=results.rows, arms=tuple(arms), by_line=own)


@dataclass(frozen=True, eq=False)
class Passed:
    """A method and rank minus full fine-tuning on the validation part, after epochs that its runs passed."""

    label: str
    spec_key: str
    """Key of one of its arms, by which figures colour it."""
    epochs: NDArray[np.int64]
    """(n,) the epochs after which both were measured."""
    intervals: tuple[Interval, ...]
    """(n,) mean difference over seeds with its 95 % interval, each at the rates that are best after that epoch."""

    @property
    def means(self) -> list[tuple[int | str, float]]:
        """Epoch and mean difference."""
        return [(int(epoch), each.mean) for epoch, each in zip(self.epochs, self.intervals, strict=True)]


def passed_epochs(rows: Sequence[Row], curves: Mapping[str, Curve]) -> list[Passed]:
    """The differences from full fine-tuning after epochs that the compared settings passed; none where rates change.
    ``curves`` are those of finished runs, by run id.
    """
    groups = [arms for arms in comparisons_of(rows) if any(arm.role is Role.REFERENCE for arm in arms)]
    if not groups:
        return []
    arms = [arm for arm in groups[0] if arm.finished and not arm.failed]
    if any(arm.setting.decay != "constant" or arm.setting.warmup or arm.setting.patience for arm in arms):
        return []
    name = judged_by(arms).validated
    by_label = grouped(arms, lambda arm: arm.setting.label)
    full = next((own for own in by_label.values() if own[0].role is Role.REFERENCE), [])
    seeds = common_seeds([*full, *(arm for arm in arms if arm.role is Role.ADAPTER and arm.is_complete)])
    values = {arm.key: _measured(arm, seeds, curves, name) for arm in arms if set(seeds) <= set(arm.finished)}
    best = {label: _best_of(own, values) for label, own in by_label.items()}
    reference = best.get(full[0].setting.label) if full else None
    if reference is None or not seeds:
        return []
    found = []
    for label, own in by_label.items():
        mine = best[label]
        if own[0].role is not Role.ADAPTER or mine is None:
            continue
        epochs = [epoch for epoch in mine if epoch in reference]
        intervals = tuple(t_interval((mine[epoch] - reference[epoch]).tolist()) for epoch in epochs)
        found.append(Passed(label, own[0].key, np.array(epochs, np.int64), intervals))
    return found


def _measured(arm: Arm, seeds: Sequence[int], curves: Mapping[str, Curve], name: str) -> dict[int, NDArray[np.float64]]:
    """The measure on the validation part of each seed, by epoch, where all seeds have one."""
    by_seed = [curves[arm.finished[seed].id].epochs for seed in seeds if arm.finished[seed].id in curves]
    if len(by_seed) < len(seeds) or any(name not in epochs for epochs in by_seed):
        return {}
    own = [epochs.set_index("epoch")[name].dropna() for epochs in by_seed]
    shared = set.intersection(*(set(each.index) for each in own)) if own else set()
    return {int(epoch): np.array([float(each.loc[epoch]) for each in own]) for epoch in sorted(shared)}


def _best_of(
    arms: Sequence[Arm], values: Mapping[str, Mapping[int, NDArray[np.float64]]]
) -> dict[int, NDArray[np.float64]] | None:
    """The values of the arm that is best after each epoch, by epoch; None where none has any."""
    sign = arms[0].setting.objective.primary.sign
    found: dict[int, NDArray[np.float64]] = {}
    for arm in arms:
        for epoch, own in values.get(arm.key, {}).items():
            if epoch not in found or sign * own.mean() > sign * found[epoch].mean():
                found[epoch] = own
    return dict(sorted(found.items())) or None
