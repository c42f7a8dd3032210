"""Adapted layers of a network: finding them, merging and unmerging them.

Only ``merge`` and ``unmerge`` modify a network in place.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from core.errors import LoRAError
from core.methods.adapted import AdaptedLinear


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
