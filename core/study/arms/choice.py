"""Which settings win: one rule for every page, report and command.

Settings with one base and one task are compared. Only finished runs count. A setting with a failed seed never wins and
is named; one that lacks a seed wins only where no other has them all. The mean of the primary measure on the validation
part decides, over seeds that all who could win have finished; ties go to fewer trained parameters, then to the lower
learning rate, the lower alpha, and the key. Nothing of the test part is ever read here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from core.data.task_spec import TaskSpec
from core.methods.method import Role
from core.numbers import seeds_text
from core.run_spec import RunSpec
from core.store.record import Run
from core.study.arms.arm import Arm, TuningGroup, arm_order, arms_of, labels_of, tuning_group

SETTLED_DIGITS = 9
"""Decimals of a mean that count: what rounding alone tells apart is a tie."""


@dataclass(frozen=True)
class ArmRuns:
    """The runs that differ in nothing but the seed, whatever their state."""

    runs: tuple[Run, ...]
    """At least one, by seed; several of one seed where it was trained again."""

    @property
    def spec(self) -> RunSpec:
        """The spec of the first run: right for all in everything but the seed."""
        return self.runs[0].spec

    @cached_property
    def key(self) -> str:
        """:attr:`core.run_spec.RunSpec.arm` of every run."""
        return self.spec.arm

    @cached_property
    def group(self) -> TuningGroup:
        """Settings of one group differ only in how they were tuned."""
        return tuning_group(self.spec)

    @cached_property
    def finished(self) -> dict[int, Run]:
        """The latest finished run of each seed, seeds ascending."""
        found = [run for run in self.runs if run.state == "finished" and run.result is not None]
        return {run.spec.seed: run for run in sorted(found, key=lambda run: (run.spec.seed, run.created, run.id))}

    @cached_property
    def failed(self) -> tuple[int, ...]:
        """Seeds that failed and have no finished run, and seeds whose validation measure is not finite; ascending."""
        broken = {seed for seed in self.finished if not math.isfinite(self._validation(seed) or 0.0)}
        failed = {run.spec.seed for run in self.runs if run.state == "failed"}
        return tuple(sorted(broken | failed.difference(self.finished)))

    @property
    def parameters(self) -> int:
        """Trainable parameters, the same in every run; 0 before the first has finished."""
        return next((run.result.trainable_parameters for run in self.finished.values() if run.result), 0)

    def validated(self, seeds: Iterable[int]) -> float | None:
        """Mean of the primary measure on the validation part over these seeds; None where one is unknown."""
        values = [self._validation(seed) for seed in seeds]
        known = [value for value in values if value is not None]
        return fmean(known) if known and len(known) == len(values) else None

    def _validation(self, seed: int) -> float | None:
        run = self.finished.get(seed)
        return run.validated if run is not None else None


@dataclass(frozen=True)
class Choice:
    """The rule, applied to the settings of one comparison: those with one base and one task."""

    settings: tuple[ArmRuns, ...]
    """In :func:`core.study.arms.arm.arm_order`."""

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that were launched, whatever became of them; ascending."""
        return tuple(sorted({run.spec.seed for setting in self.settings for run in setting.runs}))

    @cached_property
    def dropped(self) -> tuple[ArmRuns, ...]:
        """Settings that cannot win because a seed failed."""
        return tuple(setting for setting in self.settings if setting.failed)

    @cached_property
    def candidates(self) -> tuple[ArmRuns, ...]:
        """Settings that may win their tuning group."""
        return tuple(found for members in _by_group(self.settings) for found in self._able(members))

    @cached_property
    def common_seeds(self) -> tuple[int, ...]:
        """Seeds that every candidate has finished; ascending."""
        return _shared(self.candidates)

    def best(self, among: Callable[[ArmRuns], bool] = lambda setting: True) -> ArmRuns | None:
        """The winner among some of the settings; None where none may win, or nothing tells several apart."""
        return self._pick(self._finalists(self._able(filter(among, self.settings))))

    def winners(self) -> list[ArmRuns]:
        """The winner of each tuning group; all candidates of a group where nothing tells them apart."""
        return self._finalists(self.candidates)

    def judged_on(self, setting: ArmRuns) -> tuple[int, ...]:
        """Seeds over which a candidate's primary measure on the validation part is averaged."""
        return self.seeds if self._complete(setting) else self.common_seeds or tuple(setting.finished)

    def _complete(self, setting: ArmRuns) -> bool:
        return len(setting.finished) == len(self.seeds)

    def _able(self, settings: Iterable[ArmRuns]) -> list[ArmRuns]:
        """Those without a failed seed that have all seeds; where there is none, those that have finished any."""
        able = [setting for setting in settings if setting.finished and not setting.failed]
        return [setting for setting in able if self._complete(setting)] or able

    def _finalists(self, able: Iterable[ArmRuns]) -> list[ArmRuns]:
        """The best of each tuning group first, so that the winner among several groups is always one of theirs."""
        picked = [(self._pick(members), members) for members in _by_group(able)]
        return [setting for best, members in picked for setting in ([best] if best is not None else members)]

    def _pick(self, able: Sequence[ArmRuns]) -> ArmRuns | None:
        if len(able) < 2:
            return able[0] if able else None
        seeds = self.seeds if self._complete(able[0]) else self.common_seeds or _shared(able)
        means = {setting.key: setting.validated(seeds) for setting in able}
        if None in means.values():
            return None

        def order(setting: ArmRuns) -> tuple[float, int, float, float, str]:
            spec = setting.spec
            mean = spec.objective.primary.sign * (means[setting.key] or 0.0)
            strength = spec.method.strength or 0.0
            return (
                -round(mean, SETTLED_DIGITS),
                setting.parameters,
                spec.optim.learning_rate,
                strength,
                setting.key,
            )

        return min(able, key=order)


