"""Plans of experiments: what was asked for, from which follows what is to be trained after each result.

An experiment whose learning rates are searched for has one in the store. It is a function of what was asked for and of
the results that are there (:mod:`core.plan.search`), so that it needs no state of its own, and whoever extends it finds
the same. The only thing that it remembers is what it has queued: what is missing of that was deleted by somebody.

Epochs are found for each method and rank by itself (:mod:`core.plan.budget`): rates are searched for with the first
seeds alone at the number of epochs that was asked for, then at three times as many or a third, around the best rate so
far, as long as the chosen number is at an end of those tried. Then all seeds are trained with the chosen one, and with
the best rate of both numbers beside it; where all seeds choose one of these, it is treated alike.

The plan of a study is one such plan for each point of its axis (:mod:`core.plan.axes`), with one set of seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Self

from pydantic import Field

from core.plan.budget import Search
from core.plan.configuration import ArmSpec, Configuration
from core.plan.experiment import Recipe, Wanted
from core.plan.search import FIRST_POINTS, MOST, rates_around, search_seeds
from core.results.grid import LONGER, ByRate, can_be_longer, third
from core.run_spec import RunSpec
from core.spec import Spec
from core.store.record import Run

Place = tuple[str, int]
"""Key of an arm and a seed: one run of an experiment."""


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
        return spec.task == self.configuration.task and self._kind((spec.optim, spec.method)) in self._own

    @cached_property
    def _own(self) -> frozenset[Recipe]:
        """What :meth:`has` knows the runs by."""
        return frozenset(self._kind((arm.optim, arm.method)) for arm in self.configuration.arms)

    def _kind(self, setting: Recipe) -> Recipe:
        """What the runs of a search for one method have in common."""
        return _without_epochs(setting) if self.finds_epochs else _without_rate(setting)

    def wanted(self, runs: Iterable[Run]) -> list[Wanted]:
        """What is to be trained, as far as the results so far tell, ordered by seed.

        Args:
            runs: of the experiment, in any state.
        """
        everything = list(runs)
        return self._of_parts(lambda part: part._settings(everything))

    def _of_parts(self, read: Callable[[Plan], Sequence[tuple[Recipe, int]]]) -> list[Wanted]:
        """What is read of the plan at each point, with the task there, each once, ordered by seed."""
        found = dict.fromkeys((part.configuration.task, *pair) for part in self.parts for pair in read(part))
        return sorted(found, key=lambda each: self.configuration.seeds.index(each[2]))

    def _settings(self, runs: Iterable[Run]) -> list[tuple[Recipe, int]]:
        """Settings and seeds that are wanted where nothing is varied."""
        results = self._results(run for run in runs if run.spec.task == self.configuration.task)
        found: dict[Recipe, Sequence[int]] = {}
        for asked in self._searches:
            optim, method = asked[0]
            search = self._search if self._can_vary(asked[0]) else replace(self._search, thirds=0, times=0)
            priors = [(own.epochs, own.learning_rate) for own, _ in asked]
            for epochs, rates in search.wanted(priors, results.get(self._kind(asked[0]), {})).items():
                found |= {(optim.but(epochs=epochs, learning_rate=rate), method): own for rate, own in rates.items()}
        return self._by_seed(found)

    def is_done(self, runs: Iterable[Run]) -> bool:
        """Whether all that it wants has ended, so that nothing will be added."""
        everything = list(runs)
        there = {
            (run.spec.task, (run.spec.optim, run.spec.method), run.spec.seed) for run in everything if _has_ended(run)
        }
        return there.issuperset(self.wanted(everything))

    def at_least(self) -> list[Wanted]:
        """What it trains if the best rate of each method is the one in the middle of the first ones, and the number of
        epochs that was asked for is the one that is chosen.
        """
        return self._of_parts(lambda part: part._with_points(FIRST_POINTS, part.expected))

    def at_most(self) -> list[Wanted]:
        """More than it ever trains: as many rates and numbers of epochs as every search may try, and with all seeds
        :data:`FIRST_POINTS` rates of the most epochs, and of those that were asked for.
        """
        return self._of_parts(lambda part: part._with_points(MOST, part._every))

    def expected(self, asked: Recipe) -> dict[int, int]:
        """Numbers of epochs that a method is trained for if that which was asked for is chosen, and how many learning
        rates of each get all seeds. Args: asked: the method as it was asked for.
        """
        return {each: FIRST_POINTS if each == asked[0].epochs else 1 for each in self._around(asked, 1)}

    def _every(self, asked: Recipe) -> dict[int, int]:
        """The same of all numbers of epochs that a search may try, if the most of them are chosen."""
        found = self._around(asked, max(self._thirds, self._times))
        return dict.fromkeys(found, 1) | dict.fromkeys((asked[0].epochs, max(found)), FIRST_POINTS)

    def _around(self, asked: Recipe, steps: int) -> list[int]:
        """Numbers of epochs up to some steps from that which was asked for."""
        found = [asked[0].epochs]
        if self._can_vary(asked):
            for _ in range(min(steps, self._thirds)):
                found.append(third(min(found)))
            for _ in range(min(steps, self._times)):
                found += [LONGER * max(found)] if can_be_longer(max(found)) else []
        return list(dict.fromkeys(found))

    def _with_points(self, count: int, epochs_of: Callable[[Recipe], Mapping[int, int]]) -> list[tuple[Recipe, int]]:
        found: dict[Recipe, Sequence[int]] = {}
        for optim, method in (setting for search in self._searches for setting in search):
            for epochs, whole in epochs_of((optim, method)).items():
                near = rates_around(optim.learning_rate, whole)
                for rate in rates_around(optim.learning_rate, count):
                    seeds = self.configuration.seeds if rate in near else self.first
                    setting = optim.but(learning_rate=rate, epochs=epochs), method
                    found[setting] = max(seeds, found.get(setting, ()), key=len)
        return self._by_seed(found)

    def _by_seed(self, found: Mapping[Recipe, Sequence[int]]) -> list[tuple[Recipe, int]]:
        pairs = [(setting, seed) for setting, seeds in found.items() for seed in seeds]
        return sorted(pairs, key=lambda pair: self.configuration.seeds.index(pair[1]))

    def with_more(self, arms: Sequence[Recipe], seeds: Sequence[int]) -> Self:
        """The plan with more methods, ranks and seeds; those that it has keep the rate that their search began at."""
        known = {_without_rate((arm.optim, arm.method)) for arm in self.configuration.arms}
        new: dict[Recipe, Recipe] = {}
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

    @property
    def finds_epochs(self) -> bool:
        """Whether numbers of epochs are searched for; a study keeps those of its points."""
        return self._times > 0 or self._thirds > 0

    @cached_property
    def _searches(self) -> list[list[Recipe]]:
        """What was asked for, by method and size: numbers of epochs in the order in which they were."""
        found: dict[Recipe, list[Recipe]] = {}
        for arm in self.configuration.arms:
            found.setdefault(self._kind((arm.optim, arm.method)), []).append((arm.optim, arm.method))
        return list(found.values())

    def _can_vary(self, setting: Recipe) -> bool:
        """Whether the number of epochs of a setting may be another one: not where training ends by itself."""
        return self.finds_epochs and not setting[0].patience

    def _results(self, runs: Iterable[Run]) -> Mapping[Recipe, Mapping[int, ByRate]]:
        """What the runs that have ended reached on the validation part, by search and number of epochs."""
        found: dict[Recipe, dict[int, dict[float, dict[int, float | None]]]] = {}
        for run in filter(_has_ended, runs):
            own = found.setdefault(self._kind((run.spec.optim, run.spec.method)), {})
            by_rate = own.setdefault(run.spec.optim.epochs, {})
            by_rate.setdefault(run.spec.optim.learning_rate, {})[run.spec.seed] = _value(run)
        return found

    @property
    def _search(self) -> Search:
        objective, seeds = self.configuration.objective, self.configuration.seeds
        return Search(self.first, seeds, objective.primary.sign, objective.margin, self._thirds, self._times)

    @property
    def _times(self) -> int:
        """How many times a search may triple the epochs."""
        return self.configuration.tune.longer if self.configuration.tune is not None else 0

    @property
    def _thirds(self) -> int:
        """How many times it may train for a third of them."""
        return self.configuration.tune.shorter if self.configuration.tune is not None else 0


def _value(run: Run) -> float | None:
    """The measure by which settings are chosen; None where training has made it unusable."""
    value = run.validated
    return value if run.state == "finished" and value is not None and math.isfinite(value) else None


def _has_ended(run: Run) -> bool:
    """Whether a run says something of its rate; one that failed for another reason is to be trained again."""
    return run.state == "finished" or run.has_diverged


@lru_cache(maxsize=4096)
def _without_rate(setting: Recipe) -> Recipe:
    """A key that is equal for settings that differ only in the learning rate."""
    return setting[0].but(learning_rate=1.0), setting[1]


@lru_cache(maxsize=4096)
def _without_epochs(setting: Recipe) -> Recipe:
    """A key that is equal for settings that differ only in rate and number of epochs."""
    return setting[0].but(learning_rate=1.0, epochs=1), setting[1]
