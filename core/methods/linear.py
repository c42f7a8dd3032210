"""What counts as a linear layer: ``nn.Linear``, and Hugging Face's ``Conv1D``, whose weight is transposed."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONV1D = ("transformers.pytorch_utils", "Conv1D")
"""Module and name of GPT-2's linear layer. Only networks that transformers built have it, so it is not imported."""


def is_transposed(module: nn.Module) -> bool:
    """Whether ``module`` is a ``Conv1D``: a linear layer y = x W + b with W of shape (in, out)."""
    return (type(module).__module__, type(module).__name__) == CONV1D


def is_linear(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether ``module`` is a plain ``nn.Linear`` or a ``Conv1D``, typed as the former; subclasses are not plain."""
    return type(module) is nn.Linear or is_transposed(module)


def features(linear: nn.Module) -> tuple[int, int]:
    """Numbers of inputs and outputs of a linear layer."""
    first, second = linear.weight.shape  # type: ignore[misc]
    return (first, second) if is_transposed(linear) else (second, first)


def product(linear: nn.Linear, x: Tensor, weight: Tensor) -> Tensor:
    """What ``linear`` computes from x of shape (..., in) with another weight of its own shape, bit for bit."""
    if is_transposed(linear):
        flat = torch.addmm(linear.bias, x.reshape(-1, x.shape[-1]), weight)
        return flat.view(*x.shape[:-1], weight.shape[1])
    return F.linear(x, weight, linear.bias)
