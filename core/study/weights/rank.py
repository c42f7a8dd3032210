"""Which rank full fine-tuning would have needed: its own ΔW, cut to rank r, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.study.weights.change import WeightChange
from core.study.weights.scores import Exam, Scores
from core.study.weights.spectrum import Array, cut_networks

TOLERANCE = 0.5
"""Points of accuracy below the whole ΔW that a cut one may lie, where nothing else is asked for."""


@dataclass(frozen=True)
class CutCurve:
    """Accuracies of a tuned network with each layer's ΔW cut to rank r, over r."""

    ranks: tuple[int, ...]
    """Ascending; at the last one nothing is cut off."""
    scores: Scores
    """Accuracies at each rank."""
    base: Scores
    """Accuracies of the network before fine-tuning."""


def ranks_up_to(limit: int) -> tuple[int, ...]:
    """1, 2, 4, 8, … below ``limit``, then ``limit``."""
    return (*(2**power for power in range(limit.bit_length()) if 2**power < limit), limit)


def cut_curve(change: WeightChange, exam: Exam) -> CutCurve:
    """Cut ΔW to ranks 1, 2, 4, … up to the largest that any layer has; biases stay as they were tuned.

    A layer of fewer directions than r keeps all it has. The cut is the nearest matrix of its rank (Eckart and
    Young, Psychometrika 1, 1936).
    """
    ranks = ranks_up_to(max(min(weight.shape) for weight in change.weights.values()))
    found = exam.of_networks(cut_networks(change.base, change.plain, ranks))
    return CutCurve(ranks, found, exam.of_networks([change.base]))


def cut_scores(change: WeightChange, exam: Exam, rank: int) -> Scores:
    """Accuracies at one rank: what a rank that was chosen on the validation part is worth on the test part."""
    return exam.of_networks(cut_networks(change.base, change.plain, [rank]))


def suggested_rank(curves: Sequence[CutCurve], tolerance: float = TOLERANCE) -> int:
    """The smallest rank from which on the mean accuracy on the target stays close to that of the whole ΔW.

    Args:
        curves: of one arm, a seed each, measured on the validation part.
        tolerance: points that the mean may lie below that of the whole ΔW.
    """
    means: Array = np.mean([curve.scores.target for curve in curves], axis=0)
    enough = means >= means[-1] - tolerance - 1e-9
    lacking = np.flatnonzero(~enough)
    return curves[0].ranks[lacking[-1] + 1 if len(lacking) else 0]
