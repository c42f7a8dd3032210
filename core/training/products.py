"""Linear layers of networks that autograd trains, as few and as fast operations as there are for float32 on a CPU.

Forward and backward use oneDNN's products. A layer with a LoRA adapter is one function of autograd instead of seven.
Small products are written in the order of memory, so x A is computed as its transpose; s · (x A) B is added to x Wᵀ + b
in place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cache
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from core.methods.layers import LinearWithLoRA
from core.methods.linear import fast_product, has_fast_product

Forward = Callable[..., Any]


class Swapped:
    """While it is entered, these modules of a network compute with other functions, on all threads that enter it.

    The instances get another ``forward``: hooks run as always, and what other code reads from a module, such as the
    type of an attention, stays. When the last thread has left, the modules are as they were.
    """

    def __init__(self, forwards: Mapping[nn.Module, Forward]) -> None:
        """Args: forwards: what each module computes instead, with the arguments of its own ``forward``."""
        self._forwards = dict(forwards)
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                for module, forward in self._forwards.items():
                    module.__dict__["forward"] = forward

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for module in self._forwards:
                    del module.__dict__["forward"]


def own_forward(module: nn.Module) -> Forward:
    """The forward of a module's class, bound to it; also while it is swapped."""
    found: Forward = type(module).forward.__get__(module)
    return found


def fast_layers(network: nn.Module, fixed: bool = False) -> dict[nn.Module, Forward]:
    """Forwards that give the same, to rounding, for every plain and every adapted linear layer of a network.

    Empty without oneDNN, and unless all of the network is float32 on a CPU.

    Args:
        network: it is not changed.
        fixed: its weights stay as they are now, and no gradients are wanted. Plain layers then take less time, and a
            second copy of their weights.
    """
    if not all(map(has_fast_product, network.parameters())):
        return {}
    found: dict[nn.Module, Forward] = {}
    for module in network.modules():
        if type(module) is LinearWithLoRA and _adds_to_frozen(module):
            found[module] = _adapted(module)
        elif type(module) is nn.Linear:
            found[module] = _fixed(module) if fixed else _plain(module)
    return found


def _adds_to_frozen(layer: LinearWithLoRA) -> bool:
    """Whether it is a plain layer that no gradient is wanted of, with an adapter that is not merged into it."""
    trained = any(parameter.requires_grad for parameter in layer.linear.parameters())
    return type(layer.linear) is nn.Linear and not trained and not layer.merged


def _plain(layer: nn.Linear) -> Forward:
    def run(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return _rows_product(x, layer.weight, layer.bias)
        found: Tensor = _Linear.apply(x, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
        return found

    return run


def _fixed(layer: nn.Linear) -> Forward:
    @cache
    def reordered() -> Tensor:
        """The weight in the order that oneDNN reads, which it would make anew for each product."""
        found: Tensor = torch.ops.mkldnn._reorder_linear_weight(layer.weight)
        return found

    def run(x: Tensor) -> Tensor:
        return _rows_product(x, reordered(), layer.bias)

    return run


def _adapted(layer: LinearWithLoRA) -> Forward:
    def run(x: Tensor) -> Tensor:
        linear, lora = layer.linear, layer.lora
        args = x, linear.weight, linear.bias, lora.A, lora.B, lora.scaling
        found: Tensor = _LinearWithLoRA.apply(*args)  # type: ignore[no-untyped-call]
        return found

    return run


def _rows_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same for x (..., in): (..., out)."""
    return fast_product(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], weight.shape[0])


class _Linear(torch.autograd.Function):
    """x Wᵀ + b for x (..., in), W (out, in), b (out,) or None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        ctx.save_for_backward(rows if ctx.needs_input_grad[1] else None, weight)
        ctx.shape = x.shape
        return fast_product(rows, weight, bias).view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        g = gradients[0].reshape(-1, gradients[0].shape[-1])
        to_x = fast_product(g, weight.t()).view(ctx.shape) if wanted[0] else None
        return to_x, g.t() @ x if wanted[1] else None, g.sum(0) if wanted[2] else None


class _LinearWithLoRA(torch.autograd.Function):
    """x Wᵀ + b + s · (x A) B for x (..., in), W (out, in), b (out,) or None, A (in, r), B (r, out); W, b are frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, A: Tensor, B: Tensor, scaling: float
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        low = A.t() @ rows.t()
        ctx.save_for_backward(rows, weight, A, B, low)
        ctx.shape, ctx.scaling = x.shape, scaling
        return fast_product(rows, weight, bias).addmm_(low.t(), B, alpha=scaling).view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, A, B, low = ctx.saved_tensors
        g = gradients[0].reshape(-1, gradients[0].shape[-1])
        to_low = (B @ g.t()).mul_(ctx.scaling)
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = fast_product(g, weight.t()).addmm_(to_low.t(), A.t()).view(ctx.shape)
        return to_x, None, None, (to_low @ x).t(), (low @ g).mul_(ctx.scaling), None
