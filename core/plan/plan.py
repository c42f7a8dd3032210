"""Plans of experiments: what was asked for, from which follows what is to be trained after each result.

An experiment whose learning rates are searched for has one in the store. It is a function of what was asked for and of
the results that are there (:mod:`core.plan.search`), so that it needs no state of its own, and whoever extends it finds
the same. The only thing that it remembers is what it has queued: what is missing of that was deleted by somebody.

Where it may train longer, the searches of all methods end first, with the first seeds alone. While one of them still
gets better (:mod:`core.plan.course`), all are searched again with three times the epochs, each around the best rate
that it had; then all seeds are trained, with the last of these numbers of epochs.

The plan of a study is one such plan for each point of its axis (:mod:`core.plan.axis`), with one set of seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from statistics import fmean
from typing import Self

from pydantic import Field

from core.methods.method import MethodSpec
from core.plan.configuration import ArmSpec, Configuration
from core.plan.course import LONGER, can_be_longer, can_tell, gain
from core.plan.experiment import Setting, Wanted
from core.plan.rate_grid import rates_around
from core.plan.search import FIRST_POINTS, MOST, Results, best_rate, search_seeds, wanted
from core.run_spec import OptimSpec, RunSpec
from core.spec import Spec
from core.store.record import Run

Place = tuple[str, int]
"""Key of an arm and a seed: one run of an experiment."""

Ended = Mapping[Setting, Mapping[float, Mapping[int, Run]]]
"""Runs that say something of their learning rate, by setting without it, by rate and by seed."""


class Plan(Spec):
    """What an experiment trains, in stages of which the next one depends on results."""

    configuration: Configuration = Field(title="Configuration", description="What was asked for, with what was added.")
    first: tuple[int, ...] = Field(title="Seeds of the search", description="They compare all rates that are tried.")
    queued: tuple[Place, ...] = Field((), title="Queued", description="Arm and seed of every run that was queued.")

    @classmethod
    def of_configuration(cls, configuration: Configuration) -> Self:
        """The plan of what was asked for, of which nothing has been queued."""
        return cls.of(configuration=configuration, first=search_seeds(configuration.seeds))

    @property
    def parts(self) -> tuple[Self, ...]:
        """The plan at each point of a study, each with its own searches; itself where the experiment is no study."""
        if self.configuration.vary is None:
            return (self,)
        return tuple(self.model_copy(update={"configuration": part}) for part in self.configuration.parts)

    def has(self, spec: RunSpec) -> bool:
        """Whether a run is of this plan, whatever its learning rate; of the plan of a study whether of any point."""
        if self.configuration.vary is not None:
            return any(part.has(spec) for part in self.parts)
        key = _what if self._times else _without_rate
        return spec.task == self.configuration.task and key((spec.optim, spec.method)) in self._own

    @cached_property
    def _own(self) -> frozenset[object]:
        """What :meth:`has` knows the runs by."""
        key = _what if self._times else _without_rate
        return frozenset(key((arm.optim, arm.method)) for arm in self.configuration.arms)

    def wanted(self, runs: Iterable[Run]) -> list[Wanted]:
        """What is to be trained, as far as the results so far tell, ordered by seed.

        Args:
            runs: of the experiment, in any state.
        """
        everything = list(runs)
        return self._of_parts(lambda part: part._settings(everything))

    def _of_parts(self, read: Callable[[Plan], Sequence[tuple[Setting, int]]]) -> list[Wanted]:
        """What is read of the plan at each point, with the task there, each once, ordered by seed."""
        found = dict.fromkeys((part.configuration.task, *pair) for part in self.parts for pair in read(part))
        return sorted(found, key=lambda each: self.configuration.seeds.index(each[2]))

    def _settings(self, runs: Iterable[Run]) -> list[tuple[Setting, int]]:
        """Settings and seeds that are wanted where nothing is varied."""
        ended = _ended(run for run in runs if run.spec.task == self.configuration.task)
        lines, is_decided = self._lines(ended)
        longest = _longest(lines)
        found: dict[Setting, Sequence[int]] = {}
        for line in lines:
            seeds = self.configuration.seeds if is_decided and line in longest else self.first
            results = _results(line, ended)
            rates = wanted(line[0].learning_rate, self.first, seeds, results, self._sign)
            if is_decided and line not in longest and _is_compared(line, longest):
                best = self._best(line, ended)
                rates |= {} if best is None else {best: self.configuration.seeds}
            found |= {_at(line, rate): own for rate, own in rates.items()}
        return self._by_seed(found)

    def is_done(self, runs: Iterable[Run]) -> bool:
        """Whether all that it wants has ended, so that nothing will be added."""
        everything = list(runs)
        there = {
            (run.spec.task, (run.spec.optim, run.spec.method), run.spec.seed) for run in everything if _has_ended(run)
        }
        return there.issuperset(self.wanted(everything))

    def at_least(self) -> list[Wanted]:
        """What it trains if the best rate of each method is the one in the middle of the first ones, and no method gets
        better as soon as anybody can tell.
        """
        return self._of_parts(lambda part: part._fewest())

    def _fewest(self) -> list[tuple[Setting, int]]:
        times, lines = 0, [(arm.optim, arm.method) for arm in self.configuration.arms]
        while times < self._times and any(_can_be_tripled(line) and not can_tell(line[0], times > 0) for line in lines):
            times, lines = times + 1, [_tripled(line) for line in lines if _can_be_tripled(line)]
        return self._with_points(FIRST_POINTS, times)

    def at_most(self) -> list[Wanted]:
        """What it trains if every search tries as many rates as it may, :data:`FIRST_POINTS` of them with all seeds,
        for as many epochs as it may.
        """
        return self._of_parts(lambda part: part._with_points(MOST, part._times))

    def budgets(self, arm: Setting) -> list[int]:
        """Numbers of epochs that a method may be trained for, ascending. Args: arm: as it was asked for."""
        lines = [arm]
        while len(lines) <= self._times and _can_be_tripled(lines[-1]):
            lines.append(_tripled(lines[-1]))
        return [line[0].epochs for line in lines]

    def _with_points(self, count: int, times: int) -> list[tuple[Setting, int]]:
        found: dict[Setting, Sequence[int]] = {}
        lines = [(arm.optim, arm.method) for arm in self.configuration.arms]
        for _ in range(times):
            lines += [_tripled(line) for line in _longest(lines) if _can_be_tripled(line)]
        longest = _longest(lines)
        for line in lines:
            near = rates_around(line[0].learning_rate, FIRST_POINTS if line in longest else 0)
            for rate in rates_around(line[0].learning_rate, count):
                found[_at(line, rate)] = self.configuration.seeds if rate in near else self.first
            if line not in longest and _is_compared(line, longest):
                found[_at(line, rates_around(line[0].learning_rate, 1)[0])] = self.configuration.seeds
        return self._by_seed(found)

    def _by_seed(self, found: Mapping[Setting, Sequence[int]]) -> list[tuple[Setting, int]]:
        pairs = [(setting, seed) for setting, seeds in found.items() for seed in seeds]
        return sorted(pairs, key=lambda pair: self.configuration.seeds.index(pair[1]))

    def with_more(self, arms: Sequence[Setting], seeds: Sequence[int]) -> Self:
        """The plan with more methods, ranks and seeds; those that it has keep the rate that their search began at."""
        known = {_without_rate((arm.optim, arm.method)) for arm in self.configuration.arms}
        new: dict[Setting, Setting] = {}
        for setting in arms:
            if _without_rate(setting) not in known:
                new.setdefault(_without_rate(setting), setting)
        more = tuple(ArmSpec.of(optim=optim, method=method) for optim, method in new.values())
        everything = tuple(dict.fromkeys([*self.configuration.seeds, *seeds]))
        return self.but(configuration=self.configuration.but(arms=(*self.configuration.arms, *more), seeds=everything))

    def with_queued(self, specs: Iterable[RunSpec]) -> Self:
        """The plan once these runs have been queued."""
        return self.but(queued=tuple(dict.fromkeys([*self.queued, *((spec.arm, spec.seed) for spec in specs)])))

    def asks_for(self, asked: Configuration) -> bool:
        """Whether it has, or will have, an answer to what is asked for: the same with at least these seeds."""
        seeds = self.configuration.seeds
        return set(asked.seeds) <= set(seeds) and self.configuration.asks_the_same(asked.but(seeds=seeds))

    def _lines(self, ended: Ended) -> tuple[list[Setting], bool]:
        """Each method at each size and number of epochs, at the rate that its search begins around; and whether the
        last of these numbers is decided, so that all seeds are to be trained with it.
        """
        lines = [(arm.optim, arm.method) for arm in self.configuration.arms]
        shortest = {_what(line): line[0].epochs for line in lines[::-1]}
        while True:
            longest = _longest(lines)
            most = {line: shortest[_what(line)] * LONGER**self._times for line in longest}
            able = [line for line in longest if line[0].epochs < most[line] and _can_be_tripled(line)]
            if not able:
                return lines, True
            if not all(self._is_over(line, ended) for line in longest):
                return lines, False
            least = min(line[0].epochs for line in able)
            is_behind = LONGER * least <= max(line[0].epochs for line in longest)  # a method that was added later
            if not is_behind and not any(self._gets_better(line, lines, ended) for line in longest):
                return lines, True
            next_lines = [line for line in able if line[0].epochs == least]
            lines += [_tripled(_at(line, self._best(line, ended) or line[0].learning_rate)) for line in next_lines]

    def _search(self, line: Setting, ended: Ended) -> dict[float, tuple[int, ...]]:
        """The learning rates that a line is to be trained at with the first seeds."""
        return wanted(line[0].learning_rate, self.first, self.first, _results(line, ended), self._sign)

    def _is_over(self, line: Setting, ended: Ended) -> bool:
        """Whether the first seeds have ended at all of these."""
        results = _results(line, ended)
        return all(set(seeds) <= results.get(rate, {}).keys() for rate, seeds in self._search(line, ended).items())

    def _best(self, line: Setting, ended: Ended) -> float | None:
        """The best of these so far; None where all have diverged."""
        return best_rate(self._search(line, ended), self.first, _results(line, ended), self._sign)

    def _runs_at_best(self, line: Setting, ended: Ended) -> Mapping[int, Run]:
        """Runs of the best rate, by seed; none where all have diverged."""
        best = self._best(line, ended)
        return {} if best is None else ended[_without_rate(line)][best]

    def _gets_better(self, line: Setting, lines: Sequence[Setting], ended: Ended) -> bool:
        """Whether the first seeds would gain half the margin with three times the epochs, or nobody can tell."""
        own = self._runs_at_best(line, ended)
        shorter: Mapping[int, Run] = {}
        for other in lines:
            if _is_compared(other, [line]):
                shorter = self._runs_at_best(other, ended)
        runs = [own[seed] for seed in self.first if seed in own]
        if not runs:
            return False
        gains = [gain(run, shorter.get(run.spec.seed)) for run in runs]
        known = [each for each in gains if each is not None]
        return len(known) < len(gains) or fmean(known) >= self.configuration.objective.margin / 2

    @property
    def _times(self) -> int:
        return self.configuration.tune.longer if self.configuration.tune is not None else 0

    @property
    def _sign(self) -> float:
        return self.configuration.objective.primary.sign


def _ended(runs: Iterable[Run]) -> Ended:
    found: dict[Setting, dict[float, dict[int, Run]]] = {}
    for run in filter(_has_ended, runs):
        by_rate = found.setdefault(_without_rate((run.spec.optim, run.spec.method)), {})
        by_rate.setdefault(run.spec.optim.learning_rate, {})[run.spec.seed] = run
    return found


def _results(line: Setting, ended: Ended) -> Results:
    """What the runs of a line have reached on the validation part."""
    by_rate = ended.get(_without_rate(line), {})
    return {rate: {seed: _value(run) for seed, run in runs.items()} for rate, runs in by_rate.items()}


def _value(run: Run) -> float | None:
    """The measure by which settings are chosen; None where training has made it unusable."""
    value = run.validated
    return value if run.state == "finished" and value is not None and math.isfinite(value) else None


def _has_ended(run: Run) -> bool:
    """Whether a run says something of its rate; one that failed for another reason is to be trained again."""
    return run.state == "finished" or run.has_diverged


def _at(setting: Setting, rate: float) -> Setting:
    return setting[0].but(learning_rate=rate), setting[1]


@lru_cache(maxsize=4096)
def _without_rate(setting: Setting) -> Setting:
    """A key that is equal for settings that differ only in the learning rate."""
    return _at(setting, 1.0)


def _tripled(line: Setting) -> Setting:
    return line[0].but(epochs=LONGER * line[0].epochs), line[1]


def _can_be_tripled(line: Setting) -> bool:
    """Whether it is a number of epochs that runs take, and training ends with it and not by itself."""
    return not line[0].patience and can_be_longer(line[0])


@lru_cache(maxsize=4096)
def _what(line: Setting) -> tuple[OptimSpec, MethodSpec]:
    """A key that is equal for lines that differ only in rate and number of epochs."""
    return line[0].but(learning_rate=1.0, epochs=1), line[1]


def _longest(lines: Sequence[Setting]) -> list[Setting]:
    """Of each method and size the line of the most epochs: the others are what it is compared with."""
    most: dict[tuple[OptimSpec, MethodSpec], int] = {}
    for line in lines:
        most[_what(line)] = max(line[0].epochs, most.get(_what(line), 0))
    return [line for line in lines if line[0].epochs == most[_what(line)]]


def _is_compared(line: Setting, longest: Iterable[Setting]) -> bool:
    """Whether a line has a third of the epochs of one of these, whose learning rate decays, and is otherwise alike."""
    return any(
        other[0].decay != "constant" and _what(other) == _what(line) and other[0].epochs == LONGER * line[0].epochs
        for other in longest
    )
