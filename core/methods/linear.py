"""What counts as a linear layer: ``nn.Linear``, and Hugging Face's ``Conv1D``, with its weight transposed; its product,
and counting and freezing parameters.
"""

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


def has_fast_product(x: Tensor) -> bool:
    """Whether :func:`fast_product` is there for tensors like ``x``: float32 on a CPU, with oneDNN."""
    is_there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return is_there and x.device.type == "cpu" and x.dtype == torch.float32


def fast_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product x Wᵀ + b for x (n, in), W (out, in) of any strides, and b (out,): (n, out); by oneDNN.

    Other libraries take some seven percent more for batches of texts, and on some processors twice the time.
    """
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


def freeze_linear_layers(model: nn.Module) -> None:
    """Freeze every linear layer in ``model``; adapters stay trainable."""
    for module in model.modules():
        if isinstance(module, nn.Linear) or is_linear(module):
            for parameter in module.parameters():
                parameter.requires_grad = False


def count_parameters(model: nn.Module, trainable: bool = False) -> int:
    """Number of parameters, with shared ones counted once; optionally only trainable ones."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)
