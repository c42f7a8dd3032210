"""Layers of low-rank adaptation (Hu et al. 2021, arXiv 2106.09685): y = x Wᵀ + b + s · (x A) B.

W of shape (out, in) is frozen; A of shape (in, r) and B of shape (r, out) are trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, Self, get_args

import torch
from torch import Tensor, nn

from core.errors import LoRAError
from core.methods.adapted import AdaptedLinear, Terms, sum_dtype
from core.methods.linear import features, product

Scaling = Literal["alpha/r", "alpha", "alpha/sqrt(r)"]
Start = Literal["kaiming", "gaussian"]

SCALINGS: tuple[Scaling, ...] = get_args(Scaling)
STARTS: tuple[Start, ...] = get_args(Start)

MATRICES = ("lora_A.weight", "lora_B.weight")
"""PEFT's names of A and B."""


def scaling_factor(scaling: Scaling, alpha: float, rank: int) -> float:
    """The factor s on an adapter's output.

    ``alpha/r`` is section 4.1 of the LoRA paper and PEFT's default; ``alpha/sqrt(r)`` is rsLoRA (Kalajdzievski 2023,
    arXiv 2312.03732); ``alpha`` is the plain factor of many tutorials.

    Raises:
        LoRAError: not one of :data:`SCALINGS`.
    """
    match scaling:
        case "alpha/r":
            return alpha / rank
        case "alpha":
            return alpha
        case "alpha/sqrt(r)":
            return alpha / math.sqrt(rank)
        case _:
            raise LoRAError(f"Scaling must be one of {', '.join(SCALINGS)}, not {scaling!r}.")


def alpha_for(scaling: Scaling, factor: float, rank: int) -> float:
    """The alpha that gives ``factor`` at ``rank``: the inverse of :func:`scaling_factor`."""
    return factor / scaling_factor(scaling, 1.0, rank)


