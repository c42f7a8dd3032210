"""Weight changes ΔW of fine-tuned networks: their singular values, measures of rank, and low-rank approximations.

Weights are float64 arrays of shape (out, in), as in PyTorch, by the path of their layer. Biases are not included.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from core.errors import BaseMismatchError, LoRAError
from core.methods.lora import AdaptedLinear

Array = NDArray[np.float64]

ENERGY = 0.9
"""Default share of ‖ΔW‖² for :meth:`Spectrum.rank_holding`."""


def linear_weights(network: nn.Module) -> dict[str, Array]:
    """W of every linear layer, by the layer's path; for an adapted layer, W without the adapter."""
    found = {}
    for path, layer in _linear_layers(network).items():
        original = layer.original_weight if isinstance(layer, AdaptedLinear) else None
        linear = layer.linear if isinstance(layer, AdaptedLinear) else layer
        found[path] = _array(linear.weight if original is None else original)
    return found


def delta_weights(base: nn.Module, tuned: nn.Module) -> dict[str, Array]:
    """ΔW of every linear layer: the tuned weight minus the base's, by the layer's path.

    For an adapted layer, merged or not, ΔW is s · (A B)ᵀ, computed in float64 from its matrices. A difference of
    merged weights would contain rounding errors, which make a low-rank matrix look full-rank.

    Args:
        base: the network that training started from; its adapters are ignored.
        tuned: the network after full fine-tuning, or with adapters.

    Raises:
        BaseMismatchError: the networks have different layers, or the adapters belong to other weights.
    """
    before, after, layers = linear_weights(base), linear_weights(tuned), _linear_layers(tuned)
    if {path: weight.shape for path, weight in before.items()} != {path: w.shape for path, w in after.items()}:
        raise BaseMismatchError("These two networks have different layers: choose a base and what was tuned from it.")
    deltas = {}
    for path, weight in after.items():
        layer = layers[path]
        if isinstance(layer, AdaptedLinear):
            if not np.array_equal(weight, before[path]):
                raise BaseMismatchError(f"The adapter of layer {path} was trained on another base: choose that one.")
            deltas[path] = layer.lora.scaling * (_array(layer.lora.A) @ _array(layer.lora.B)).T
        else:
            deltas[path] = weight - before[path]
    return deltas


def with_weights(network: nn.Module, weights: Mapping[str, Array]) -> nn.Module:
    """Copy ``network`` and replace some of its weights.

    Examples: the fully tuned network with ΔW cut to rank r, or the base with W + t ΔW, which is the adapter at
    strength t.

    Args:
        network: has only plain linear layers; see :func:`core.methods.lora.base_copy` and
            :func:`core.methods.lora.merged_copy`.
        weights: (out, in) each, by the path of the layer.

    Raises:
        LoRAError: a path is not that of a plain linear layer, or a shape differs.
    """
    changed = copy.deepcopy(network)
    layers = _linear_layers(changed)
    with torch.no_grad():
        for path, weight in weights.items():
            layer = layers.get(path)
            if not isinstance(layer, nn.Linear) or tuple(layer.weight.shape) != weight.shape:
                raise LoRAError(f"This network has no plain linear layer {path} of shape {weight.shape}.")
            layer.weight.copy_(torch.from_numpy(weight))
    return changed


def _linear_layers(network: nn.Module) -> dict[str, nn.Linear | AdaptedLinear]:
    """Return linear layers by path; an adapted layer has the path of the layer it replaced."""
    found: dict[str, nn.Linear | AdaptedLinear] = {}
    for path, module in network.named_modules():
        inside = path.rpartition(".")[0] in found
        if isinstance(module, nn.Linear | AdaptedLinear) and not inside:
            found[path] = module
    return found


