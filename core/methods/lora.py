"""Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685): y = x Wᵀ + b + s · (x A) B.

W of shape (out, in) stays as it was; A of shape (in, r) and B of shape (r, out) are trained.
Nothing here changes a weight unless its name says so: ``merge``, ``unmerge``, ``add_lora``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import LoRAError, MergedError
from core.spec import LoRASpec, Scaling, Start


def scaling_factor(scaling: Scaling, alpha: float, rank: int) -> float:
    """The factor s on an adapter's output.

    ``alpha/r`` is section 4.1 of the LoRA paper and PEFT's default; ``alpha/sqrt(r)`` is rsLoRA
    (Kalajdzievski 2023, arXiv 2312.03732); ``alpha`` is the plain factor of many tutorials.

    Raises:
        LoRAError: another word than these three.
    """
    factors = {"alpha/r": alpha / rank, "alpha": alpha, "alpha/sqrt(r)": alpha / math.sqrt(rank)}
    if scaling not in factors:
        raise LoRAError(f"Scaling must be one of {', '.join(factors)}, not {scaling!r}.")
    return factors[scaling]


def alpha_for(scaling: Scaling, factor: float, rank: int) -> float:
    """The alpha that gives ``factor`` at ``rank``: the inverse of :func:`scaling_factor`."""
    return factor / scaling_factor(scaling, 1.0, rank)


class LoRALayer(nn.Module):
    """The two small matrices: maps x of shape (..., in) to s · (x A) B of shape (..., out)."""

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
        """Draw A, leave B zero, so that the adapted network equals the base at first, exactly.

        Args:
            in_dim: inputs of the layer beside this one.
            out_dim: its outputs.
            rank: r, from 1 to min(in_dim, out_dim).
            alpha: strength, finite and above 0.
            scaling: what s is made of; see :func:`scaling_factor`.
            start: ``kaiming`` draws A uniformly with bound 1/√in, as PEFT does; ``gaussian``
                with standard deviation 1/r, as PEFT's option of that name does.
            generator: source of randomness; without one, torch's global generator.

        Raises:
            LoRAError: rank or alpha out of range.
        """
        super().__init__()
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
            raise LoRAError(f"Rank must be a whole number of at least 1, not {rank!r}.")
        if rank > min(in_dim, out_dim):
            raise LoRAError(
                f"Rank {rank} is above {min(in_dim, out_dim)}, the most that a layer of "
                f"{in_dim} inputs and {out_dim} outputs can use; choose a smaller rank."
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
                raise LoRAError(f"Start of A must be kaiming or gaussian, not {start!r}.")

    def forward(self, x: Tensor) -> Tensor:
        return self.scaling * (x.to(self.A.dtype) @ self.A @ self.B)

    def delta(self) -> Tensor:
        """ΔW = s · (A B)ᵀ, of the shape (out, in) of the weight it belongs to, in at least float32."""
        dtype = _sum_dtype(self.A)
        return self.scaling * (self.A.to(dtype) @ self.B.to(dtype)).T


class AdaptedLinear(nn.Module):
    """A linear layer with an adapter beside it; the two subclasses differ in the order of sums."""

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
        """Keep ``linear`` as it is and put a fresh :class:`LoRALayer` beside it.

        Args: as of :class:`LoRALayer`.

        Raises:
            LoRAError: rank or alpha out of range, or ``linear`` is no linear layer.
        """
        super().__init__()
        if not isinstance(linear, nn.Linear):
            raise LoRAError(f"LoRA goes beside a Linear layer, not beside {type(linear).__name__}.")
        self.linear = linear
        self.lora = LoRALayer(linear.in_features, linear.out_features, rank, alpha, scaling, start, generator)
        # Half-precision weights keep a float32 adapter: its updates are too small for 8 bits of mantissa.
        self.lora.to(device=linear.weight.device, dtype=_sum_dtype(linear.weight))
        self.register_buffer("original_weight", None, persistent=False)

    @classmethod
    def holding(cls, linear: nn.Linear, A: Tensor, B: Tensor, alpha: float, scaling: Scaling) -> Self:
        """The layer with matrices that are there already, as an adapter file has them.

        Args:
            linear: the layer they go beside.
            A: of shape (in, r); r may be above min(in, out), as other trainers allow.
            B: of shape (r, out).
            alpha: strength, finite and above 0.
            scaling: what s is made of.

        Raises:
            LoRAError: the shapes do not fit, or alpha is out of range.
        """
        rank = A.shape[-1]
        if A.shape != (linear.in_features, rank) or B.shape != (rank, linear.out_features):
            raise LoRAError(
                f"Matrices of shapes {tuple(A.shape)} and {tuple(B.shape)} do not fit a layer of "
                f"{linear.in_features} inputs and {linear.out_features} outputs."
            )
        # A generator of its own: making a layer must not move the random numbers of a run beside it.
        layer = cls(linear, 1, alpha, scaling, generator=torch.Generator())
        layer.lora.A = nn.Parameter(A.detach().to(layer.lora.A, copy=True))
        layer.lora.B = nn.Parameter(B.detach().to(layer.lora.B, copy=True))
        layer.lora.rank = rank
        layer.lora.scaling = scaling_factor(scaling, layer.lora.alpha, rank)
        return layer

    @property
    def merged(self) -> bool:
        """Whether ``linear.weight`` holds W + ΔW now."""
        return self.original_weight is not None

    def summed_weight(self) -> Tensor:
        """W + ΔW of shape (out, in), added in at least float32 and rounded once."""
        weight = self.linear.weight
        return (weight.to(_sum_dtype(weight)) + self.lora.delta()).to(weight.dtype)

    def _refuse_training_when_merged(self) -> None:
        if self.training and torch.is_grad_enabled():
            raise MergedError("This network is merged, so training would change the base: call unmerge() first.")


class LinearWithLoRA(AdaptedLinear):
    """Two branches: x Wᵀ + b, and s · (x A) B, added at the end."""

    def forward(self, x: Tensor) -> Tensor:
        base: Tensor = self.linear(x)
        if self.merged:
            self._refuse_training_when_merged()
            return base
        update: Tensor = self.lora(x)
        return (base + update).to(base.dtype)


class LinearWithLoRAMerged(AdaptedLinear):
    """One product with the sum: x (W + ΔW)ᵀ + b. The distributive law makes it equal to the other."""

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            self._refuse_training_when_merged()
            return F.linear(x, self.linear.weight, self.linear.bias)
        return F.linear(x, self.summed_weight(), self.linear.bias)


def freeze_linear_layers(model: nn.Module) -> None:
    """Stop training every ``nn.Linear`` inside ``model``; the adapters beside them stay trainable."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            for parameter in module.parameters():
                parameter.requires_grad = False


