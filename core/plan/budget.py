"""How long a method trains: which numbers of epochs are tried, and which one is chosen.

Epochs are found as learning rates are, for each method and rank by itself, by the mean of the primary measure on the
validation part over the seeds of the search, each number of epochs at its own best rate. Chosen are the fewest epochs
that are within half a margin of the best. While these are the most or the fewest that were tried, three times as many,
or a third of them, are tried as well. The best epoch of one long run is no number of epochs that was tried: the maximum
over more evaluations can only rise with their noise, so that longer runs would always win.

Where three times as many were not tried, the trend of the runs bounds what they would add (:func:`gain`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from core.plan.search import SETTLED_DIGITS, Results, best_rate, mean_of, wanted
from core.run_spec import OptimSpec
from core.spec import bounds
from core.store.record import Run

LONGER = 3
"""Factor between two numbers of epochs that are tried."""

MIN_EPOCHS = 10
"""Minimum number of epochs whose trend says something: fewer were not simulated."""


def third(epochs: int) -> int:
    """A third of a number of epochs, rounded, at least one."""
    return max(1, round(epochs / LONGER))


def is_third(fewer: int, more: int) -> bool:
    """Whether one number of epochs is about a third of another, as far as whole numbers can be."""
    return fewer < more and (more == LONGER * fewer or fewer == third(more))


def fewest_good(means: Mapping[int, float], margin: float, sign: float) -> int | None:
    """The number of epochs that is chosen: the fewest within half a margin of the best; None without any.

    Args:
        means: of the primary measure on the validation part, by number of epochs.
        margin: of the experiment.
        sign: 1 where a higher measure is better, −1 where a lower one is.
    """
    best = max((sign * mean for mean in means.values()), default=math.inf)
    good = [epochs for epochs, mean in means.items() if round(best - sign * mean - margin / 2, SETTLED_DIGITS) <= 0]
    return min(good, default=None)


Rates = dict[float, tuple[int, ...]]
"""Seeds by learning rate."""


@dataclass(frozen=True)
class Search:
    """What one method at one size is to be trained for, as far as the results so far tell."""

    first: tuple[int, ...]
    """Seeds of the search."""
    seeds: tuple[int, ...]
    """All seeds, with which the chosen number of epochs is trained, and the best rate of both numbers beside it."""
    sign: float
    """1 where a higher measure is better, −1 where a lower one is."""
    margin: float
    """Of the experiment."""
    thirds: int
    """How many times it may train for a third of the epochs that were asked for."""
    times: int
    """How many times it may train for three times as many."""

    def wanted(self, asked: Sequence[tuple[int, float]], results: Mapping[int, Results]) -> dict[int, Rates]:
        """Learning rates and seeds by number of epochs; only ever more as results come.

        Args:
            asked: numbers of epochs, each with the rate that its search begins around. The search begins with the first
                of them; what was added later is tried when that has ended.
            results: what ended, by number of epochs.
        """
        (begin, rate), *added = asked
        priors, treated, chosen = {begin: rate}, list[int](), None
        while True:
            found = {epochs: self._rates(prior, results.get(epochs, {})) for epochs, prior in priors.items()}
            if not self._have_ended(found, results):
                return found
            best = {epochs: best_rate(rates, self.first, results[epochs], self.sign) for epochs, rates in found.items()}
            if chosen is None and (chosen := self._fewest_good(best, results, self.first)) is None:
                return found
            more = self._next(priors, chosen, begin)
            added = [(epochs, prior) for epochs, prior in added if epochs not in priors]
            if more is not None:
                priors[more] = best[chosen] or rate
            elif added:
                priors |= dict([added.pop(0)])
            if len(priors) > len(found):
                chosen = chosen if treated else None
                continue
            treated.append(chosen)
            for epochs in treated:
                found[epochs] = wanted(priors[epochs], self.first, self.seeds, results[epochs], self.sign)
            for epochs, own in best.items():
                if own is not None and any(is_third(epochs, n) or is_third(n, epochs) for n in treated):
                    found[epochs][own] = self.seeds
            if not self._have_ended(found, results):
                return found
            whole = {n: [rate for rate, own in rates.items() if own == self.seeds] for n, rates in found.items()}
            preferred = {n: best_rate(rates, self.seeds, results[n], self.sign) for n, rates in whole.items() if rates}
            chosen = self._fewest_good(preferred, results, self.seeds)
            if chosen is None or chosen in treated:
                return found

    def _fewest_good(
        self, rates: Mapping[int, float | None], results: Mapping[int, Results], seeds: Sequence[int]
    ) -> int | None:
        """The number of epochs that some seeds choose. Args: rates: the best of each number of epochs."""
        known = {n: mean_of(rate, seeds, results[n]) for n, rate in rates.items() if rate is not None}
        return fewest_good({n: mean for n, mean in known.items() if mean is not None}, self.margin, self.sign)

    def _rates(self, prior: float, results: Results) -> Rates:
        """The learning rates that a number of epochs is to be trained at with the first seeds."""
        return wanted(prior, self.first, self.first, results, self.sign)

    def _have_ended(self, found: Mapping[int, Rates], results: Mapping[int, Results]) -> bool:
        places = [
            (results.get(epochs, {}).get(rate, {}), own) for epochs, of in found.items() for rate, own in of.items()
        ]
        return all(set(own) <= ended.keys() for ended, own in places)

    def _next(self, tried: Collection[int], chosen: int, begin: int) -> int | None:
        """The number of epochs to be tried next; None where the chosen one lies between others, or no other may be."""
        more, fewer, least = LONGER * chosen, third(chosen), begin
        for _ in range(self.thirds):
            least = third(least)
        if chosen == max(tried) and more <= begin * LONGER**self.times and can_be_longer(chosen):
            return more
        return fewer if chosen == min(tried) and least <= fewer < chosen else None


def can_be_longer(epochs: int) -> bool:
    """Whether runs can take three times as many epochs."""
    return LONGER * epochs <= (bounds(OptimSpec, "epochs").high or math.inf)


def can_tell(optim: OptimSpec, has_shorter: bool) -> bool:
    """Whether runs with these settings tell what longer ones would gain.

    Args:
        optim: of the runs.
        has_shorter: whether there are others with a third of their epochs.
    """
    if optim.patience:
        return False
    return optim.epochs >= MIN_EPOCHS if optim.decay == "constant" else has_shorter


def gain(run: Run, shorter: Run | None = None) -> float | None:
    """What three times the epochs would add to the primary measure on the validation part, positive where it gets
    better; None where that is not known.

    Where the learning rate is constant, the run's own curve says it: its trend over the last two thirds of the epochs.
    A rate that decays to zero belongs to its number of epochs, so that its curve says nothing of longer ones: there a
    run with a third of the epochs does. A run that stopped by its own patience stopped where its curve happened to be
    flat, which says nothing either.

    Args:
        run: finished.
        shorter: of a learning rate that decays, a finished run of the same seed with a third of the epochs.
    """
    optim, objective = run.spec.optim, run.spec.objective
    if run.result is None or not can_tell(optim, shorter is not None):
        return None
    if optim.decay == "constant":
        known = (run.result.trends or {}).get(objective.validated)
    else:
        values = run.validated, shorter.validated if shorter is not None else None
        known = values[0] - values[1] if values[0] is not None and values[1] is not None else None
    return objective.primary.sign * known if known is not None and math.isfinite(known) else None
