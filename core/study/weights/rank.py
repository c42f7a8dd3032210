"""Scores of full fine-tuning with its ΔW cut to rank r, and the smallest rank that is enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.numbers import capitalized
from core.objectives.measure import Measure
from core.study.weights.change import WeightChange
from core.study.weights.decomposition import Array
from core.study.weights.scores import Evaluator, Scores
from core.study.weights.spectrum import cut_networks
from core.wording.tasks import examples_text, noun


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
    ranks = ranks_up_to(max(min(change.weights[path].shape) for path in change.weights if path not in change.whole))
    networks = cut_networks(change.base, change.plain, ranks, change.whole)
    found = [[evaluator.of_networks([network]) for evaluator in evaluators] for network in networks]
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

    A mean on the validation part has no interval, so it is told as what was seen, beside what it is on the test part,
    which chose nothing; where that is worse by more than the tolerance, one sentence says both. It is not stressed
    where a single example decides, nor where it is not known how much that can change.

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
    seeds, amount = len(by_seed), measure.amount_text(tolerance, 1)
    who = f"the mean of {seeds} seeds" if seeds > 1 else "the only seed"
    where = f"on the validation part ({examples_text(kind, examples)}), {who} of full fine-tuning"
    worth = _worth_of_one(measure, examples)
    if rank >= limit and lower:
        lost = f"lost more than {amount}" if measure.higher_is_better else f"was more than {amount} {measure.worse}"
        text = (
            f"{capitalized(where)}, cut to rank {lower[-1]} after training, {lost}. "
            f"The ranks between that and the whole change, of rank {limit}, were not measured."
        )
    else:
        is_fine, over = worth <= tolerance, examples_text(kind, examples)
        change = f"full fine-tuning's own change, cut to rank {rank} after training,"
        stayed = f"stayed within {amount} of its {measure.noun} on the"
        if measure.sign * tested < -tolerance:
            off = f"{measure.amount_text(tested)} {measure.worse}"
            claim = f"F{change[1:]} {stayed} validation part, but not on the test part, where it is {off} than uncut"
            seen = f"{who}, chosen over {over}."
        else:
            claim = f"On the validation part, {change} was enough"
            seen = f"over {over}, {who} {stayed} target. {_on_the_test_part(tested, measure)}"
        text = f"{f'**{claim}**' if is_fine else claim}: {seen}"
        if not is_fine and math.isfinite(worth):
            text += f" One of these {noun(kind)} alone is worth {measure.amount_text(worth)}."
    if seeds == 1:
        return f"{text} Another seed may need a different rank."
    low, high = min(by_seed), max(by_seed)
    return f"{text} For single seeds it is rank {low}{f' to {high}' if high > low else ''}, of those measured."


def _on_the_test_part(change: float, measure: Measure) -> str:
    amount = measure.amount_text(change)
    if amount == measure.amount_text(0):
        return f"On the test part its {measure.noun} is the same as uncut."
    return (
        f"On the test part it is {amount} {measure.better if measure.sign * change > 0 else measure.worse} than uncut."
    )


def _worth_of_one(measure: Measure, examples: int) -> float:
    """How much one of so many examples can change a measure; infinite where that is not known."""
    low, high = measure.limits
    return math.inf if measure.whole else (high - low) / examples
