"""The tests of an answer: all settings of a family against full fine-tuning, over seeds and test examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from core.results.intervals import ERROR_RATE, Interval


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that any false positive among all tests is as unlikely as one in a single test.

    With p₍₁₎ ≤ … ≤ p₍ₘ₎, the adjusted p₍ᵢ₎ is the largest of min(1, (m − j + 1) p₍ⱼ₎) over j ≤ i.
    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).

    Args:
        p_values: of tests, which may be dependent; a NaN counts as a test and stays NaN.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(np.nan_to_num(p, nan=1.0), kind="stable")
    steps = np.minimum(1.0, p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.fmax.accumulate(steps) if p.size else steps
    return [math.nan if math.isnan(raw) else float(value) for raw, value in zip(p, adjusted, strict=True)]


@dataclass(frozen=True)
class Crossed:
    """A mean difference over seeds and test examples, both taken as random, by a two-way analysis of variance.

    Seeds and examples are crossed, since every seed is measured on the same examples. In the model with random effects
    and one value per cell, the mean has the variance

        Var = (MS_seed + MS_example − MS_rest) / (S · N),  at least MS_seed / (S · N),

    where MS are mean squares; the second form is the variance over seeds alone. The degrees of freedom of Student's t
    are Satterthwaite's, Var² / Σ (MS² / df) with MS in units of Var, but not below those of seeds or examples alone;
    over seeds alone they are S − 1. Sources: Searle, Casella and McCulloch, "Variance Components" (1992), ch. 4;
    Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bulletin 2 (1946).

    In simulations with 3 to 64 seeds and 100 to 10,000 examples, with values that are right or wrong, continuous,
    heavy-tailed or weighted, 95 % intervals missed in 3 to 8 % of cases, with two seeds in 5 to 13 %; those over seeds
    alone, whose examples are fixed, in 5 to 72 %.
    """

    mean: float
    seeds: int
    examples: int
    """1 where values of single examples are not known: everything is then over seeds alone."""
    ms_seed: float
    ms_example: float
    ms_rest: float
    """Mean squares; NaN where they are not known."""

    @property
    def _extra(self) -> float:
        """What the examples add to the mean square of the seeds; 0 where that is nothing but rounding."""
        extra = self.ms_example - self.ms_rest
        return extra if extra > 1e-9 * self.ms_example else 0.0

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return math.sqrt((self.ms_seed + self._extra) / (self.seeds * self.examples))

    @property
    def df(self) -> float:
        """Degrees of freedom of Student's t."""
        S, N, both = self.seeds - 1, self.examples - 1, self.ms_seed + self._extra
        if not self._extra:
            return S
        rest = self.ms_rest**2 / (S * N)
        return max(both**2 / (self.ms_seed**2 / S + self.ms_example**2 / N + rest), min(S, N))

    def interval(self) -> Interval:
        """The 95 % interval for other seeds and other examples; its ends are NaN with fewer than two seeds."""
        if self.seeds < 2 or not math.isfinite(self.mean):
            return Interval(self.mean, math.nan, math.nan, self.seeds)
        half = float(stdtrit(self.df, 1 - ERROR_RATE / 2)) * self.error
        return Interval(self.mean, self.mean - half, self.mean + half, self.seeds)

    @property
    def p(self) -> float:
        """Two-sided p-value of a mean of 0: at most 0.05 exactly where :meth:`interval` excludes 0.

        0 where seeds and examples agree exactly on another value than 0; NaN with fewer than two seeds.
        """
        if self.seeds < 2 or not math.isfinite(self.mean):
            return math.nan
        if self.error <= 1e-9 * max(1.0, abs(self.mean)):  # equal values of percentages may differ by rounding errors
            return float(abs(self.mean) <= 1e-9)
        return float(2 * stdtr(self.df, -abs(self.mean) / self.error))

    @property
    def spreads(self) -> tuple[float, float, float]:
        """Standard deviations of seeds, of examples and of the rest, in the unit of the values; at least 0."""
        seed = max(0.0, self.ms_seed - self.ms_rest) / self.examples
        example = max(0.0, self.ms_example - self.ms_rest) / self.seeds
        return math.sqrt(seed), math.sqrt(example), math.sqrt(self.ms_rest)


