"""DoRA: weight-decomposed low-rank adaptation (Liu et al. 2024, arXiv 2402.09353).

y = x W'ᵀ + b, where each row of W' has the direction of the same row of V = W + s · (A B)ᵀ, and its magnitude m as its
length. A, B and m of shape (out,) are trained; m starts as the lengths of the rows of W.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from core.methods.adapted import Terms, frozen_weight
from core.methods.layers import LowRankLinear
from core.methods.linear import is_transposed
from core.methods.low_rank import LowRankSpec

MAGNITUDES = "lora_magnitude_vector"
"""PEFT's name of the magnitudes."""


class LinearWithDoRA(LowRankLinear):
    """A linear layer whose weight is decomposed into trained magnitudes and a direction that has an adapter."""

    names = LowRankLinear.names | {"magnitude": MAGNITUDES}
    unscaled = ("magnitudes",)

    magnitude: nn.Parameter

    def __init__(self, linear: nn.Linear, *args: Any, **settings: Any) -> None:
        """Args: as in :class:`core.methods.layers.LowRankLinear`."""
        super().__init__(linear, *args, **settings)
        with torch.no_grad():
            # B is zero, so that V is W, and m / ‖V‖ exactly 1.
            self.magnitude = nn.Parameter(_lengths(self._direction()))

    @classmethod
    def other_shapes(cls, outputs: int) -> dict[str, tuple[int, ...]]:
        return {MAGNITUDES: (outputs,)}

    def _direction(self, dtype: torch.dtype | None = None) -> Tensor:
        """V = W + s · (A B)ᵀ of shape (out, in)."""
        update: Tensor = self.lora.delta(dtype)
        return frozen_weight(self).to(update.dtype) + update

    def _rescaled(self, dtype: torch.dtype | None = None) -> Tensor:
        """W' of shape (out, in): the rows of V with the magnitudes as their lengths."""
        direction = self._direction(dtype)
        return (self.magnitude.to(direction.dtype) / _lengths(direction))[:, None] * direction

    def _scale(self) -> Tensor:
        """The factor m / ‖V‖ of shape (out,); for the gradient ‖V‖ is a constant, as in section 4.3 of the paper."""
        scale: Tensor = self.magnitude / _lengths(self._direction()).detach()
        return scale

    def delta(self, dtype: torch.dtype | None = None) -> Tensor:
        total = self._rescaled(dtype)
        return total - frozen_weight(self).to(total.dtype)

    def summed_weight(self) -> Tensor:
        total = self._rescaled()
        weight: Tensor = total.T if is_transposed(self.linear) else total
        return weight.to(self.linear.weight.dtype)

    def terms(self) -> Terms:
        scale = self._scale()
        return Terms(self.lora.A.T, self.lora.scaling * self.lora.B * scale, gain=scale - 1)

    def forward(self, x: Tensor) -> Tensor:
        base: Tensor = self.linear(x)
        if self.merged:
            self._refuse_training_when_merged()
            return base
        scale, update = self._scale(), self.lora(x)
        plain = base if self.bias is None else base - self.bias
        # As a change of the base's output, so that before training it is exactly that output.
        change: Tensor = (scale - 1) * plain + scale * update
        return (base + change).to(base.dtype)


def _lengths(rows: Tensor) -> Tensor:
    """Lengths of the rows; of a row of zeros the smallest number above zero, so that it can be divided by."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths.clamp_min(torch.finfo(rows.dtype).tiny)


class DoRASpec(LowRankSpec):
    """Trains the lengths of the rows of a weight, and their directions by low-rank matrices."""

    kind: Literal["dora"] = "dora"
    title = "DoRA"
    short = "DoRA"
    line = "the lengths of the weight's rows, and their directions by small matrices"
    layer = LinearWithDoRA
    marks = {"use_dora": True}  # noqa: RUF012 (a constant)
