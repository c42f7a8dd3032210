"""How much of the error rate a look may use: more seeds release more of it, and what one look used is gone.

All looks up to n seeds may use α*(n) = 0.05 · (1 − 3/n) together, so that whoever adds seeds and looks again, until
something is shown or for ever, makes a false claim in at most about 5 % of experiments. An error-spending function is
that of Lan and DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70 (1983); this one grows with
the seeds because nobody knows beforehand how many there will be.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.study.stats.intervals import ERROR_RATE, MIN_SEEDS

ROUNDING = 1e-12
"""What a p-value may be above a level that it equals: with 8 seeds both may be 8 / 256."""


def spent(seeds: int) -> float:
    """The share of the error rate that all looks up to this number of seeds may use together."""
    return ERROR_RATE * max(0.0, 1 - MIN_SEEDS / seeds) if seeds else 0.0


def level_of(seeds: int, looks: Iterable[int] = ()) -> float:
    """The two-sided level at which a look tests: what may be used now, less what looks with fewer seeds have used.

    A look whose level is below 2^(1 − n), the least p-value of n signs, can claim nothing; so it uses nothing.

    Args:
        seeds: of the look.
        looks: numbers of seeds of other looks at the same question. One with as many seeds is this look; after one with
            more, as where runs were deleted, nothing is left.

    Returns:
        0 for a look that can claim nothing, as all below 7 seeds and one a seed after another are.
    """
    others = set(looks)
    if any(look > seeds for look in others):
        return 0.0
    level = last = 0.0
    for n in [*sorted(others - {seeds}), seeds]:
        level = spent(n) - last
        if 2.0 ** (1 - n) > level + ROUNDING:
            level = 0.0
        else:
            last = spent(n)
    return level


CLAIM_SEEDS = next(n for n in range(2, 100) if level_of(n))
"""Minimum number of seeds of a first look that can show anything, whatever the number of settings."""


def next_look(seeds: int, looks: Iterable[int] = ()) -> int:
    """The number of seeds that a further look is proposed for: twice as many, and as many as a claim takes."""
    spent_by = (*looks, *([seeds] if seeds else []))
    return next(n for n in range(max(2 * seeds, CLAIM_SEEDS), 10**6) if level_of(n, spent_by))
