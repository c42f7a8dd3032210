"""How often intervals of differences in macro-F1 cover the truth where classes are rare.

``python -m tests.objectives.rare`` simulates two methods, each with seeds whose accuracy differs by class, on one test
part of examples that are easy or hard for both, and for each by itself. The truth is the mean difference over many
seeds, on many more examples. Intervals over seeds and examples come from the linearization of macro-F1
(:func:`core.objectives.classification.macro_f1_of_each`), those over seeds alone from the macro-F1 of each seed.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from core.objectives.classification import macro_f1, macro_f1_of_each
from core.objectives.measure import Answers
from core.study.stats.images import crossed_interval

SHARES = {"even": (0.25, 0.25, 0.25, 0.25), "5 % rare": (0.5, 0.3, 0.15, 0.05), "1 % rare": (0.6, 0.3, 0.09, 0.01)}
MEANS = (1.0, 0.8)
"""How far the two methods are on the right side, in standard deviations."""

Labels = NDArray[np.int64]


def answered(
    random: Generator, labels: Labels, hard: NDArray[np.float64], mean: float, classes: int
) -> NDArray[np.int64]:
    """What one seed of a method answers to examples: the right class, or another one."""
    own = 0.1 * random.standard_normal(classes)
    right = mean + own[labels] + hard + 0.3 * random.standard_normal(len(labels)) > 0
    other = (labels + random.integers(1, classes, len(labels))) % classes
    return np.where(right, labels, other)


def drawn(random: Generator, shares: tuple[float, ...], count: int) -> tuple[Labels, NDArray[np.float64]]:
    """Labels of examples, at least one of each class, and how hard they are for each of the two methods, (2, count)."""
    labels = random.choice(len(shares), count, p=shares)
    labels[: len(shares)] = np.arange(len(shares))
    both, each = random.standard_normal(count), random.standard_normal((2, count))
    return labels, 0.8 * both + 0.5 * each


def truth(random: Generator, shares: tuple[float, ...]) -> float:
    """The mean difference of the methods over seeds, on many examples."""
    labels, hard = drawn(random, shares, 40_000)
    found = [
        [
            macro_f1(Answers(answered(random, labels, own, mean, len(shares)), labels))
            for mean, own in zip(MEANS, hard, strict=True)
        ]
        for _ in range(150)
    ]
    return float(np.subtract(*np.mean(found, axis=0)))


def covered(shares: tuple[float, ...], seeds: int, examples: int, repeats: int = 400) -> tuple[float, float]:
    """Share of experiments whose interval covers the truth: over seeds and examples, and over seeds alone."""
    random = np.random.default_rng(0)
    expected = truth(random, shares)
    both = alone = 0
    for _ in range(repeats):
        labels, hard = drawn(random, shares, examples)
        each = [
            np.stack(
                [
                    macro_f1_of_each(Answers(answered(random, labels, own, mean, len(shares)), labels))
                    for _ in range(seeds)
                ]
            )
            for mean, own in zip(MEANS, hard, strict=True)
        ]
        found = crossed_interval(each[0] - each[1])
        both += found.crossed.low <= expected <= found.crossed.high
        alone += found.seeds.low <= expected <= found.seeds.high
    return both / repeats, alone / repeats


if __name__ == "__main__":
    for name, shares in SHARES.items():
        for examples in (360, 1000):
            both, alone = covered(shares, 8, examples)
            print(f"{name}, 8 seeds, {examples} examples: {both:.1%} over seeds and examples, {alone:.1%} over seeds")
