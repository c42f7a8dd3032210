"""How much of the error rate a look may use, and what it can show."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from scipy.special import ndtri, stdtrit

from core.results.intervals import DEFAULT_SEEDS, ERROR_RATE, MIN_SEEDS
from core.rule.family import Crossed

CLAIM_SEEDS = 7
"""Minimum number of seeds of a look that tests: one with fewer shows nothing and uses nothing of the error rate."""


def spent(seeds: int) -> float:
    """The share of the error rate that all looks up to this number of seeds may use together: 0.05 · (1 − 3/n).

    Whoever adds seeds and looks again, until something is shown or for ever, makes a false claim in at most about 5 %
    of experiments. Error-spending functions are those of Lan and DeMets, "Discrete sequential boundaries for clinical
    trials", Biometrika 70 (1983); this one grows with the seeds because nobody knows beforehand how many there will be.
    """
    return ERROR_RATE * max(0.0, 1 - MIN_SEEDS / seeds) if seeds else 0.0


def level_of(seeds: int, looks: Iterable[int] = ()) -> float:
    """The two-sided level at which a look tests: what may be used now, less what looks with fewer seeds have used.

    Args:
        seeds: of the look.
        looks: numbers of seeds of other looks at the same question. One with as many seeds is this look; after one with
            more, as where runs were deleted, nothing is left.

    Returns:
        0 for a look that tests nothing: below :data:`CLAIM_SEEDS`, and after one with more seeds.
    """
    last = max((look for look in looks if look >= CLAIM_SEEDS and look != seeds), default=0)
    return spent(seeds) - spent(last) if seeds >= max(CLAIM_SEEDS, last) else 0.0


def next_look(seeds: int, looks: Iterable[int] = ()) -> int:
    """The number of seeds that a further look is proposed for: twice as many, as many as a claim takes, and more than
    any look has had.
    """
    return max(2 * seeds, CLAIM_SEEDS, max(looks, default=0) + 1)


POWER = 0.8
"""Probability with which the smallest difference is shown."""

MAX_SEEDS = 256
"""Maximum number of seeds that is named: what takes more counts as out of reach."""

GUESSED = (1.29, 0.71)
"""Divisors for the range of what is guessed from the spread of eight seeds: 10 and 90 % of guesses over truth."""


@dataclass(frozen=True)
class Design:
    """What determines what can be shown, in the measure's unit."""

    seed: float
    """Standard deviation of paired differences over seeds."""
    example: float
    """The same over test examples."""
    rest: float
    """The same of what is left."""
    examples: int
    """Number of test examples; 1 where the spread over seeds has theirs in it."""
    settings: int
    """Number of settings that are tested together."""
    width: float = math.inf
    """Distance of the measure's bounds; see :func:`core.rule.family.fewest_p`."""

    @property
    def varies(self) -> bool:
        """Whether seeds or test examples differ at all: not where every setting is right on all examples."""
        return any((self.seed, self.example, self.rest))

    def scaled(self, factor: float) -> Design:
        """The same with all spreads times a factor, such as the ends of :data:`GUESSED`."""
        return replace(self, seed=factor * self.seed, example=factor * self.example, rest=factor * self.rest)

    def _expected(self, seeds: int) -> Crossed:
        """What so many seeds would give, with expected mean squares."""
        n, N, rest = seeds, self.examples, self.rest**2
        example = n * self.example**2 + rest if N > 1 else rest
        return Crossed(0.0, n, N, N * self.seed**2 + rest, example, rest)

    def smallest(self, seeds: int, looks: Iterable[int] = ()) -> float | None:
        """The smallest difference that this look shows with 80 % probability; None where it can claim nothing.

        (t(1 − a / 2m, df) + t(0.8, df)) · standard error, with the level a of the look and m settings: sample size of a
        paired t test (Zar, "Biostatistical Analysis", 5th ed., 2010), over seeds and examples. In simulations with 7 to
        16 seeds and 1 to 6 settings it was shown in 76 to 80 %.
        """
        level = level_of(seeds, looks)
        if not level:
            return None
        found = self._expected(seeds)
        quantiles = float(stdtrit(found.df, 1 - level / (2 * self.settings)) + stdtrit(found.df, POWER))
        return quantiles * found.error

    @property
    def floor(self) -> float:
        """The smallest difference with any number of seeds: what is left is the spread over test examples."""
        return self._z * self.example / math.sqrt(self.examples) if self.examples > 1 else 0.0

    @property
    def _z(self) -> float:
        """Standard errors that a difference needs with any number of seeds."""
        return float(ndtri(1 - ERROR_RATE / (2 * self.settings)) + ndtri(POWER))

    def seeds_for(self, margin: float, looks: Iterable[int] = ()) -> int | None:
        """The number of seeds of one look with which differences of this size are shown; None for out of reach.

        It is also what "good enough within this margin" takes where the methods are equal.
        """
        known = tuple(looks)
        sizes = ((n, self.smallest(n, known)) for n in range(CLAIM_SEEDS, MAX_SEEDS + 1))
        return next((n for n, size in sizes if size is not None and size <= margin), None)

    def examples_for(self, margin: float) -> int:
        """The number of test examples with which "good enough" is not out of reach; 0 for any number."""
        return max(math.ceil((self._z * self.example / margin) ** 2), self._fewest(margin)) if margin > 0 else 0

    def is_out_of_reach(self, margin: float, level: float | None = None) -> bool:
        """Whether "good enough" within a margin takes more test examples, whatever the number of seeds.

        Args:
            margin: in the measure's unit.
            level: of the look, above 0; None for a first look.
        """
        return self.floor > margin > 0 or 1 < self.examples < self._fewest(margin, level)

    def _fewest(self, margin: float, level: float | None = None) -> int:
        """The number of test examples with which :func:`core.rule.family.fewest_p` allows a look."""
        share, at = margin / self.width, level_of(DEFAULT_SEEDS) if level is None else level
        return math.ceil(math.log(at / 2) / math.log1p(-share)) if 0 < share < 1 else 0
