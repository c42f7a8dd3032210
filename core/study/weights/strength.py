"""Scores with ΔW rescaled, without training."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from core.errors import LoRAError
from core.methods.targets import head_paths, is_in_head
from core.study.weights.change import WeightChange
from core.study.weights.decomposition import Array
from core.study.weights.scores import Evaluator, Scores

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


def strengths(step: float = STRENGTH_STEP) -> Array:
    """Return the multiples of ΔW that are measured, (n,), from 0 to :data:`MAX_STRENGTH`."""
    # Rounded, so that 1 is exactly 1.
    return np.round(np.arange(round(MAX_STRENGTH / step) + 1) * step, 6)


def strength_curve(change: WeightChange, evaluator: Evaluator, step: float = STRENGTH_STEP) -> StrengthCurve:
    """Evaluate the base with 0 to :data:`MAX_STRENGTH` times the trained change of everything but a new head."""
    grid = strengths(step)
    return StrengthCurve(grid, evaluator.of_networks(scaled_networks(change, grid.tolist())))


def scaled_networks(change: WeightChange, strengths: Iterable[float]) -> Iterator[nn.Module]:
    """The base with t times the trained change of everything but a new head, which always has its trained weights.

    Scaling α by t scales ΔW = s A B by t for each of LoRA's scalings, since s is proportional to α (Hu et al.,
    "LoRA", arXiv 2106.09685, §4.1). For full fine-tuning it interpolates between the base and the tuned network, as in
    task arithmetic (Ilharco et al., arXiv 2212.04089).

    Args:
        change: base and tuned network.
        strengths: each t; 0 is the base bit for bit, 1 the trained network.

    Yields:
        One and the same network, whose weights are others each time.

    Raises:
        LoRAError: training changed statistics beside parameters, which have no strength.
    """
    if change.elsewhere_text:
        raise LoRAError(change.elsewhere_text)
    network, head = copy.deepcopy(change.base), head_paths(change.base)
    before, after = dict(change.base.named_parameters()), dict(change.plain.named_parameters())
    for strength in strengths:
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                own = 1.0 if is_in_head(name, head) else strength
                torch.lerp(before[name], after[name], own, out=parameter.data)  # exact at 0 and 1
        yield network