def adapted_layers(model: nn.Module) -> dict[str, AdaptedLinear]:
    """Every layer that carries an adapter, by its path in ``model``."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AdaptedLinear)}


def add_lora(
    model: nn.Module,
    config: LoRASpec,
    generator: torch.Generator | None = None,
    layer: type[AdaptedLinear] = LinearWithLoRA,
) -> nn.Module:
    """Put adapters on the targeted layers of ``model`` and freeze all else, in place.

    A layer whose min(in, out) is below the rank gets that smaller rank and keeps the scaling of
    the rank asked for: a higher one would add parameters and no expressiveness.

    Args:
        model: any network; only plain ``nn.Linear`` layers can be targeted.
        config: rank, alpha, scaling, start and targets.
        generator: source of randomness for A.
        layer: :class:`LinearWithLoRA` or :class:`LinearWithLoRAMerged`.

    Returns:
        ``model`` itself.

    Raises:
        LoRAError: a target matches nothing or something that is not a plain linear layer, the
            rank is above every targeted layer's min(in, out), or the model has adapters already.
            The model is unchanged then.
    """
    if adapted_layers(model):
        raise LoRAError("This network carries LoRA adapters already; start from the base network.")
    targets = find_targets(model, config.target_modules)
    most = max(min(linear.in_features, linear.out_features) for linear in targets.values())
    if config.rank > most:
        raise LoRAError(
            f"Rank {config.rank} is above {most}, the most that any targeted layer can use; choose a smaller rank."
        )
    factor = scaling_factor(config.scaling, config.alpha, config.rank)
    adapters: dict[int, AdaptedLinear] = {}
    for linear in targets.values():
        rank = min(config.rank, linear.in_features, linear.out_features)
        # The uncapped alpha is passed on as it is: going through the factor could lose its last bit.
        alpha = config.alpha if rank == config.rank else alpha_for(config.scaling, factor, rank)
        adapters.setdefault(id(linear), layer(linear, rank, alpha, config.scaling, config.start, generator))
    for parameter in model.parameters():
        parameter.requires_grad = False
    for path, linear in targets.items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, adapters[id(linear)])
    return model


def find_targets(model: nn.Module, wanted: tuple[str, ...]) -> dict[str, nn.Linear]:
    """The layers that ``wanted`` names, by path, in the model's order.

    A target is a full path (``layers.2``), the last parts of one (``2`` or ``attention.query``,
    never a piece of a part: ``fc`` does not match ``fc2``), or ``all-linear``.

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
            # A subclass may read its weight itself, past our forward (as attention's out_proj does).
            if type(module) is not nn.Linear:
                raise LoRAError(f"The target {target!r} is a {type(module).__name__}; LoRA takes plain Linear layers.")
            found[path] = module
    return {path: found[path] for path in modules if path in found}


