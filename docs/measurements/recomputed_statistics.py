"""The statistics of answers by other means than the lab's, of which nothing is imported.

Sums of squares are added up cell by cell, Student's t is an incomplete beta function, the correction for a family is a
closed test of all its subsets, and levels are computed with whole numbers, without rounding.
Differences are (S, N) arrays of a setting minus full fine-tuning, for each seed and test example.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv

Values = NDArray[np.float64]
Around = Sequence[tuple[Values | None, Values | None]]
"""Of each setting the differences at the lower and at the higher neighbor of a learning rate."""

SHARE, FREE = Fraction(1, 20), 3
"""Of experiments with a false claim, and the number of seeds up to which looks may use none of it."""
LEAST = 7
"""Number of seeds of the smallest look that uses some of it."""


def mean_squares(d: Values) -> tuple[float, float, float, float]:
    """The mean, and the mean squares of seeds, of examples and of the rest; 0 where there is one example."""
    (S, N), table = d.shape, d.tolist()
    rows, columns = ([math.fsum(line) / len(line) for line in lines] for lines in (table, zip(*table, strict=True)))
    mean, rest = math.fsum(rows) / S, 0.0
    for seed in range(S):
        rest += math.fsum((table[seed][at] - rows[seed] - columns[at] + mean) ** 2 for at in range(N))
    seeds, examples = (math.fsum((own - mean) ** 2 for own in means) for means in (rows, columns))
    return mean, N * seeds / (S - 1), S * examples / max(N - 1, 1), rest / max((S - 1) * (N - 1), 1)


def variance(d: Values) -> tuple[float, float, float]:
    """The mean, its variance and the degrees of freedom: over seeds and examples, over seeds alone if that is more."""
    (S, N), (mean, seed, example, rest) = d.shape, mean_squares(d)
    if example <= rest * (1 + 1e-9):
        return mean, seed / (S * N), S - 1.0
    both = seed + example - rest
    df = both**2 / (seed**2 / (S - 1) + example**2 / (N - 1) + rest**2 / ((S - 1) * (N - 1)))
    return mean, both / (S * N), max(df, min(S - 1, N - 1))


def interval(d: Values, outside: float = 0.05) -> tuple[float, float, float]:
    """Mean, low and high end. Args: outside: how often the interval misses the mean."""
    mean, own, df = variance(d)  # t² = df (1 / x − 1), where x has so large an incomplete beta function
    half = math.sqrt(own * df * (1 / betaincinv(df / 2, 0.5, outside) - 1))
    return mean, mean - half, mean + half


def two_way_p(d: Values) -> float:
    """The two-sided p-value of a mean of 0 over seeds and examples."""
    mean, own, df = variance(d)
    if own <= (1e-9 * max(1.0, abs(mean))) ** 2:  # rounding
        return float(abs(mean) <= 1e-9)
    return float(betainc(df / 2, 0.5, df / (df + mean**2 / own)))


def closed(size: int, test: Callable[[Sequence[int]], float]) -> list[float]:
    """Adjusted p-values of a closed test: of each of so many, the largest p-value of all sets with it."""
    sets = [each for many in range(1, size + 1) for each in combinations(range(size), many)]
    p = {each: test(each) for each in sets}
    return [max(own for each, own in p.items() if one in each) for one in range(size)]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction, as the closed test by Bonferroni."""
    return closed(len(p), lambda each: min(1.0, len(each) * min(p[one] for one in each)))


def family_p(family: Sequence[Values], lacking: int = 0, margin: Fraction | None = None) -> list[float]:
    """p-values corrected for the family: that settings differ, or that they are within a margin.
    Args: lacking: settings of the family of which nothing is known.
    """
    moved = [d + float(margin or 0) for d in family]
    p = [two_way_p(d) for d in moved]
    if margin is not None:
        p = [own / 2 if d.mean() > 0 else 1 - own / 2 for own, d in zip(p, moved, strict=True)]
    return holm([*p, *[1.0] * lacking])[: len(p)]


def method_p(family: Sequence[Values], around: Around, lacking: int, margin: Fraction | None = None) -> list[float]:
    """The largest p-values at the chosen rates and at neighbors; 1 where the side of 0, or of the margin, changes."""
    largest, shift = family_p(family, lacking, margin), float(margin or 0)
    for side in range(max(map(len, around), default=0)):
        there = [known if (known := own[side]) is not None else d for d, own in zip(family, around, strict=True)]
        for one, p in enumerate(family_p(there, lacking, margin)):
            turned = (family[one].mean() + shift) * (there[one].mean() + shift) <= 0
            largest[one] = max(largest[one], 1.0 if turned else p)
    return largest


def level(n: int, earlier: Iterable[int] = ()) -> Fraction:
    """The level of a look: what looks up to it may use, less what those before have used; 0 after a larger one."""
    used, own, looks = Fraction(0), Fraction(0), {*earlier, n}
    for seeds in sorted(looks) if max(looks) == n else ():
        own = SHARE * max(Fraction(0), 1 - Fraction(FREE, seeds)) - used
        own = own if seeds >= LEAST else Fraction(0)
        used += own
    return own


def next_look(n: int, looks: Iterable[int]) -> int:
    """The number of seeds of the next look that can claim something: twice as many, or at most 42 more."""
    before = [*looks, n]
    twice = max(2 * n, LEAST, max(before) + 1)
    return n + 42 if twice > n + 42 and level(n + 42, before) else twice


def out_of_reach(d: Values, settings: int, margin: float, looks: Iterable[int]) -> bool:
    """Whether these test examples are too few to show that a setting is within a margin in points of accuracy.
    Args: d: of the setting; settings: that are compared; looks: numbers of seeds of all looks so far.
    """
    S, N = d.shape
    if S < 3 or N < 2 or not margin:
        return False
    _, seed, example, rest = mean_squares(d)
    normal, before = NormalDist(), [*looks]
    z = normal.inv_cdf(1 - float(SHARE) / (2 * settings)) + normal.inv_cdf(0.8)
    own = level(next_look(S, before), [*before, S]) if seed == example == rest == 0 else level(8)
    return z * math.sqrt(max(0.0, example - rest) / S / N) > margin or (1 - margin / 100) ** N > own / 2