def _array(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().to(torch.float64).numpy().copy()


@dataclass(frozen=True)
class Spectrum:
    """Singular values of one layer's ΔW, and measures of its rank."""

    values: Array
    """(min(out, in),) σ₁ ≥ σ₂ ≥ …, all at least 0."""
    base_norm: float
    """‖W‖_F of the weight before training."""

    @property
    def rank(self) -> int:
        """Number of singular values above zero."""
        return int(np.count_nonzero(self.values))

    @cached_property
    def norm(self) -> float:
        """Frobenius norm ‖ΔW‖_F, the root of Σ σᵢ²."""
        return float(np.sqrt((self.values**2).sum()))

    @property
    def relative_norm(self) -> float:
        """Relative change ‖ΔW‖_F / ‖W‖_F; infinite if only W is zero."""
        if self.base_norm:
            return self.norm / self.base_norm
        return math.inf if self.norm else 0.0

    @cached_property
    def energy(self) -> Array:
        """Share of ‖ΔW‖_F² in the first 1, 2, … singular values, (min(out, in),); all 1 if ΔW is zero.

        It is also the share in the best approximation of that rank (Eckart and Young, Psychometrika 1, 1936).
        """
        squares = np.cumsum(self.values**2)
        return squares / squares[-1] if squares[-1] else np.ones_like(squares)

    def rank_holding(self, share: float = ENERGY) -> int:
        """Smallest rank with at least ``share`` (0 to 1) of ‖ΔW‖_F²; 0 if ΔW is zero."""
        if not self.norm:
            return 0
        # Without the margin, rounding could require one more value than necessary.
        return int(np.argmax(self.energy >= share - 1e-12)) + 1

    @property
    def effective_rank(self) -> float:
        """Effective rank exp(−Σ pᵢ ln pᵢ) with pᵢ = σᵢ / Σ σ, from 1 to min(out, in) for equal singular values.

        Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007. It is 0 if ΔW is zero.
        """
        shares = self.values[self.values > 0] / max(float(self.values.sum()), math.ulp(0))
        return float(np.exp(-(shares * np.log(shares)).sum())) if shares.size else 0.0

    @property
    def stable_rank(self) -> float:
        """Stable rank ‖ΔW‖_F² / σ₁²: at most the rank, and insensitive to small singular values.

        Source: Rudelson and Vershynin, "Sampling from large matrices", J. ACM 54 (2007). It is 0 if ΔW is zero.
        """
        return float(((self.values / self.values[0]) ** 2).sum()) if self.norm else 0.0


def spectrum(delta: Array, weight: Array) -> Spectrum:
    """Compute the spectrum of one layer; singular values due to rounding are set to zero.

    Args:
        delta: ΔW, (out, in), finite.
        weight: W before training, of the same shape.
    """
    values = np.asarray(np.linalg.svd(delta, compute_uv=False), dtype=np.float64)
    return Spectrum(np.where(values > rounding(delta.shape, values), values, 0.0), float(np.linalg.norm(weight)))


def rounding(shape: tuple[int, ...], values: NDArray[np.floating]) -> float:
    """Threshold below which singular values of a float64 matrix are due to rounding: σ₁ · max(out, in) · ε.

    This is the usual tolerance of the numerical rank (Golub and Van Loan, "Matrix Computations", §5.4).

    Args:
        shape: (out, in) of the matrix.
        values: its singular values, the largest first.
    """
    return float(values[0]) * max(shape) * float(np.finfo(np.float64).eps) if values.size else 0.0


def spectra(base: nn.Module, tuned: nn.Module) -> dict[str, Spectrum]:
    """Compute the spectrum of every linear layer, by its path.

    Raises:
        BaseMismatchError: as of :func:`delta_weights`.
    """
    weights = linear_weights(base)
    return {path: spectrum(delta, weights[path]) for path, delta in delta_weights(base, tuned).items()}


def truncated(delta: Array, rank: int) -> Array:
    """Best approximation of ``delta`` of at most this rank: Σ σᵢ uᵢ vᵢᵀ over the first ``rank`` values.

    It is optimal in the Frobenius and the spectral norm (Eckart and Young, Psychometrika 1, 1936; Mirsky 1960).

    Args:
        delta: (out, in).
        rank: at least 0; from min(out, in) on, the result equals ``delta``.
    """
    return next(truncations(delta, [rank]))


def truncations(delta: Array, ranks: Iterable[int]) -> Iterator[Array]:
    """:func:`truncated` at several ranks, from one decomposition.

    Args:
        delta: (out, in).
        ranks: 0 or above.

    Yields:
        (out, in) at each rank, in this order.
    """
    left, values, right = np.linalg.svd(delta, full_matrices=False)
    for rank in ranks:
        yield delta.copy() if rank >= min(delta.shape) else (left[:, :rank] * values[:rank]) @ right[:rank]


def cut_network(base: nn.Module, tuned: nn.Module, rank: int | Mapping[str, int]) -> nn.Module:
    """Full fine-tuning cut to rank r, a control: ``tuned`` with ΔW of every layer cut by :func:`truncated`.

    Biases keep their tuned values.

    Args:
        base: the network that training started from.
        tuned: the network after full fine-tuning, with plain linear layers.
        rank: one for all layers, or one per layer path.

    Raises:
        BaseMismatchError: as of :func:`delta_weights`.
        LoRAError: ``tuned`` has adapters.
    """
    return next(cut_networks(base, tuned, [rank]))


def cut_networks(base: nn.Module, tuned: nn.Module, ranks: Sequence[int | Mapping[str, int]]) -> Iterator[nn.Module]:
    """:func:`cut_network` at several ranks, from one decomposition per layer.

    Args: as of :func:`cut_network`.

    Raises:
        BaseMismatchError: as of :func:`delta_weights`.
        LoRAError: ``tuned`` has adapters.
    """
    weights = linear_weights(base)
    cuts = {
        path: truncations(delta, [rank if isinstance(rank, int) else rank[path] for rank in ranks])
        for path, delta in delta_weights(base, tuned).items()
    }
    for _ in ranks:
        yield with_weights(tuned, {path: weights[path] + next(cut) for path, cut in cuts.items()})
