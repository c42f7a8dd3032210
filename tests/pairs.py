"""Cases of a test with several factors: every two values of two factors meet, in fewer cases than the product has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any


def pairs_of(case: Sequence[object]) -> set[tuple[object, ...]]:
    """Each two values of a case, with the places of their factors."""
    return set(combinations(enumerate(case), 2))


def pairwise(*factors: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Cases, the next of which is always the one that brings the most new pairs."""
    every = list(product(*factors))
    missing = set[tuple[object, ...]]().union(*map(pairs_of, every))
    chosen = []
    while missing:
        chosen.append(max(every, key=lambda case: len(pairs_of(case) & missing)))
        missing -= pairs_of(chosen[-1])
    return chosen
