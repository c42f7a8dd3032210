"""Plans of experiments: what was asked for, from which follows what is to be trained after each result.

An experiment whose learning rates are searched for has one in the store. It is a function of what was asked for and of
the results that are there (:mod:`core.plan.search`), so that it needs no state of its own, and whoever extends it finds
the same. The only thing that it remembers is what it has queued: what is missing of that was deleted by somebody.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from pydantic import Field

from core.plan.configuration import ArmSpec, Configuration
from core.plan.experiment import Setting
from core.plan.rate_grid import rates_around
from core.plan.search import FIRST_POINTS, MOST, Results, search_seeds, wanted
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

    def wanted(self, runs: Iterable[Run]) -> list[tuple[Setting, int]]:
        """Settings and seeds that are to be trained, as far as the results so far tell, ordered by seed.

        Args:
            runs: of the experiment, in any state.
        """
        found: dict[Setting, Sequence[int]] = {}
        for line, results in self._results(runs).items():
            rates = wanted(line[0].learning_rate, self.first, self.configuration.seeds, results, self._sign)
            found |= {_at(line, rate): seeds for rate, seeds in rates.items()}
        return self._by_seed(found)

    def is_done(self, runs: Iterable[Run]) -> bool:
        """Whether all that it wants has ended, so that nothing will be added."""
        everything = list(runs)
        there = {(run.spec.optim, run.spec.method, run.spec.seed) for run in everything if _has_ended(run)}
        return all((*setting, seed) in there for setting, seed in self.wanted(everything))

    def at_least(self) -> list[tuple[Setting, int]]:
        """What it trains if the best rate of each method is the one in the middle of the first ones."""
        return self._with_points(FIRST_POINTS)

    def at_most(self) -> list[tuple[Setting, int]]:
        """What it trains if every search tries as many rates as it may, :data:`FIRST_POINTS` of them with all seeds."""
        return self._with_points(MOST)

    def _with_points(self, count: int) -> list[tuple[Setting, int]]:
        found: dict[Setting, Sequence[int]] = {}
        for line in self._lines:
            near = rates_around(line[0].learning_rate, FIRST_POINTS)
            for rate in rates_around(line[0].learning_rate, count):
                found[_at(line, rate)] = self.configuration.seeds if rate in near else self.first
        return self._by_seed(found)

    def _by_seed(self, found: Mapping[Setting, Sequence[int]]) -> list[tuple[Setting, int]]:
        pairs = [(setting, seed) for setting, seeds in found.items() for seed in seeds]
        return sorted(pairs, key=lambda pair: self.configuration.seeds.index(pair[1]))

    def with_more(self, arms: Sequence[Setting], seeds: Sequence[int]) -> Self:
        """The plan with more methods, ranks and seeds; those that it has keep the rate that their search began at."""
        known = {_without_rate(line) for line in self._lines}
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

    @property
    def _lines(self) -> list[Setting]:
        """Each method at each size, at the rate that its search begins around."""
        return [(arm.optim, arm.method) for arm in self.configuration.arms]

    @property
    def _sign(self) -> float:
        return self.configuration.objective.primary.sign

    def _results(self, runs: Iterable[Run]) -> dict[Setting, Results]:
        """What the runs of each line have reached on the validation part."""
        found: dict[Setting, dict[float, dict[int, float | None]]] = {_without_rate(line): {} for line in self._lines}
        for run in filter(_has_ended, runs):
            value = run.validated
            known = value if run.state == "finished" and value is not None and math.isfinite(value) else None
            by_rate = found.setdefault(_without_rate((run.spec.optim, run.spec.method)), {})
            by_rate.setdefault(run.spec.optim.learning_rate, {})[run.spec.seed] = known
        return {line: found[_without_rate(line)] for line in self._lines}


def _has_ended(run: Run) -> bool:
    """Whether a run says something of its rate; one that failed for another reason is to be trained again."""
    return run.state == "finished" or run.has_diverged


def _at(setting: Setting, rate: float) -> Setting:
    return setting[0].but(learning_rate=rate), setting[1]


def _without_rate(setting: Setting) -> Setting:
    """A key that is equal for settings that differ only in the learning rate."""
    return _at(setting, 1.0)