def _matches(path: str, module: nn.Module, target: str) -> bool:
    if target == "all-linear":
        return type(module) is nn.Linear
    return path == target or path.endswith("." + target)


def _linear_names(modules: dict[str, nn.Module]) -> str:
    return ", ".join(path for path, module in modules.items() if type(module) is nn.Linear) or "no linear layer"


def merge(model: nn.Module) -> None:
    """Add every adapter to the weight beside it, in place; a second call changes nothing.

    Sums are made in float32 (or wider) and rounded once. All are made and checked before any
    weight changes, so a failure leaves the model as it was.

    Raises:
        LoRAError: no adapters, a sum that is not finite, or a weight that another layer shares.
    """
    layers = adapted_layers(model)
    if not layers:
        raise LoRAError("There is nothing to merge: this network carries no LoRA adapters.")
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
                raise LoRAError(f"The adapter of layer {path} holds values that are not finite: nothing was merged.")
        for path, total in sums.items():
            weight = layers[path].linear.weight
            layers[path].original_weight = weight.detach().clone()
            weight.copy_(total)


def unmerge(model: nn.Module) -> None:
    """Put back the weights that :func:`merge` replaced, bit for bit, in place."""
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            if layer.original_weight is not None:
                layer.linear.weight.copy_(layer.original_weight)
                layer.original_weight = None


def merged_copy(model: nn.Module) -> nn.Module:
    """A network of plain linear layers that computes what ``model`` computes; ``model`` stays.

    Raises:
        LoRAError: as of :func:`merge`.
    """
    plain = copy.deepcopy(model)
    merge(plain)
    return _without_adapters(plain)


def base_copy(model: nn.Module) -> nn.Module:
    """The network that the adapters of ``model`` were put on; ``model`` stays."""
    plain = copy.deepcopy(model)
    unmerge(plain)
    return _without_adapters(plain)


def _without_adapters(plain: nn.Module) -> nn.Module:
    """Put every adapted layer's own linear layer back in its place."""
    for path, module in list(plain.named_modules(remove_duplicate=False)):
        if isinstance(module, AdaptedLinear):
            parent, _, name = path.rpartition(".")
            setattr(plain.get_submodule(parent), name, module.linear)
    return plain


def count_parameters(model: nn.Module, trainable: bool = False) -> int:
    """Number of parameters, shared ones once; only those that training changes where asked."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def _sum_dtype(weight: Tensor) -> torch.dtype:
    return torch.promote_types(weight.dtype, torch.float32)


def _shared_storages(model: nn.Module) -> set[int]:
    """Addresses of storages that parameters of two different modules, or two names of one, use."""
    seen: set[int] = set()
    shared: set[int] = set()
    for address in _parameter_storages(model):
        (shared if address in seen else seen).add(address)
    return shared


def _parameter_storages(model: nn.Module) -> Iterator[int]:
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                yield parameter.untyped_storage().data_ptr()