def crossed(differences: NDArray[np.generic]) -> Crossed:
    """Analyze differences of two settings by seed and test example.

    Args:
        differences: (S, N), for each seed and test example the measure of the first setting minus that of the second,
            in the measure's unit; for accuracy 100 if only the first is right, −100 if only the second is, else 0.
            (S, 1) where only the means over the examples are known. A measure that is no mean of examples is given by
            its linearization; see :attr:`core.objectives.measure.Measure.each`.

    Raises:
        ValueError: ``differences`` has not two dimensions.
    """
    if differences.ndim != 2:
        raise ValueError("Differences have two dimensions: seeds and examples.")
    values = np.asarray(differences, dtype=np.float64)
    S, N = values.shape
    mean = float(values.mean()) if values.size else math.nan
    if S < 2 or not N or not math.isfinite(mean):
        return Crossed(mean, S, N, math.nan, math.nan, math.nan)
    by_seed, by_example = values.mean(1) - mean, values.mean(0) - mean
    ss_seed, ss_example = N * float(by_seed @ by_seed), S * float(by_example @ by_example)
    if N < 2:
        return Crossed(mean, S, N, ss_seed / (S - 1), 0.0, 0.0)
    ss_rest = max(0.0, float(((values - mean) ** 2).sum()) - ss_seed - ss_example)
    return Crossed(mean, S, N, ss_seed / (S - 1), ss_example / (N - 1), ss_rest / ((S - 1) * (N - 1)))


Differences = NDArray[np.float64]
"""(S, N) a setting minus full fine-tuning, for each seed and test example, positive where the setting is better; (S, 1)
where only the means over the examples are known. All of a family have the same seeds, in the same order."""

Around = Sequence[Differences | None]
"""The same with one of the two at neighbors of what was chosen for it, such as the next lower and the next higher
learning rate, always in one order; None where none was trained."""

Test = Callable[[Sequence[Differences]], list[float]]


def t_p(values: Sequence[float]) -> float:
    """Compute the two-sided p-value of Student's paired t test, one difference per seed; see :attr:`Crossed.p`."""
    return crossed(np.asarray(values, dtype=np.float64)[:, np.newaxis]).p


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
    (:attr:`Crossed.p`) after Holm's correction, which also counts ``failed`` settings that nothing is known of, as p =
    1.
    """
    return holm([*(crossed(each).p for each in family), *[1.0] * failed])[: len(family)]


def within_p(family: Sequence[Differences], margin: float, failed: int = 0) -> list[float]:
    """Compute one-sided p-values that settings fall short of full fine-tuning by less than ``margin``, as
    :func:`family_p` of the differences plus the margin. No setting can keep another from being found good enough.
    Source: Wellek, "Testing Statistical Hypotheses of Equivalence and Noninferiority" (2nd ed., 2010), ch. 2.
    """
    found = [crossed(each + margin) for each in family]
    one_sided = [each.p / 2 if each.mean > 0 else 1 - each.p / 2 for each in found]
    return holm([*one_sided, *[1.0] * failed])[: len(family)]


def fewest_p(margin: float, width: float, examples: int) -> float:
    """Compute the smallest p-value that "within the margin" can have on so many test examples.

    Where each is right or wrong, it is (1 − margin / width)^examples: the chance that none shows a shortfall as large
    as the margin. Settings that agree on all of few examples have no spread that would say so. Source: Hanley and
    Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249 (1983).

    Args:
        margin: in the measure's unit.
        width: distance of the measure's bounds; infinite for a measure without.
        examples: number of test examples; 1 where single ones are not known, of which nothing can be said.
    """
    return (1 - min(1.0, margin / width)) ** examples if examples > 1 and math.isfinite(width) else 0.0


def p_values(family: Sequence[Compared], margin: float, failed: int = 0, width: float = math.inf) -> list[Found]:
    """Test each setting of a family, at the chosen learning rates and for sentences about methods: a chosen rate may be
    a neighbor of the best one, so that a difference of two settings need not be one of their methods.

    Args:
        family: the settings.
        margin: in the measure's unit.
        failed: see :func:`family_p`.
        width: see :func:`fewest_p`.
    """
    differ, within = partial(family_p, failed=failed), partial(within_p, margin=margin, failed=failed)
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
