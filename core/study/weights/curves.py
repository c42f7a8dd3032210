"""Scores over parts of a trained change: full fine-tuning's ΔW cut to rank r, and any ΔW rescaled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.objectives.measure import Measure
from core.study.weights.change import WeightChange, cut_networks, scaled_networks
from core.study.weights.scores import Evaluator, Scores
from core.study.weights.spectrum import Array
from core.wording.tasks import examples_text, noun

MAX_STRENGTH = 3.0
"""The largest multiple of the trained ΔW."""

STRENGTH_STEP = 0.1
"""Distance between the multiples that are measured."""

COARSE_STEP = 0.5
"""The same for networks that take long to evaluate."""


@dataclass(frozen=True)
class StrengthCurve:
    """Scores of the base with t ΔW, for several t."""

    strengths: Array
    """(n,) t, ascending from 0: 0 is the base, 1 the trained network."""
    scores: Scores
    """Scores at each t."""

    def place(self, strength: float) -> int:
        """Index of the nearest t."""
        return int(np.abs(self.strengths - strength).argmin())

    @property
    def best(self) -> float:
        """The t with the best score on the target; of several, the one closest to 1."""
        values = self.scores.oriented
        top = self.strengths[values >= values.max() - 1e-9]
        return float(top[np.abs(top - 1).argmin()])


def strength_curve(change: WeightChange, evaluator: Evaluator, step: float = STRENGTH_STEP) -> StrengthCurve:
    """Evaluate the base with 0 to :data:`MAX_STRENGTH` times the trained change of everything but a new head."""
    grid = np.round(np.arange(round(MAX_STRENGTH / step) + 1) * step, 6)  # rounded, so that 1 is exactly 1
    return StrengthCurve(grid, evaluator.of_networks(scaled_networks(change, grid.tolist())))


@dataclass(frozen=True)
class CutCurve:
    """Scores of a tuned network with each layer's ΔW cut to rank r, for several r."""

    ranks: tuple[int, ...]
    """Ascending; the last one is the full rank."""
    scores: Scores
    """Scores at each rank."""
    base: Scores
    """Scores of the network before fine-tuning."""

    def at(self, rank: int) -> Scores:
        """Scores at one of :attr:`ranks`."""
        return self.scores.at(self.ranks.index(rank))


def ranks_up_to(limit: int) -> tuple[int, ...]:
    """Return the powers of two below ``limit``, and ``limit``."""
    return (*(2**power for power in range(limit.bit_length()) if 2**power < limit), limit)


def cut_curves(change: WeightChange, evaluators: Sequence[Evaluator]) -> list[CutCurve]:
    """Cut ΔW to ranks 1, 2, 4, … up to the largest rank of any layer; all else keeps its tuned values.

    A layer with fewer than r directions keeps all of them. The cut is the best approximation of its rank (Eckart and
    Young, Psychometrika 1, 1936).

    Args:
        change: of full fine-tuning.
        evaluators: examples to evaluate on, such as those of the validation part, and of the test part for a rank
            that was chosen on the validation part.

    Returns:
        One curve for each of ``evaluators``.
    """
    ranks = ranks_up_to(max(min(change.weight(path).shape) for path in change.layers if path not in change.whole))
    found = [[evaluator.of_networks([network]) for evaluator in evaluators] for network in cut_networks(change, ranks)]
    return [
        CutCurve(ranks, Scores.joined(of_evaluator), evaluator.of_networks([change.base]))
        for evaluator, of_evaluator in zip(evaluators, zip(*found, strict=True), strict=True)
    ]


def suggested_rank(curves: Sequence[CutCurve], tolerance: float) -> int:
    """Return the smallest rank from which on the mean score on the target is within the tolerance.

    Args:
        curves: of one arm, one per seed, measured on the validation part.
        tolerance: how much worse the mean may be than that of the whole ΔW.
    """
    means: Array = np.mean([curve.scores.oriented for curve in curves], axis=0)
    enough = means >= means[-1] - tolerance - 1e-9
    lacking = np.flatnonzero(~enough)
    return curves[0].ranks[lacking[-1] + 1 if len(lacking) else 0]


def rank_sentence(
    rank: int,
    by_seed: Sequence[int],
    tolerance: float,
    ranks: Sequence[int],
    examples: int,
    kind: str,
    measure: Measure,
    tested: float,
) -> str:
    """Which rank is enough, on which examples that was seen, and what it is for single seeds; Markdown.

    A mean on the validation part has no interval, so it is told beside that of the test part, which chose nothing. It
    is not stressed where the test part disagrees, where a single example decides, or where it is not known how much
    that can change.

    Args:
        rank: see :func:`suggested_rank`.
        by_seed: the same for each seed alone.
        tolerance: how much worse the mean may be than that of the whole ΔW.
        ranks: those that were measured, ascending; the last one is the full rank.
        examples: number of examples that each seed was evaluated on.
        kind: of the data.
        measure: that the networks were judged by.
        tested: how much higher the mean on the test part is when cut to ``rank`` than uncut.
    """
    *lower, limit = ranks
    amount, seeds = measure.amount_text(tolerance, 1), len(by_seed)
    where = (
        f"the validation part ({examples_text(kind, examples)}, {f'mean of {seeds} seeds' if seeds > 1 else '1 seed'})"
    )
    if rank >= limit and lower:
        text = (
            f"Cut to rank {lower[-1]}, full fine-tuning was more than {amount} {measure.worse} on {where}. No rank "
            f"between that and the whole change, of rank {limit}, was measured."
        )
    else:
        change, stands = measure.amount_text(tested), measure.better if measure.sign * tested > 0 else measure.worse
        differs = change != measure.amount_text(0)
        at_test = f"it is {change} {stands} than uncut" if differs else f"its {measure.noun} is the same as uncut"
        low, high = measure.limits
        worth = math.inf if measure.whole else (high - low) / examples
        fails = measure.sign * tested < -tolerance
        claim = f"Cut to rank {rank}, full fine-tuning stayed within {amount} of its {measure.noun}"
        text = f"{claim if fails or worth > tolerance else f'**{claim}**'} on {where}, {'but' if fails else 'and'} "
        text += f"on the test part {at_test}."
        if tolerance < worth < math.inf:
            text += f" One of these {noun(kind)} alone is worth {measure.amount_text(worth)}."
    if seeds == 1:
        return f"{text} Another seed may need a different rank."
    fewest, most = min(by_seed), max(by_seed)
    return f"{text} For single seeds it is rank {fewest}{f' to {most}' if most > fewest else ''}, of those measured."
