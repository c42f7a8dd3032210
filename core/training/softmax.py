"""Softmax over short rows, as attention has them for short texts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SHORT = 16
"""Rows of fewer entries take torch's kernels for CPUs several times longer than the operations below, since they fill
no vector register."""


def softmax(x: Tensor) -> Tensor:
    """Softmax over the last dimension. Args: x: (..., n), of which each row has a finite entry."""
    if x.device.type != "cpu" or x.shape[-1] >= SHORT:
        return torch.softmax(x, -1)
    found: Tensor = _Softmax.apply(x)  # type: ignore[no-untyped-call]
    return found


class _Softmax(torch.autograd.Function):
    """w = exp(x - max x) / Σ exp(x - max x) by row; the gradient is w (g - Σ g w)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        weights = (x - x.amax(-1, keepdim=True)).exp_()
        weights.div_(weights.sum(-1, keepdim=True))
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (weights,) = ctx.saved_tensors
        found: Tensor = gradients[0] * weights
        found -= weights * found.sum(-1, keepdim=True)
        return found
