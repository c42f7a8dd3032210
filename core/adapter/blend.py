"""Several adapters of one base as one adapter: a weighted sum of their changes.

The sum of changes of rank r₁ and r₂ has at most rank r₁ + r₂, so with that rank nothing is lost. A lower one keeps the
best approximation of each layer's sum by the singular value decomposition (Eckart and Young 1936).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.adapter.read import AdapterFile, check_head, layers_of
from core.errors import LoRAError
from core.methods.adapted import AdaptedLinear
from core.methods.adapter import MAX_TARGETS
from core.methods.heads import head_state, mark_head, unfreeze_head
from core.methods.layers import LinearWithLoRA
from core.methods.linear import features
from core.methods.lora import LoRASpec
from core.methods.targets import targets_of
from core.networks.fingerprint import base_fingerprint

Weighted = tuple[AdaptedLinear, float]
"""An adapted layer, and the weight of its change."""


def blend(
    base: nn.Module, adapters: Sequence[tuple[AdapterFile, float]], rank: int | None = None
) -> tuple[nn.Module, LoRASpec, float]:
    """Add a weighted sum of adapters to their base.

    Args:
        base: what all of them were trained on; it is not changed.
        adapters: each with its weight, at least one. Of heads, which all have or none, the changes from the base's are
            summed, too.
        rank: of the result; None for one with which nothing is lost.

    Returns:
        A copy of the base with one LoRA adapter, the settings of that, and the share of the energy of the sum that it
        keeps: of the squared Frobenius norms of all layers' changes; 1 if nothing is lost or there is no change.

    Raises:
        LoRAError: some have a head of their own and others have none; or ``rank`` is None and the change of an adapter
            is not of low rank, as that of DoRA; or the layers of all of them take more names than settings may have.
        SpecError: the rank is out of range.
        BaseMismatchError: an adapter was trained on another base, or does not fit this one.
    """
    network = copy.deepcopy(base).requires_grad_(False)
    fingerprint = base_fingerprint(network)
    found = [(layers_of(network, adapter, fingerprint), weight) for adapter, weight in adapters]
    heads = {check_head(network, adapter) for adapter, _ in adapters}
    if len(heads) > 1:
        raise LoRAError("Some of these adapters have a head of their own, and others have none: choose one kind.")
    mark_head(network, *heads)
    parts = {
        path: [(layers[path], weight) for layers, weight in found if path in layers]
        for path, _ in network.named_modules()
        if any(path in layers for layers, _ in found)
    }
    other = next((file.config.method for file, _ in adapters if not file.config.method.is_low_rank), None)
    if rank is None and other is not None:
        raise LoRAError(f"The change of {other.title} is not of low rank: choose the rank of the blend.")
    wanted = _lossless_rank(parts.values()) if rank is None else rank
    targets = targets_of(network, parts)
    if len(targets) > MAX_TARGETS:
        raise LoRAError(
            f"It takes {len(targets)} names to tell the layers of this blend from all others, and {MAX_TARGETS} is the "
            "limit: blend adapters that have the same layers in every block."
        )
    spec = LoRASpec.of(rank=wanted, alpha=float(wanted), target_modules=targets)
    lost = total = 0.0
    with torch.no_grad():
        for path, weighted in parts.items():
            linear = weighted[0][0].linear
            own = min(spec.rank, *features(linear))
            A, B, lost_here = _factors(weighted, own)
            lost += lost_here
            total += _energy(A, B) + lost_here
            parent, _, name = path.rpartition(".")
            layer = LinearWithLoRA.holding(linear, A, B, float(own), spec.scaling)
            setattr(network.get_submodule(parent), name, layer)
        for name, tensor in head_state(network).items():
            tensor += sum((weight * (adapter.head[name] - tensor) for adapter, weight in adapters), torch.zeros(()))
    unfreeze_head(network)
    return network, spec, 1 - lost / total if total else 1.0


def _lossless_rank(parts: Iterable[Sequence[Weighted]]) -> int:
    """The rank with which every layer's sum is exact. Args: parts: of adapters whose changes are of low rank."""
    found = 1
    for weighted in parts:
        total = sum(factors.A.shape[1] for layer, _ in weighted if (factors := layer.factors()) is not None)
        found = max(found, min(total, *features(weighted[0][0].linear)))
    return found


def _factors(weighted: Sequence[Weighted], rank: int) -> tuple[Tensor, Tensor, float]:
    """A of shape (in, r) and B of shape (r, out) of a layer's sum, whose ΔW is (A B)ᵀ, and the energy that is lost."""
    parts = [(factors, weight) for layer, weight in weighted if (factors := layer.factors()) is not None]
    missing = rank - sum(part.A.shape[1] for part, _ in parts)
    if missing >= 0 and len(parts) == len(weighted):
        A = torch.cat([part.A for part, _ in parts], 1)
        B = torch.cat([weight * part.scaling * part.B for part, weight in parts])
        return F.pad(A, (0, missing)), F.pad(B, (0, 0, 0, missing)), 0.0
    left, values, right = torch.linalg.svd(_change(weighted), full_matrices=False)
    roots = values[:rank].sqrt()
    return right[:rank].T * roots, (left[:, :rank] * roots).T, float(values[rank:].square().sum())


def _energy(A: Tensor, B: Tensor) -> float:
    """The squared Frobenius norm of A B, without the product itself."""
    return float(((A.T.double() @ A.double()) * (B.double() @ B.T.double())).sum())


def _change(weighted: Sequence[Weighted]) -> Tensor:
    """The sum of the changes of a layer, (out, in) in float64."""
    layer, weight = weighted[0]
    total = weight * layer.delta(torch.float64)
    for layer, weight in weighted[1:]:
        total += weight * layer.delta(torch.float64)
    return total
