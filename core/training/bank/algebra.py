"""Choose the library call for each matrix product of a step.

On CPUs, torch uses MKL for float32 products, and MKL uses the widest vector instructions on Intel processors only. On
other processors that have them, oneDNN, which comes with torch as well, takes half the time for large products. The
choice depends only on processor, dtype and sizes, never on a timing: a run that resumes from a checkpoint must use the
same arithmetic.
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
"""Device types with the memory layout of a CPU; ``meta`` tensors have shapes but no memory."""

LARGE = 2**20
"""Number of multiplications above which oneDNN is faster despite its longer call overhead."""


def product_into(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Write a b to ``out``, with oneDNN."""
    out.copy_(torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], ""))


def product_anew(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Set ``out`` to the result a b of oneDNN without a copy, which would cost 10 % of the time."""
    out.set_(torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], ""))


def affine_into(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
    """Write x Wᵀ + b to ``out``, with oneDNN."""
    out.copy_(torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], ""))


def affine_relu_into(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
    """Write relu(x Wᵀ + b) to ``out``, with oneDNN; the copy to ``out`` applies the ReLU."""
    torch.clamp_min(torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], ""), 0, out=out)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x Wᵀ + b, computed by the faster library."""
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
"""Functions on a tape that are matrix products."""


class Algebra:
    """Batched products over the members of a shard; a shard of one member skips the batch dimension.

    ``torch.mm`` and ``torch.bmm`` compute the same; the former has less overhead.
    """

    def __init__(self, members: int) -> None:
        self.members = members
        self._one = members == 1

    def _view(self, tensor: Tensor) -> Tensor:
        return tensor[0] if self._one else tensor

    def product(self, tape: Tape, name: str, a: Tensor, b: Tensor, out: Tensor) -> None:
        """Write a b to ``out``, all of shape (members, ·, ·)."""
        if _suits(a, b.shape[2]):
            a = _row_major(tape, a)
            for member in range(self.members):
                tape.add(name, product_into, a[member], b[member], out[member])
        else:
            tape.add(name, torch.mm if self._one else torch.bmm, *map(self._view, (a, b)), out=self._view(out))

    def product_apart(self, tape: Tape, name: str, a: Tensor, b: Tensor) -> Tensor | None:
        """A tensor that receives a b without a copy, of the shape of a single member; None if that is not possible.

        Each call changes its storage, so use this tensor itself, never a view of it.
        """
        if not self._one or not _suits(a, b.shape[2]):
            return None
        out = a.new_zeros(a.shape[1], b.shape[2])
        tape.add(name, product_anew, _row_major(tape, a)[0], b[0], out)
        return out

    def add_product(self, tape: Tape, name: str, start: Tensor, a: Tensor, b: Tensor, out: Tensor) -> None:
        """Write start + a b to ``out``; ``start`` may be ``out`` itself or broadcast to it."""
        function = torch.addmm if self._one else torch.baddbmm
        tape.add(name, function, *map(self._view, (start, a, b)), out=self._view(out))

    def affine(
        self, tape: Tape, name: str, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, relu: bool = False
    ) -> None:
        """Write x Wᵀ + b, or relu(x Wᵀ + b), to ``out``.

        Args:
            tape: the tape to add the call to.
            name: name in profiles.
            x: (members, batch, inputs).
            weight: (members, outputs, inputs).
            bias: (members, outputs), or (1, outputs) for all.
            out: (members, batch, outputs).
            relu: whether to apply the ReLU.
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
        """Write the sum over the last dimension of a, (members, ·, n), to ``out``, (members, ·)."""
        if self._one:
            # A product with ones takes half as long as torch.sum, which has more overhead.
            tape.add(name, torch.mv, a[0], a.new_ones(a.shape[2]), out=out[0])
        else:
            tape.add(name, torch.sum, a, -1, out=out)

    def affine_for_all(
        self, tape: Tape, name: str, x: Tensor, weight: Tensor, transposed: Tensor, bias: Tensor, out: Tensor
    ) -> None:
        """Write x Wᵀ + b to ``out``, with one weight for all members, as a single product.

        Args:
            tape: the tape to add the call to.
            name: name in profiles.
            x: (members, batch, inputs).
            weight: (outputs, inputs).
            transposed: contiguous transpose of the weight, with which MKL is faster.
            bias: (outputs,).
            out: (members, batch, outputs).
        """
        x, out = x.flatten(0, 1), out.flatten(0, 1)
        if _suits(x, weight.shape[0]):
            tape.add(name, affine_into, x, weight, bias, out)
        else:
            tape.add(name, torch.addmm, bias, x, transposed, out=out)

    def product_for_all(self, tape: Tape, name: str, a: Tensor, b: Tensor, out: Tensor) -> None:
        """Write a b to ``out``, with one b of shape (·, ·) for all members, as a single product."""
        a, out = a.flatten(0, 1), out.flatten(0, 1)
        if _suits(a, b.shape[1]):
            tape.add(name, product_into, a, b, out)
        else:
            tape.add(name, torch.mm, a, b, out=out)


def _row_major(tape: Tape, a: Tensor) -> Tensor:
    """Return a, or a row-major copy if it is a transposed view: torch transposes faster than oneDNN."""
    if a.stride(-1) == 1:
        return a
    copy = a.new_zeros(a.shape)
    tape.add("transpose", copy.copy_, a)
    return copy


def _suits(a: Tensor, columns: int) -> bool:
    """Whether to use oneDNN for a product of a, of shape (..., rows, inner), with a matrix of so many columns."""
    on_cpu = a.device.type in CPU_LIKE and a.dtype == torch.float32
    return on_cpu and suits_onednn(a.shape[-2], a.shape[-1], columns)


def suits_onednn(rows: int, inner: int, columns: int) -> bool:
    """Whether to use oneDNN on a CPU for a product of these sizes in float32."""
    return rows * inner * columns >= LARGE and onednn_is_faster()


@lru_cache(maxsize=1)
def onednn_is_faster() -> bool:
    """Whether this processor has wide vector instructions that oneDNN uses and MKL does not."""
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return wide and torch.has_mkl and _vendor() == "AuthenticAMD" and _works()


def _vendor() -> str:
    """Vendor of the processor; empty if unknown."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        info = platform.processor()  # Windows: "AMD64 Family 25 Model 33 Stepping 0, AuthenticAMD"
    return next((name for name in ("AuthenticAMD", "GenuineIntel") if name in info), "")


def _works() -> bool:
    """Whether this version of torch has the call, which is undocumented, and it computes the right result."""
    x, weight, out = torch.ones(2, 3), torch.ones(4, 3), torch.zeros(2, 4)
    try:
        with torch.inference_mode():
            affine_into(x, weight, torch.ones(4), out)
    except (AttributeError, RuntimeError):
        return False
    return bool((out == 4).all())
