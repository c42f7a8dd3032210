"""What fine-tuning did to each weight: ΔW, its singular values, and how many of them matter.

Weights are float64 arrays of shape (out, in), as PyTorch keeps them, by the path of their layer. Biases are left out,
and so is a head that was drawn from a seed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from core.errors import BaseMismatchError, LoRAError
from core.methods.adapted import AdaptedLinear, frozen_weight, plain_linear
from core.methods.linear import features, is_linear, is_transposed
from core.methods.targets import head_paths, is_in_head
from core.study.weights.decomposition import (
    Array,
    rounding,
    singular_values,
    singular_vectors,
)

ENERGY = 0.9
"""Share of ‖ΔW‖² that the rank of a spectrum holds, where no other is asked for."""


class LayerArrays(Mapping[str, Array]):
    """One array per layer, by the layer's path. Each is computed when it is asked for and not kept: in float64, those
    of all layers of a transformer would take several times the network's memory.
    """

    def __init__(self, paths: Iterable[str], compute: Callable[[str], Array]) -> None:
        """Args: paths: of the layers, from the input to the output; compute: gives the array of a layer."""
        self._paths = dict.fromkeys(paths)
        self._compute = compute

    def __getitem__(self, path: str) -> Array:
        if path not in self._paths:
            raise KeyError(path)
        return self._compute(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def linear_weights(network: nn.Module) -> LayerArrays:
    """W of every linear layer, by the layer's path; of an adapted layer the one that the adapter was put on.

    Layers of a head that was drawn from a seed are left out: it is new, and training did not change it from anything.
    """
    layers = linear_layers(network)
    return LayerArrays(layers, lambda path: _array(frozen_weight(layers[path])))


def delta_weights(base: nn.Module, tuned: nn.Module) -> LayerArrays:
    """ΔW of every linear layer but those of the head: the tuned weight minus the base's, by the layer's path.

    An adapted layer, merged or not, gives ΔW from its own matrices in float64, as s · (A B)ᵀ. The difference of the
    sums would be the same but for rounding, which makes a low rank look full.

    Args:
        base: the network that training started from; adapters on it do not count.
        tuned: the network fully fine-tuned, or with its adapters.

    Raises:
        BaseMismatchError: the networks have different layers, or the adapters were put on other weights.
    """
    before, after = linear_layers(base), linear_layers(tuned)
    if {path: features(plain_linear(layer)) for path, layer in before.items()} != {
        path: features(plain_linear(layer)) for path, layer in after.items()
    }:
        raise BaseMismatchError("These two networks have different layers: choose a base and what was tuned from it.")
    for path, layer in after.items():
        if isinstance(layer, AdaptedLinear) and not torch.equal(frozen_weight(layer), frozen_weight(before[path])):
            raise BaseMismatchError(f"The adapter of layer {path} was trained on another base: choose that one.")

    def delta(path: str) -> Array:
        layer = after[path]
        if isinstance(layer, AdaptedLinear):
            return _array(layer.delta(torch.float64))
        return _array(frozen_weight(layer)) - _array(frozen_weight(before[path]))

    return LayerArrays(after, delta)


def with_weights(network: nn.Module, weights: Mapping[str, Array]) -> nn.Module:
    """A copy of ``network`` with some weights in place of its own; biases and all else stay.

    With W + ΔW cut to rank r on the fully tuned network it is the control of that rank; with W + t ΔW on the
    base it is the adapter at strength t, and without a layer's ΔW that layer's adapter is off.

    Args:
        network: of plain linear layers; see :func:`core.methods.adapted.base_copy` and
            :func:`core.methods.adapted.merged_copy`.
        weights: (out, in) each, by the path of the layer.

    Raises:
        LoRAError: a path that is no plain linear layer, or another shape.
    """
    changed = copy.deepcopy(network)
    layers = linear_layers(changed)
    with torch.no_grad():
        for path in weights:
            layer, weight = layers.get(path), weights[path]
            if layer is None or isinstance(layer, AdaptedLinear) or features(layer)[::-1] != weight.shape:
                raise LoRAError(f"This network has no plain linear layer {path} of shape {weight.shape}.")
            layer.weight.copy_(torch.from_numpy(weight.T if is_transposed(layer) else weight))
    return changed


def linear_layers(network: nn.Module) -> dict[str, nn.Linear | AdaptedLinear]:
    """The linear layers of a network but those of its head, by path; an adapted one has the path of the plain one."""
    found: dict[str, nn.Linear | AdaptedLinear] = {}
    head = head_paths(network)
    for path, module in network.named_modules():
        inside = path.rpartition(".")[0] in found or is_in_head(path, head)
        if (isinstance(module, AdaptedLinear) or is_linear(module)) and not inside:
            found[path] = module
    return found


def _array(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().to(torch.float64).numpy().copy()


@dataclass(frozen=True)
class Spectrum:
    """Singular values of one layer's ΔW, and what they say of its rank."""

    values: Array
    """(min(out, in),) σ₁ ≥ σ₂ ≥ …, all at least 0."""
    base_norm: float
    """‖W‖_F of the weight before training."""

    @property
    def rank(self) -> int:
        """How many singular values are above zero."""
        return int(np.count_nonzero(self.values))

    @cached_property
    def norm(self) -> float:
        """‖ΔW‖_F, the root of Σ σᵢ²."""
        return float(np.sqrt((self.values**2).sum()))

    @property
    def relative_norm(self) -> float:
        """‖ΔW‖_F / ‖W‖_F: how far the layer moved; infinite where W is zero and ΔW is not."""
        if self.base_norm:
            return self.norm / self.base_norm
        return math.inf if self.norm else 0.0

    @cached_property
    def energy(self) -> Array:
        """(min(out, in),) share of ‖ΔW‖_F² that the first 1, 2, … values hold; all 1 where ΔW is zero.

        It is also what the best approximation of that rank keeps (Eckart and Young, Psychometrika 1, 1936).
        """
        squares = np.cumsum(self.values**2)
        return squares / squares[-1] if squares[-1] else np.ones_like(squares)

    def rank_holding(self, share: float = ENERGY) -> int:
        """The smallest rank that holds ``share`` of ‖ΔW‖_F², 0 to 1; 0 where ΔW is zero."""
        if not self.norm:
            return 0
        # Rounding must not ask for one more where the values up to here hold it all.
        return int(np.argmax(self.energy >= share - 1e-12)) + 1

    @property
    def effective_rank(self) -> float:
        """exp(−Σ pᵢ ln pᵢ) with pᵢ = σᵢ / Σ σ: from 1 for one direction to min(out, in) for equal ones.

        Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007. 0 where ΔW is zero.
        """
        shares = self.values[self.values > 0] / max(float(self.values.sum()), math.ulp(0))
        return float(np.exp(-(shares * np.log(shares)).sum())) if shares.size else 0.0

    @property
    def stable_rank(self) -> float:
        """‖ΔW‖_F² / σ₁²: never above the rank, and little moved by small values.

        Source: Rudelson and Vershynin, "Sampling from large matrices", J. ACM 54 (2007). 0 where ΔW is zero.
        """
        return float(((self.values / self.values[0]) ** 2).sum()) if self.norm else 0.0


