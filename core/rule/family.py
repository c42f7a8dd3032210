"""The tests of an answer: all settings of a family against full fine-tuning, over seeds and test examples.

A family is what one question compares: every method and rank, minus full fine-tuning. Its p-values keep the chance of
any false claim among them at the level at which they are read; :mod:`core.rule.spending` has that level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from core.results.intervals import ERROR_RATE, MIN_SEEDS, t_p
from core.rule.claims import agree_in_sign
from core.rule.crossed import crossed
from core.rule.holm import holm
from core.rule.spending import CLAIM_SEEDS

Differences = NDArray[np.float64]
"""(S, N) a setting minus full fine-tuning, for each seed and test example, positive where the setting is better; (S, 1)
where only the means over the examples are known. All of a family have the same seeds, in the same order."""

Around = Sequence[Differences | None]
"""The same with one of the two at neighbors of what was chosen for it, such as the next lower and the next higher
learning rate, always in one order; None where none was trained."""

Test = Callable[[Sequence[Differences]], list[float]]


@dataclass(frozen=True, eq=False)
class Compared:
    """A setting of a family at the chosen learning rates, and at the neighbors of these."""

    chosen: Differences
    full_around: Around = ()
    """With full fine-tuning at the neighbors of its chosen rate."""
    own_around: Around = ()
    """With the setting at the neighbors of its chosen rate."""


@dataclass(frozen=True)
class Found:
    """p-values of one setting, corrected for its family."""

    differs: float
    """Two-sided, of no difference at the chosen rates."""
    methods_differ: float
    """The same for a sentence about methods: the largest of those at the chosen rates and at the neighbors of what
    would have to be badly tuned for the sentence to be wrong: of full fine-tuning where the setting is better, of the
    setting where it is worse."""
    within: float
    """One-sided, of falling short by the margin or more, at the chosen rates."""
    methods_within: float
    """The same for a sentence about methods, with full fine-tuning at its neighbors."""


def family_p(family: Sequence[Differences], failed: int = 0) -> list[float]:
    """Compute two-sided p-values that settings differ from full fine-tuning: those over seeds and test examples
    (:attr:`core.rule.crossed.Crossed.p`) after Holm's correction for all settings.

    Args:
        family: each with at least two seeds.
        failed: number of settings that nothing is known of; they stay in the family, as p = 1.
    """
    return holm([*(crossed(each).p for each in family), *[1.0] * failed])[: len(family)]


def within_p(family: Sequence[Differences], margin: float, failed: int = 0) -> list[float]:
    """Compute one-sided p-values that settings fall short of full fine-tuning by less than ``margin``.

    As :func:`family_p`, of the differences plus the margin. There is no order among the settings, so that none can
    keep another from being found good enough. Source: Wellek, "Testing Statistical Hypotheses of
    Equivalence and Noninferiority" (2nd ed., 2010), ch. 2.

    Args:
        family: see :func:`family_p`.
        margin: in the measure's unit, at least 0.
        failed: see :func:`family_p`.
    """
    found = [crossed(each + margin) for each in family]
    one_sided = [each.p / 2 if each.mean > 0 else 1 - each.p / 2 for each in found]
    return holm([*one_sided, *[1.0] * failed])[: len(family)]


def fewest_p(margin: float, width: float, examples: int) -> float:
    """Compute the smallest p-value that "within the margin" can have on so many test examples.

    Where each example is right or wrong, it is (1 − margin / width)^examples: the chance that none of them shows a
    shortfall that is as large as the margin. Settings that agree on all of few examples have no spread that would say
    so. Source: Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249 (1983).

    Args:
        margin: in the measure's unit.
        width: distance of the measure's bounds; infinite for a measure without.
        examples: number of test examples; 1 where single ones are not known, of which nothing can be said.
    """
    return (1 - min(1.0, margin / width)) ** examples if examples > 1 and math.isfinite(width) else 0.0


def p_values(family: Sequence[Compared], margin: float, failed: int = 0, width: float = math.inf) -> list[Found]:
    """Test each setting of a family, at the chosen learning rates and for sentences about methods.

    A rate that was chosen on the validation part may be a neighbor of the best one, so that a difference of two
    settings at their rates need not be one of their methods.

    Args:
        family: the settings.
        margin: in the measure's unit.
        failed: see :func:`family_p`.
        width: see :func:`fewest_p`.
    """

    def differ(values: Sequence[Differences]) -> list[float]:
        return family_p(values, failed)

    def within(values: Sequence[Differences]) -> list[float]:
        return within_p(values, margin, failed)

    chosen = [each.chosen for each in family]
    at_full = [each.full_around for each in family]
    at_own = [each.own_around for each in family]
    differs, near = differ(chosen), within(chosen)
    better, worse = _at_neighbors(differ, chosen, at_full), _at_neighbors(differ, chosen, at_own)
    near_around = _at_neighbors(within, chosen, at_full, margin)
    by_side = [up if each.mean() > 0 else down for each, up, down in zip(chosen, better, worse, strict=True)]
    few = [fewest_p(margin, width, each.shape[1]) for each in chosen]
    return [
        Found(p, max(p, around), max(w, least), max(w, w_around, least))
        for p, around, w, w_around, least in zip(differs, by_side, near, near_around, few, strict=True)
    ]


def leaning(family: Sequence[Sequence[float]], failed: int = 0) -> list[bool]:
    """Tell which settings lean: 3 to 6 seeds all agree in sign, and the t test rejects at 5 % after Holm's correction.

    That is a word for what was seen with too few seeds, at one look alone, and decides nothing.

    Args:
        family: differences from full fine-tuning by seed, of each setting.
        failed: see :func:`family_p`.
    """
    by_t = holm([*(t_p(values) for values in family), *[1.0] * failed])
    return [
        MIN_SEEDS <= len(values) < CLAIM_SEEDS and p <= ERROR_RATE and agree_in_sign(values)
        for values, p in zip(family, by_t, strict=False)
    ]


def _at_neighbors(
    test: Test, chosen: Sequence[Differences], around: Sequence[Around], margin: float = 0.0
) -> list[float]:
    """The largest p-value at the neighbors; 1 where a mean, plus the margin, is on the other side there."""
    largest = [0.0] * len(chosen)
    for beside in zip_longest(*around):
        values = [own if there is None else there for own, there in zip(chosen, beside, strict=True)]
        for place, (p, own, there) in enumerate(zip(test(values), chosen, values, strict=True)):
            turned = (own.mean() + margin) * (there.mean() + margin) <= 0
            largest[place] = max(largest[place], 1.0 if turned else p)
    return largest