class LoRALayer(nn.Module):
    """The adapter of a linear layer: maps x of shape (..., in) to s · (x A) B of shape (..., out)."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        rank: int,
        alpha: float,
        scaling: Scaling = "alpha/r",
        start: Start = "kaiming",
        generator: torch.Generator | None = None,
    ) -> None:
        """Initialize A randomly and B with zeros, so that the adapted network starts exactly equal to the base.

        Args:
            in_dim: number of inputs of the adapted layer.
            out_dim: number of outputs of the adapted layer.
            rank: r, from 1 to min(in_dim, out_dim).
            alpha: strength, finite and positive.
            scaling: how s is computed; see :func:`scaling_factor`.
            start: ``kaiming`` draws A uniformly with bound 1/√in, as PEFT does by default; ``gaussian`` draws it with
                standard deviation 1/r, as PEFT's option of that name does.
            generator: random number generator; None for torch's global one.

        Raises:
            LoRAError: rank or alpha is out of range.
        """
        super().__init__()
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
            raise LoRAError(f"Rank must be a whole number of at least 1, not {rank!r}.")
        if rank > min(in_dim, out_dim):
            raise LoRAError(
                f"Rank {rank} is above {min(in_dim, out_dim)}, the maximum for a layer with "
                f"{in_dim} inputs and {out_dim} outputs; choose a smaller rank."
            )
        if not isinstance(alpha, int | float) or not 0 < alpha < math.inf:
            raise LoRAError(f"Alpha must be a finite number above 0, not {alpha!r}.")
        self.rank = rank
        self.alpha = float(alpha)
        self.scaling = scaling_factor(scaling, self.alpha, rank)
        self.A = nn.Parameter(torch.empty(in_dim, rank))
        self.B = nn.Parameter(torch.zeros(rank, out_dim))
        with torch.no_grad():
            if start == "kaiming":
                self.A.uniform_(-1 / math.sqrt(in_dim), 1 / math.sqrt(in_dim), generator=generator)
            elif start == "gaussian":
                self.A.normal_(std=1 / rank, generator=generator)
            else:
                raise LoRAError(f"The initialization of A must be kaiming or gaussian, not {start!r}.")

    def forward(self, x: Tensor) -> Tensor:
        return self.scaling * (x.to(self.A.dtype) @ self.A @ self.B)

    def delta(self, dtype: torch.dtype | None = None) -> Tensor:
        """ΔW = s · (A B)ᵀ, of shape (out, in) like the weight of the adapted layer, in at least float32."""
        dtype = dtype or sum_dtype(self.A)
        return self.scaling * (self.A.to(dtype) @ self.B.to(dtype)).T


class LowRankLinear(AdaptedLinear):
    """A linear layer with matrices A and B; subclasses differ in what they compute with them, and in which order."""

    names = {"lora.A": MATRICES[0], "lora.B": MATRICES[1]}  # noqa: RUF012 (a constant)

    def __init__(
        self,
        linear: nn.Linear,
        rank: int,
        alpha: float,
        scaling: Scaling = "alpha/r",
        start: Start = "kaiming",
        generator: torch.Generator | None = None,
    ) -> None:
        """Add a new :class:`LoRALayer` to ``linear``, which is not changed. Args: as in :class:`LoRALayer`.

        Raises:
            LoRAError: rank or alpha is out of range, or ``linear`` is neither an ``nn.Linear`` nor a ``Conv1D``.
        """
        super().__init__(linear)
        self.lora = LoRALayer(self.in_features, self.out_features, rank, alpha, scaling, start, generator)
        # The adapter of half-precision weights is float32: its updates are too small for 8 bits of mantissa.
        self.lora.to(device=linear.weight.device, dtype=sum_dtype(linear.weight))
        self.train(linear.training)

    @classmethod
    def holding(
        cls,
        linear: nn.Linear,
        A: Tensor,
        B: Tensor,
        alpha: float,
        scaling: Scaling,
        others: Mapping[str, Tensor] | None = None,
    ) -> Self:
        """Add an adapter with given matrices, such as those of an adapter file.

        Args:
            linear: the layer to adapt.
            A: of shape (in, r); r may exceed min(in, out), as other trainers allow.
            B: of shape (r, out).
            alpha: strength, finite and positive.
            scaling: how s is computed.
            others: values of the other trained tensors, by their names in the layer.

        Raises:
            LoRAError: the shapes do not match, or alpha is out of range.
        """
        rank, (in_features, out_features) = A.shape[-1], features(linear)
        if A.shape != (in_features, rank) or B.shape != (rank, out_features):
            raise LoRAError(
                f"Matrices of shapes {tuple(A.shape)} and {tuple(B.shape)} do not fit a layer with "
                f"{in_features} inputs and {out_features} outputs."
            )
        # With its own generator, so that the global one, which other threads may use, is left alone.
        layer = cls(linear, 1, alpha, scaling, generator=torch.Generator())
        layer.lora.A = nn.Parameter(A.detach().to(layer.lora.A, copy=True))
        layer.lora.B = nn.Parameter(B.detach().to(layer.lora.B, copy=True))
        layer.lora.rank = rank
        layer.lora.scaling = scaling_factor(scaling, layer.lora.alpha, rank)
        for name, values in (others or {}).items():
            setattr(layer, name, nn.Parameter(values.detach().to(getattr(layer, name), copy=True)))
        return layer

    @property
    def rank(self) -> int:
        return self.lora.rank

    def tensors(self) -> dict[str, Tensor]:
        """The trained tensors under PEFT's names and in its orientation: A as (r, in), B as (out, r)."""
        return {peft: tensor.T if peft in MATRICES else tensor for peft, tensor in super().tensors().items()}

    @classmethod
    def other_shapes(cls, outputs: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the trained tensors beside A and B, by PEFT's names, in a layer with so many outputs."""
        return {}

    def terms(self) -> Terms:
        return Terms(self.lora.A.T, self.lora.scaling * self.lora.B)

    def drawn(self) -> Tensor | None:
        return self.lora.A

    @contextmanager
    def strengthened(self, factor: float) -> Iterator[None]:
        before = self.lora.scaling
        try:
            self.lora.scaling *= factor
            yield
        finally:
            self.lora.scaling = before

    def delta(self, dtype: torch.dtype | None = None) -> Tensor:
        return self.lora.delta(dtype)


class LinearWithLoRA(LowRankLinear):
    """Computes x Wᵀ + b and s · (x A) B, and adds them."""

    def forward(self, x: Tensor) -> Tensor:
        base: Tensor = self.linear(x)
        if self.merged:
            self._refuse_training_when_merged()
            return base
        update: Tensor = self.lora(x)
        return (base + update).to(base.dtype)


class LinearWithLoRAMerged(LowRankLinear):
    """Computes x (W + ΔW)ᵀ + b, which equals the output of :class:`LinearWithLoRA` by distributivity."""

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            self._refuse_training_when_merged()
        return product(self.linear, x, self.weight)
