"""What every linear layer with an adapter has: trained tensors with names, its ΔW, merging, and terms for serving.

A method has a subclass of :class:`AdaptedLinear`. Merging, files, serving and the analysis of weights ask it, and know
nothing of what is inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from core.errors import LoRAError, MergedError
from core.methods.linear import features, is_transposed


@dataclass(frozen=True, eq=False)
class Terms:
    """What an adapter makes of a layer y = x Wᵀ + b: (x + inputs ⊙ x) Wᵀ + b, plus (x A) B, plus gain ⊙ (y - b)."""

    A: Tensor
    """(r, in); r is 0 without such a term."""
    B: Tensor
    """(r, out), with all factors."""
    gain: Tensor | None = None
    """(out,); None for zero."""
    inputs: Tensor | None = None
    """(in,); None for zero."""

    @property
    def rank(self) -> int:
        """Number of rows of A and of B."""
        return len(self.A)

    @property
    def vector_bytes(self) -> int:
        """Bytes of what is held beside the rows."""
        return sum(vector.nbytes for vector in (self.gain, self.inputs) if vector is not None)

    def magnitudes(self, weight: Tensor) -> Tensor:
        """Sums of absolute values behind the layer's outputs, per unit of its inputs: (out, in), as ``weight``."""
        scaled = weight.abs() * (1.0 if self.gain is None else 1.0 + self.gain.abs()[:, None])
        if self.inputs is not None:
            scaled = scaled * (1.0 + self.inputs.abs())
        return scaled + self.B.abs().T @ self.A.abs()


class Factors(NamedTuple):
    """A ΔW of low rank, as the product s · (A B)ᵀ."""

    A: Tensor
    """(in, r)."""
    B: Tensor
    """(r, out)."""
    scaling: float
    """The factor s."""


class AdaptedLinear(nn.Module):
    """A linear layer with an adapter. A subclass has the trained tensors, ``forward()``, ``delta()`` and ``terms()``.

    It has the ``weight`` and ``bias`` of the layer that it computes, for code that uses them instead of calling the
    layer: ``nn.TransformerEncoderLayer`` does in its fast path, T5 in its feed-forward part.
    """

    original_weight: Tensor | None

    names: ClassVar[Mapping[str, str]]
    """The trained tensors: names in the layer, as in ``lora.A``, and PEFT's names of them, as in ``lora_A.weight``."""
    unscaled: ClassVar[tuple[str, ...]] = ()
    """What of the adapter :meth:`strengthened` leaves as it is, in words, as in ``magnitudes``."""

    def __init__(self, linear: nn.Linear) -> None:
        """Args: linear: the layer to adapt; it is not changed.

        Raises:
            LoRAError: ``linear`` is neither an ``nn.Linear`` nor a ``Conv1D``.
        """
        super().__init__()
        if not isinstance(linear, nn.Linear) and not is_transposed(linear):
            raise LoRAError(f"LoRA adapts Linear layers, not {type(linear).__name__}.")
        self.linear = linear
        self.in_features, self.out_features = features(linear)
        self.register_buffer("original_weight", None, persistent=False)

    @property
    def rank(self) -> int:
        """Inner dimension of the matrices that it trains; 0 for an adapter without such matrices."""
        return 0

    @property
    def merged(self) -> bool:
        """Whether ``linear.weight`` is W + ΔW now."""
        return self.original_weight is not None

    def tensors(self) -> dict[str, Tensor]:
        """The trained tensors under PEFT's names and in its orientation."""
        return {peft: self.get_parameter(own) for own, peft in self.names.items()}

    def terms(self) -> Terms:
        """What the adapter adds, in a form in which rows of one batch may have adapters of several methods."""
        raise NotImplementedError

    def factors(self) -> Factors | None:
        """ΔW as a product of low rank; None for a ΔW that is no such product."""
        return None

    def drawn(self) -> Tensor | None:
        """The trained tensor that starts from random numbers; None if training starts without any."""
        return None

    @contextmanager
    def strengthened(self, factor: float) -> Iterator[None]:
        """Multiply the strength of the adapter by a factor, if its method has one, until the context ends."""
        yield

    @property
    def weight(self) -> Tensor:
        """W + ΔW in the shape of ``linear.weight``; it has a gradient with respect to the adapter unless merged."""
        return self.linear.weight if self.merged else self.summed_weight()

    @property
    def bias(self) -> nn.Parameter | None:
        """The bias of ``linear``, which has no adapter."""
        return self.linear.bias

    def delta(self, dtype: torch.dtype | None = None) -> Tensor:
        """ΔW of shape (out, in), merged or not.

        Args:
            dtype: in which it is computed; None for that of the trained tensors, at least float32.
        """
        raise NotImplementedError

    def summed_weight(self) -> Tensor:
        """W + ΔW in the shape of ``linear.weight``, added in at least float32 and rounded once."""
        weight, delta = self.linear.weight, self.delta()
        if is_transposed(self.linear):
            delta = delta.T
        return (weight.to(sum_dtype(weight)) + delta).to(weight.dtype)

    def _refuse_training_when_merged(self) -> None:
        if self.training and torch.is_grad_enabled():
            raise MergedError("This network is merged, so training would change the base: call unmerge() first.")


def plain_linear(layer: nn.Module) -> nn.Linear:
    """The plain linear layer, with the frozen weight and bias if it is adapted."""
    return layer.linear if isinstance(layer, AdaptedLinear) else layer  # type: ignore[return-value]


def frozen_weight(layer: nn.Linear | AdaptedLinear) -> Tensor:
    """W of shape (out, in); of an adapted layer, merged or not, the one that the adapter was put on."""
    linear = plain_linear(layer)
    original = layer.original_weight if isinstance(layer, AdaptedLinear) else None
    weight = linear.weight if original is None else original
    return weight.T if is_transposed(linear) else weight


def sum_dtype(weight: Tensor) -> torch.dtype:
    """The type in which a weight and its change are added: its own, but at least float32."""
    return torch.promote_types(weight.dtype, torch.float32)
