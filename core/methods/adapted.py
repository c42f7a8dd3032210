"""What every linear layer with an adapter has: trained tensors with names, its ΔW, merging, and terms for serving.

A method has a subclass of :class:`AdaptedLinear`. Merging, files, serving and the analysis of weights ask it, and know
nothing of what is inside. Only ``merge`` and ``unmerge`` modify a network in place.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

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


def adapted_layers(model: nn.Module) -> dict[str, AdaptedLinear]:
    """Every layer with an adapter, by its path in ``model``."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AdaptedLinear)}


def merge(model: nn.Module) -> None:
    """Add every adapter to its layer's weight, in place; a second call changes nothing.

    Sums are computed in float32 (or wider) and rounded once. All of them are computed and checked before any weight
    changes, so a failure leaves the model unchanged.

    Raises:
        LoRAError: there are no adapters, a sum is not finite, or a weight is shared with another layer.
    """
    layers = adapted_layers(model)
    if not layers:
        raise LoRAError("There is nothing to merge: this network has no LoRA adapters.")
    shared = _shared_storages(model)
    sums: dict[str, Tensor] = {}
    with torch.no_grad():
        for path, layer in layers.items():
            if layer.merged:
                continue
            if layer.linear.weight.untyped_storage().data_ptr() in shared:
                raise LoRAError(f"Layer {path} shares its weight with another layer: merging would change both.")
            sums[path] = layer.summed_weight()
            if not torch.isfinite(sums[path]).all():
                raise LoRAError(f"The adapter of layer {path} has values that are not finite: nothing was merged.")
        for path, total in sums.items():
            weight = layers[path].linear.weight
            layers[path].original_weight = weight.detach().clone()
            weight.copy_(total)


def unmerge(model: nn.Module) -> None:
    """Restore the weights that :func:`merge` replaced, bit for bit, in place."""
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            if layer.original_weight is not None:
                layer.linear.weight.copy_(layer.original_weight)
                layer.original_weight = None


def merged_copy(model: nn.Module) -> nn.Module:
    """A network of plain linear layers that computes the same as ``model``, which is not changed.

    Raises:
        LoRAError: see :func:`merge`.
    """
    plain = copy.deepcopy(model)
    merge(plain)
    return _without_adapters(plain)


def base_copy(model: nn.Module, shared: Iterable[Tensor] = ()) -> nn.Module:
    """A copy of ``model`` without its adapters; ``model`` is not changed.

    Args:
        model: any network with adapters. Its head, if it has one, is copied as it was trained.
        shared: tensors of ``model``, which must be unmerged, that the copy uses as they are, to save memory.
    """
    plain = copy.deepcopy(model, {id(tensor): tensor for tensor in shared})
    unmerge(plain)
    return _without_adapters(plain)


def _without_adapters(plain: nn.Module) -> nn.Module:
    """Replace every adapted layer by its linear layer, in place."""
    for path, module in list(plain.named_modules(remove_duplicate=False)):
        if isinstance(module, AdaptedLinear):
            parent, _, name = path.rpartition(".")
            setattr(plain.get_submodule(parent), name, module.linear)
    return plain


def _shared_storages(model: nn.Module) -> set[int]:
    """Addresses of storages that several modules, or several names in one module, use as parameters."""
    parameters = (p for module in model.modules() for p in module._parameters.values() if p is not None)
    counts = Counter(p.untyped_storage().data_ptr() for p in parameters)
    return {address for address, count in counts.items() if count > 1}
