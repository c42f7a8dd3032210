"""Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685): y = x Wᵀ + b + s · (x A) B.

W of shape (out, in) is frozen; A of shape (in, r) and B of shape (r, out) are trained. Only ``merge``, ``unmerge`` and
``add_lora`` modify a network in place.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import LoRAError, MergedError
from core.spec import SCALINGS, LoRASpec, Scaling, Start


def scaling_factor(scaling: Scaling, alpha: float, rank: int) -> float:
    """The factor s on an adapter's output.

    ``alpha/r`` is section 4.1 of the LoRA paper and PEFT's default; ``alpha/sqrt(r)`` is rsLoRA (Kalajdzievski 2023,
    arXiv 2312.03732); ``alpha`` is the plain factor of many tutorials.

    Raises:
        LoRAError: not one of :data:`core.spec.SCALINGS`.
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

    def delta(self) -> Tensor:
        """ΔW = s · (A B)ᵀ, of shape (out, in) like the weight of the adapted layer, in at least float32."""
        dtype = _sum_dtype(self.A)
        return self.scaling * (self.A.to(dtype) @ self.B.to(dtype)).T


class AdaptedLinear(nn.Module):
    """A linear layer with an adapter; the two subclasses differ in the order of the operations."""

    original_weight: Tensor | None

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
            LoRAError: rank or alpha is out of range, or ``linear`` is not a linear layer.
        """
        super().__init__()
        if not isinstance(linear, nn.Linear):
            raise LoRAError(f"LoRA adapts Linear layers, not {type(linear).__name__}.")
        self.linear = linear
        self.lora = LoRALayer(linear.in_features, linear.out_features, rank, alpha, scaling, start, generator)
        # The adapter of half-precision weights is float32: its updates are too small for 8 bits of mantissa.
        self.lora.to(device=linear.weight.device, dtype=_sum_dtype(linear.weight))
        self.register_buffer("original_weight", None, persistent=False)

    @classmethod
    def holding(cls, linear: nn.Linear, A: Tensor, B: Tensor, alpha: float, scaling: Scaling) -> Self:
        """Add an adapter with given matrices, such as those of an adapter file.

        Args:
            linear: the layer to adapt.
            A: of shape (in, r); r may exceed min(in, out), as other trainers allow.
            B: of shape (r, out).
            alpha: strength, finite and positive.
            scaling: how s is computed.

        Raises:
            LoRAError: the shapes do not match, or alpha is out of range.
        """
        rank = A.shape[-1]
        if A.shape != (linear.in_features, rank) or B.shape != (rank, linear.out_features):
            raise LoRAError(
                f"Matrices of shapes {tuple(A.shape)} and {tuple(B.shape)} do not fit a layer with "
                f"{linear.in_features} inputs and {linear.out_features} outputs."
            )
        # With its own generator, so that the global one, which other threads may use, is left alone.
        layer = cls(linear, 1, alpha, scaling, generator=torch.Generator())
        layer.lora.A = nn.Parameter(A.detach().to(layer.lora.A, copy=True))
        layer.lora.B = nn.Parameter(B.detach().to(layer.lora.B, copy=True))
        layer.lora.rank = rank
        layer.lora.scaling = scaling_factor(scaling, layer.lora.alpha, rank)
        return layer

    @property
    def merged(self) -> bool:
        """Whether ``linear.weight`` is W + ΔW now."""
        return self.original_weight is not None

    def summed_weight(self) -> Tensor:
        """W + ΔW of shape (out, in), added in at least float32 and rounded once."""
        weight = self.linear.weight
        return (weight.to(_sum_dtype(weight)) + self.lora.delta()).to(weight.dtype)

    def _refuse_training_when_merged(self) -> None:
        if self.training and torch.is_grad_enabled():
            raise MergedError("This network is merged, so training would change the base: call unmerge() first.")


class LinearWithLoRA(AdaptedLinear):
    """Computes x Wᵀ + b and s · (x A) B, and adds them."""

    def forward(self, x: Tensor) -> Tensor:
        base: Tensor = self.linear(x)
        if self.merged:
            self._refuse_training_when_merged()
            return base
        update: Tensor = self.lora(x)
        return (base + update).to(base.dtype)


class LinearWithLoRAMerged(AdaptedLinear):
    """Computes x (W + ΔW)ᵀ + b, which equals the output of :class:`LinearWithLoRA` by distributivity."""

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            self._refuse_training_when_merged()
            return F.linear(x, self.linear.weight, self.linear.bias)
        return F.linear(x, self.summed_weight(), self.linear.bias)


def freeze_linear_layers(model: nn.Module) -> None:
    """Freeze every ``nn.Linear`` in ``model``; adapters stay trainable."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
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
        model: any network; only plain ``nn.Linear`` layers can be targeted.
        config: rank, alpha, scaling, start and targets.
        generator: random number generator for A.
        layer: :class:`LinearWithLoRA` or :class:`LinearWithLoRAMerged`.

    Returns:
        ``model`` itself.

    Raises:
        LoRAError: a target matches nothing or something that is not a plain linear layer, the rank is above every
            targeted layer's min(in, out), or the model already has adapters. The model is then unchanged.
    """
    if adapted_layers(model):
        raise LoRAError("This network already has LoRA adapters; start from the base network.")
    targets = find_targets(model, config.target_modules)
    limit = max(min(linear.in_features, linear.out_features) for linear in targets.values())
    if config.rank > limit:
        raise LoRAError(
            f"Rank {config.rank} is above {limit}, the maximum for the targeted layers; choose a smaller rank."
        )
    factor = scaling_factor(config.scaling, config.alpha, config.rank)
    adapters: dict[int, AdaptedLinear] = {}
    for linear in targets.values():
        rank = min(config.rank, linear.in_features, linear.out_features)
        # An uncapped layer gets alpha unchanged: computing it from the factor could change its last bit.
        alpha = config.alpha if rank == config.rank else alpha_for(config.scaling, factor, rank)
        adapters.setdefault(id(linear), layer(linear, rank, alpha, config.scaling, config.start, generator))
    for parameter in model.parameters():
        parameter.requires_grad = False
    for path, linear in targets.items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, adapters[id(linear)])
    return model


def find_targets(model: nn.Module, wanted: tuple[str, ...]) -> dict[str, nn.Linear]:
    """Find the layers that ``wanted`` names, by path, in the model's order.

    A target is a full path (``layers.2``), its last components (``2`` or ``attention.query``, but ``fc`` does not match
    ``fc2``), or ``all-linear``.

    Raises:
        LoRAError: a target matches nothing, or a module that is not a plain linear layer.
    """
    modules = {path: module for path, module in model.named_modules(remove_duplicate=False) if path}
    found: dict[str, nn.Linear] = {}
    for target in wanted:
        matches = {path: module for path, module in modules.items() if _matches(path, module, target)}
        if not matches:
            raise LoRAError(f"No layer matches the target {target!r}; this network has: {_linear_names(modules)}.")
        for path, module in matches.items():
            # Other code may use a subclass's weight directly and bypass our forward, as with attention's out_proj.
            if type(module) is not nn.Linear:
                raise LoRAError(f"The target {target!r} is a {type(module).__name__}; LoRA needs plain Linear layers.")
            found[path] = module
    return {path: found[path] for path in modules if path in found}


def _matches(path: str, module: nn.Module, target: str) -> bool:
    if target == "all-linear":
        return type(module) is nn.Linear
    return path == target or path.endswith("." + target)


def _linear_names(modules: dict[str, nn.Module]) -> str:
    return ", ".join(path for path, module in modules.items() if type(module) is nn.Linear) or "no linear layer"


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


def _sum_dtype(weight: Tensor) -> torch.dtype:
    return torch.promote_types(weight.dtype, torch.float32)


def _shared_storages(model: nn.Module) -> set[int]:
    """Addresses of storages that several modules, or several names in one module, use as parameters."""
    parameters = (p for module in model.modules() for p in module._parameters.values() if p is not None)
    counts = Counter(p.untyped_storage().data_ptr() for p in parameters)
    return {address for address, count in counts.items() if count > 1}
