"""How long a method trains: which numbers of epochs are tried, and which one is chosen.

Epochs are found as learning rates are, for each method and rank by itself, by the mean of the primary measure on the
validation part, each number of epochs at its own best rate. Chosen are the fewest that are within half a margin of the
best. The first seeds choose while the chosen number is the most or the fewest that was tried: then three times as many,
or a third of them, are tried as well. All seeds choose among that number and its two neighbors, and go on from there.
The best epoch of one long run is no number of epochs that was tried: the maximum over more evaluations can only rise
with their noise, so that longer runs would always win.

Where three times as many were not tried, the trend of the runs bounds what they would add, by
:func:`core.results.grid.gain`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.plan.search import wanted
from core.results.grid import LONGER, ByRate, best_rate, can_be_longer, fewest_good, is_third, mean_of, third

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

    def wanted(self, asked: Sequence[tuple[int, float]], results: Mapping[int, ByRate]) -> dict[int, Rates]:
        """Learning rates and seeds by number of epochs; only ever more as results come.

        Args:
            asked: numbers of epochs, each with the rate that its search begins around. The first of them begins; what
                was added later is tried when the first seeds have found no other.
            results: what ended, by number of epochs.
        """
        priors: dict[int, float] = {}
        chosen, begin = None, asked[0][0]
        for epochs, prior in asked:
            priors.setdefault(epochs, prior)
            chosen = self._between(None, priors, results, begin)
            if chosen is None:
                return self._by_first(priors, results)
        treated: list[int] = []
        while chosen is not None and chosen not in treated:
            if self._between(chosen, priors, results, begin) is None:
                break
            treated.append(chosen)
            found = self._by_all(priors, treated, results)
            if not _have_ended(found, results):
                break
            whole = {n: [rate for rate, own in rates.items() if own == self.seeds] for n, rates in found.items()}
            chosen = self._fewest_good({n: rates for n, rates in whole.items() if rates}, results, self.seeds)
        return self._by_all(priors, treated, results)

    def _between(
        self, chosen: int | None, priors: dict[int, float], results: Mapping[int, ByRate], begin: int
    ) -> int | None:
        """The chosen number of epochs, once the first seeds have tried what lies beside it; None while runs are
        missing, and where all have diverged.

        Args:
            chosen: by all seeds; None where the first ones choose.
            priors: the rate that each search begins around, by number of epochs; what is to be tried is added.
            results: what ended.
            begin: the number of epochs that the search began with.
        """
        while True:
            found = self._by_first(priors, results)
            if not _have_ended(found, results):
                return None
            own = chosen or self._fewest_good(found, results, self.first)
            more = None if own is None else self._next(priors, own, begin)
            if own is None or more is None:
                return own
            priors[more] = best_rate(found[own], self.first, results[own], self.sign) or priors[own]

    def _by_first(self, priors: Mapping[int, float], results: Mapping[int, ByRate]) -> dict[int, Rates]:
        """What the first seeds are to train with each number of epochs."""
        return {n: wanted(prior, self.first, self.first, results.get(n, {}), self.sign) for n, prior in priors.items()}

    def _by_all(
        self, priors: Mapping[int, float], treated: Sequence[int], results: Mapping[int, ByRate]
    ) -> dict[int, Rates]:
        """The same, and what all seeds are to: some numbers of epochs, and the best rate of those beside them."""
        found = self._by_first(priors, results)
        for epochs in treated:
            beside = [n for n in found if is_third(n, epochs) or is_third(epochs, n)]
            best = {n: best_rate(found[n], self.first, results[n], self.sign) for n in beside}
            found[epochs] |= wanted(priors[epochs], self.first, self.seeds, results[epochs], self.sign)
            for n, rate in best.items():
                found[n] |= {} if rate is None else {rate: self.seeds}
        return found

    def _fewest_good(
        self, rates: Mapping[int, Iterable[float]], results: Mapping[int, ByRate], seeds: Sequence[int]
    ) -> int | None:
        """The number of epochs that some seeds choose, each at its best rate. Args: rates: by number of epochs."""
        best = {n: best_rate(own, seeds, results[n], self.sign) for n, own in rates.items()}
        means = {n: mean_of(rate, seeds, results[n]) for n, rate in best.items() if rate is not None}
        return fewest_good({n: mean for n, mean in means.items() if mean is not None}, self.margin, self.sign)

    def _next(self, tried: Collection[int], chosen: int, begin: int) -> int | None:
        """The number of epochs to be tried next; None where the chosen one lies between others, or no other may be."""
        more, fewer, least = LONGER * chosen, third(chosen), begin
        for _ in range(self.thirds):
            least = third(least)
        if chosen == max(tried) and more <= begin * LONGER**self.times and can_be_longer(chosen):
            return more
        return fewer if chosen == min(tried) and least <= fewer < chosen else None


def _have_ended(found: Mapping[int, Rates], results: Mapping[int, ByRate]) -> bool:
    """Whether all of these runs have."""
    places = [(results.get(n, {}).get(rate, {}), own) for n, rates in found.items() for rate, own in rates.items()]
    return all(set(own) <= ended.keys() for ended, own in places)
