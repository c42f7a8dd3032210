"""Low-rank adaptation of a network: adding adapters, merging and unmerging them.

Only ``merge``, ``unmerge``, ``add_lora`` and ``freeze_linear_layers`` modify a network in place.
"""

from __future__ import annotations

import copy
from collections import Counter

import torch
from torch import Tensor, nn

from core.errors import LoRAError
from core.methods.layers import AdaptedLinear, LinearWithLoRA, alpha_for, scaling_factor
from core.methods.linear import features, is_linear
from core.methods.targets import find_targets
from core.spec import LoRASpec


def freeze_linear_layers(model: nn.Module) -> None:
    """Freeze every linear layer in ``model``; adapters stay trainable."""
    for module in model.modules():
        if isinstance(module, nn.Linear) or is_linear(module):
            for parameter in module.parameters():
                parameter.requires_grad = False


def adapted_layers(model: nn.Module) -> dict[str, AdaptedLinear]:
    """Every layer with an adapter, by its path in ``model``."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AdaptedLinear)}


def add_lora(
    model: nn.Module,
    config: LoRASpec,
    generator: torch.Generator | None = None,
    layer: type[AdaptedLinear] = LinearWithLoRA,
) -> nn.Module:
    """Add adapters to the targeted layers of ``model`` and freeze everything else, in place.

    A layer whose min(in, out) is below the rank gets that smaller rank, since a higher one would add parameters but no
    expressiveness; its scaling is that of the requested rank.

    Args:
        model: any network; only plain linear layers can be targeted, see :func:`core.methods.targets.find_targets`.
        config: rank, alpha, scaling, start and targets.
        generator: random number generator for A.
        layer: :class:`LinearWithLoRA` or :class:`core.methods.layers.LinearWithLoRAMerged`.

    Returns:
        ``model`` itself.

    Raises:
        LoRAError: a target matches nothing or something that is not a plain linear layer, the rank is above every
            targeted layer's min(in, out), or the model already has adapters. The model is then unchanged.
    """
    if adapted_layers(model):
        raise LoRAError("This network already has LoRA adapters; start from the base network.")
    targets = find_targets(model, config.target_modules)
    limit = max(min(features(linear)) for linear in targets.values())
    if config.rank > limit:
        raise LoRAError(
            f"Rank {config.rank} is above {limit}, the maximum for the targeted layers; choose a smaller rank."
        )
    factor = scaling_factor(config.scaling, config.alpha, config.rank)
    adapters: dict[int, AdaptedLinear] = {}
    for linear in targets.values():
        rank = min(config.rank, *features(linear))
        # An uncapped layer gets alpha unchanged: computing it from the factor could change its last bit.
        alpha = config.alpha if rank == config.rank else alpha_for(config.scaling, factor, rank)
        adapters.setdefault(id(linear), layer(linear, rank, alpha, config.scaling, config.start, generator))
    for parameter in model.parameters():
        parameter.requires_grad = False
    for path, linear in targets.items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, adapters[id(linear)])
    return model


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


def base_copy(model: nn.Module) -> nn.Module:
    """A copy of ``model`` without its adapters; ``model`` is not changed."""
    plain = copy.deepcopy(model)
    unmerge(plain)
    return _without_adapters(plain)


def _without_adapters(plain: nn.Module) -> nn.Module:
    """Replace every adapted layer by its linear layer, in place."""
    for path, module in list(plain.named_modules(remove_duplicate=False)):
        if isinstance(module, AdaptedLinear):
            parent, _, name = path.rpartition(".")
            setattr(plain.get_submodule(parent), name, module.linear)
    return plain


def count_parameters(model: nn.Module, trainable: bool = False) -> int:
    """Number of parameters, with shared ones counted once; optionally only trainable ones."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def _shared_storages(model: nn.Module) -> set[int]:
    """Addresses of storages that several modules, or several names in one module, use as parameters."""
    parameters = (p for module in model.modules() for p in module._parameters.values() if p is not None)
    counts = Counter(p.untyped_storage().data_ptr() for p in parameters)
    return {address for address, count in counts.items() if count > 1}