def choices_of(runs: Iterable[Run]) -> list[Choice]:
    """One choice for each base and task among some runs, without pretraining, in the order of their first settings."""
    settings: dict[str, list[Run]] = {}
    for run in runs:
        if run.spec.role is not Role.BASE:
            settings.setdefault(run.spec.arm, []).append(run)
    comparisons: dict[tuple[str | None, TaskSpec], list[ArmRuns]] = {}
    for members in sorted(settings.values(), key=lambda members: arm_order(members[0].spec)):
        setting = ArmRuns(tuple(sorted(members, key=lambda run: (run.spec.seed, run.created, run.id))))
        comparisons.setdefault((setting.spec.start, setting.spec.task), []).append(setting)
    return [Choice(tuple(found)) for found in comparisons.values()]


def chosen_arms(runs: Iterable[Run]) -> list[Arm]:
    """The arms that win their tuning groups, with their finished runs alone, in :func:`core.study.arms.arm.arm_order`.

    Every method chooses on the validation part and among the seeds it is compared on, so what luck adds to one it adds
    to the other, as long as all tried about as many settings: :func:`core.study.arms.fairness.comparable` warns where
    they did not.
    """
    everything = list(runs)
    keys = {setting.key for choice in choices_of(everything) for setting in choice.winners()}
    return [arm for arm in arms_of(everything, only_finished=True) if arm.key in keys]


def best_arm(runs: Iterable[Run], among: Callable[[ArmRuns], bool]) -> Arm | None:
    """The winner among some settings, with its finished runs; of the first comparison that has one."""
    everything = list(runs)
    found = [choice.best(among) for choice in choices_of(everything)]
    key = next((setting.key for setting in found if setting is not None), None)
    return next((arm for arm in arms_of(everything, only_finished=True) if arm.key == key), None)


def best_run(arm: Arm) -> Run:
    """The run of an arm that is best on the validation part; the first seed among equals, or where it is unknown."""

    def worth(run: Run) -> float:
        value = run.validated
        return -math.inf if value is None or math.isnan(value) else value * run.spec.objective.primary.sign

    return max(arm.runs, key=lambda run: (worth(run), -run.spec.seed))


def is_full(setting: ArmRuns) -> bool:
    """Whether it is full fine-tuning, the reference; controls are not."""
    return setting.spec.role is Role.REFERENCE


def is_adapter(setting: ArmRuns) -> bool:
    """Whether it trains adapters."""
    return setting.spec.role is Role.ADAPTER


def dropped_sentences(runs: Iterable[Run]) -> list[str]:
    """A sentence for each comparison that names the settings which cannot win because a seed failed."""
    everything = list(runs)
    labels = labels_of(run.spec for run in everything)
    named = [
        "; ".join(f"{labels[setting.key]} ({seeds_text(setting.failed)})" for setting in choice.dropped)
        for choice in choices_of(everything)
    ]
    return [f"Left out of the choice because a seed failed: {names}." for names in named if names]


def no_choice_sentence(runs: Iterable[Run]) -> str:
    """Why nothing is chosen; empty where something is."""
    choices = choices_of(runs)
    if any(choice.candidates for choice in choices):
        return ""
    failed = any(setting.finished for choice in choices for setting in choice.settings)
    return f"No setting has finished{' without a failed seed' if failed else ''}, so there is no verdict."


def _by_group(settings: Iterable[ArmRuns]) -> list[list[ArmRuns]]:
    groups: dict[TuningGroup, list[ArmRuns]] = {}
    for setting in settings:
        groups.setdefault(setting.group, []).append(setting)
    return list(groups.values())


def _shared(settings: Sequence[ArmRuns]) -> tuple[int, ...]:
    """Seeds that all have finished; ascending."""
    found = [set(setting.finished) for setting in settings]
    return tuple(sorted(set.intersection(*found))) if found else ()
