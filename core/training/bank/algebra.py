"""The matrix products of a step: which call of which library makes each of them.

torch gives float32 products of a CPU to MKL, and MKL uses the widest instructions of Intel's processors
only. On others that have them, oneDNN, which torch brings as well, takes half the time for large products.
The choice follows from the processor, dtype and sizes alone, never from a timing: a run that goes on from
a checkpoint must find the same arithmetic again.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from core.training.bank.tape import Tape

CPU_LIKE = ("cpu", "meta")
"""Types of devices that work is laid out for as on a CPU. A ``meta`` tensor has a shape and no memory: a bank of such
tensors is how :mod:`core.engine.bank_memory` counts what a real one takes."""

LARGE = 2**20
"""Multiplications of a product from which on oneDNN's longer way in is made good."""


def product_into(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Put a b into ``out``, by oneDNN."""
    out.copy_(torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], ""))


def product_anew(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Let ``out`` be a b, by oneDNN: it takes over the memory of the result, which copying would cost a tenth."""
    out.set_(torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], ""))


def affine_into(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
    """Put x Wᵀ + b into ``out``, by oneDNN."""
    out.copy_(torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], ""))


def affine_relu_into(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
    """Put relu(x Wᵀ + b) into ``out``, by oneDNN: the copy that is needed anyway cuts off what is below zero."""
    torch.clamp_min(torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], ""), 0, out=out)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """X Wᵀ + b as a new tensor, by whichever makes it faster."""
    if _suits(x, weight.shape[0]):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]
    return F.linear(x, weight, bias)


PRODUCTS: tuple[Callable[..., object], ...] = (
    torch.mm,
    torch.addmm,
    torch.bmm,
    torch.baddbmm,
    product_into,
    product_anew,
    affine_into,
    affine_relu_into,
)
"""Calls of a tape that are matrix products."""


class Algebra:
    """Batched products over the members of a shard; a shard of one skips the batch dimension.

    ``torch.mm`` and ``torch.bmm`` compute the same; the former is quicker to start.
    """

    def __init__(self, members: int) -> None:
        self.members = members
        self._one = members == 1

    def _view(self, tensor: Tensor) -> Tensor:
        return tensor[0] if self._one else tensor

    def product(self, tape: Tape, name: str, a: Tensor, b: Tensor, out: Tensor) -> None:
        """Put a b into ``out``, all of shape (members, ·, ·)."""
        if _suits(a, b.shape[2]):
            a = _in_order(tape, a)
            for member in range(self.members):
                tape.add(name, product_into, a[member], b[member], out[member])
        else:
            tape.add(name, torch.mm if self._one else torch.bmm, *map(self._view, (a, b)), out=self._view(out))

    def product_apart(self, tape: Tape, name: str, a: Tensor, b: Tensor) -> Tensor | None:
        """A tensor that a b is put into without a copy, where that can be had: of one member, shaped without it.

        Each call hands it other memory, so it must be used itself, never a view of it.
        """
        if not self._one or not _suits(a, b.shape[2]):
            return None
        out = a.new_zeros(a.shape[1], b.shape[2])
        tape.add(name, product_anew, _in_order(tape, a)[0], b[0], out)
        return out

    def add_product(self, tape: Tape, name: str, start: Tensor, a: Tensor, b: Tensor, out: Tensor) -> None:
        """Put start + a b into ``out``; ``start`` may be ``out`` itself or broadcast to it."""
        function = torch.addmm if self._one else torch.baddbmm
        tape.add(name, function, *map(self._view, (start, a, b)), out=self._view(out))

    def affine(
        self, tape: Tape, name: str, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, relu: bool = False
    ) -> None:
        """Put x Wᵀ + b into ``out``, or relu of it.

        Args:
            tape: where to add it.
            name: for profiles.
            x: (members, batch, inputs).
            weight: (members, outputs, inputs).
            bias: (members, outputs), or (1, outputs) for all.
            out: (members, batch, outputs).
            relu: whether to put zero for what is below it.
        """
        if _suits(x, weight.shape[1]):
            each, function = bias.expand(self.members, -1), affine_relu_into if relu else affine_into
            for member in range(self.members):
                tape.add(name, function, x[member], weight[member], each[member], out[member])
            return
        self.add_product(tape, name, bias.unsqueeze(1), x, weight.transpose(-1, -2), out)
        if relu:
            tape.add("relu", torch.relu_, out)

    def sum_columns(self, tape: Tape, name: str, a: Tensor, out: Tensor) -> None:
        """Put the sum along the last dimension of a, (members, ·, n), into ``out``, (members, ·)."""
        if self._one:
            # A product with ones is half as long as torch.sum, which asks more before it begins.
            tape.add(name, torch.mv, a[0], a.new_ones(a.shape[2]), out=out[0])
        else:
            tape.add(name, torch.sum, a, -1, out=out)

    def affine_for_all(
        self, tape: Tape, name: str, x: Tensor, weight: Tensor, turned: Tensor, bias: Tensor, out: Tensor
    ) -> None:
        """Put x Wᵀ + b into ``out``, with one weight for all members: one tall product.

        Args:
            tape: where to add it.
            name: for profiles.
            x: (members, batch, inputs).
            weight: (outputs, inputs).
            turned: its transpose in the order of its own rows, which MKL is quicker with.
            bias: (outputs,).
            out: (members, batch, outputs).
        """
        x, out = x.flatten(0, 1), out.flatten(0, 1)
        if _suits(x, weight.shape[0]):
            tape.add(name, affine_into, x, weight, bias, out)
        else:
            tape.add(name, torch.addmm, bias, x, turned, out=out)

    def product_for_all(self, tape: Tape, name: str, a: Tensor, b: Tensor, out: Tensor) -> None:
        """Put a b into ``out``, with one b of shape (·, ·) for all members: one tall product."""
        a, out = a.flatten(0, 1), out.flatten(0, 1)
        if _suits(a, b.shape[1]):
            tape.add(name, product_into, a, b, out)
        else:
            tape.add(name, torch.mm, a, b, out=out)


def _in_order(tape: Tape, a: Tensor) -> Tensor:
    """a, or where it is a turned view a copy in the order of its rows: oneDNN takes longer to turn it than torch."""
    if a.stride(-1) == 1:
        return a
    copy = a.new_zeros(a.shape)
    tape.add("turn", copy.copy_, a)
    return copy


def _suits(a: Tensor, columns: int) -> bool:
    """Whether oneDNN is the one to multiply a, of shape (..., rows, inner), with something of so many columns."""
    large = a.shape[-2] * a.shape[-1] * columns >= LARGE
    return large and a.device.type in CPU_LIKE and a.dtype == torch.float32 and onednn_is_faster()


@lru_cache(maxsize=1)
def onednn_is_faster() -> bool:
    """Whether this processor has wide instructions that oneDNN uses and MKL does not."""
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return wide and torch.has_mkl and _maker() == "AuthenticAMD" and _works()


def _maker() -> str:
    """Who made the processor, as it says itself; empty where the system does not tell."""
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        told = platform.processor()  # Windows: "AMD64 Family 25 Model 33 Stepping 0, AuthenticAMD"
    return next((name for name in ("AuthenticAMD", "GenuineIntel") if name in told), "")


def _works() -> bool:
    """Whether this torch has the call, and it computes what it should: it is not one of the documented ones."""
    x, weight, out = torch.ones(2, 3), torch.ones(4, 3), torch.zeros(2, 4)
    try:
        with torch.inference_mode():
            affine_into(x, weight, torch.ones(4), out)
    except (AttributeError, RuntimeError):
        return False
    return bool((out == 4).all())
