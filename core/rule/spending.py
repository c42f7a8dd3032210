"""How much of the error rate a look may use: more seeds release more of it, and what one look used is gone.

All looks up to n seeds may use α*(n) = 0.05 · (1 − 3/n) together, so that whoever adds seeds and looks again, until
something is shown or for ever, makes a false claim in at most about 5 % of experiments. An error-spending function is
that of Lan and DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70 (1983); this one grows with
the seeds because nobody knows beforehand how many there will be.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.results.intervals import ERROR_RATE, MIN_SEEDS

CLAIM_SEEDS = 7
"""Minimum number of seeds of a look that tests: one with fewer shows nothing and uses nothing of the error rate."""


def spent(seeds: int) -> float:
    """The share of the error rate that all looks up to this number of seeds may use together."""
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