def spectrum(delta: Array, weight: Array) -> Spectrum:
    """The spectrum of one layer; singular values that are nothing but rounding are zero.

    Args:
        delta: ΔW, (out, in), finite.
        weight: W before training, of the same shape.
    """
    values = singular_values(delta)
    return Spectrum(np.where(values > rounding(delta.shape, values), values, 0.0), float(np.linalg.norm(weight)))


def truncations(delta: Array, ranks: Iterable[int]) -> Iterator[Array]:
    """The matrices of at most each rank that are nearest to ``delta``, from one decomposition.

    Nearest in the Frobenius and the spectral norm: Σ σᵢ uᵢ vᵢᵀ over the first values (Eckart and Young, Psychometrika
    1, 1936; Mirsky 1960).

    Args:
        delta: (out, in).
        ranks: 0 or above; at min(out, in) and more, ``delta`` itself.

    Yields:
        (out, in) at each rank, in this order.
    """
    left, values, right = singular_vectors(delta)
    for rank in ranks:
        yield delta.copy() if rank >= min(delta.shape) else (left[:, :rank] * values[:rank]) @ right[:rank]


def cut_networks(
    base: nn.Module,
    tuned: nn.Module,
    ranks: Sequence[int],
    whole: Collection[str] = (),
) -> Iterator[nn.Module]:
    """The control "full fine-tuning cut to rank r": ``tuned`` with ΔW of every layer cut by :func:`truncations`.

    Biases keep their tuned values, and so does a head, which every method trains whole. Adapters train no biases, so
    this has a little more than one of that rank.

    Args:
        base: the network that training started from.
        tuned: the network after full fine-tuning, with plain linear layers.
        ranks: one for each network.
        whole: paths of layers that are not cut.

    Raises:
        BaseMismatchError: as of :func:`delta_weights`.
        LoRAError: ``tuned`` carries adapters.
    """
    weights = linear_weights(base)
    cuts = {path: truncations(delta, ranks) for path, delta in delta_weights(base, tuned).items() if path not in whole}
    for _ in ranks:
        yield with_weights(tuned, LayerArrays(cuts, lambda path: weights[path] + next(cuts[path])))
