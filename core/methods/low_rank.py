"""What LoRA and its variants share: low-rank matrices beside the frozen weights of some linear layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, field_validator
from torch import nn

from core.errors import LoRAError
from core.methods.heads import head_paths, is_in_head, unfreeze_head
from core.methods.layers import AdaptedLinear, Scaling, Start, alpha_for, scaling_factor
from core.methods.linear import features
from core.methods.merging import adapted_layers
from core.methods.method import MethodSpec, Role
from core.methods.targets import find_targets, names

MAX_TARGETS = 512
"""Maximum number of names of layers: more than all layers of the networks that fit on one machine."""


class LowRankSpec(MethodSpec):
    """Settings of adapters of low rank. A subclass says of which class the adapted layers are."""

    role = Role.ADAPTER
    rate_factor = 5.0
    layer: ClassVar[type[AdaptedLinear]]
    """Class of the adapted layers."""
    peft_fields: ClassVar[Mapping[str, Any]] = {}
    """Fields of PEFT's ``LoraConfig`` that say that an adapter is of this method, beside those that all have."""

    rank: int = Field(4, ge=1, le=512, title="Rank", description="Inner dimension r of the two matrices A and B.")
    alpha: float = Field(
        8.0, gt=0, le=4096, title="Alpha", description="Strength of the adapter's output; see scaling."
    )
    scaling: Scaling = Field(
        "alpha/r",
        title="Scaling",
        description="Factor on the adapter's output: alpha/r (paper, PEFT), alpha (plain) or alpha/sqrt(r) (rsLoRA).",
    )
    start: Start = Field(
        "kaiming",
        title="Initialization of A",
        description="Random distribution of A. B always starts at zero, so that training starts exactly from the base.",
    )
    target_modules: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        ("all-linear",),
        min_length=1,
        max_length=MAX_TARGETS,
        title="Layers",
        description="Layers to adapt: full names, last components of names, attention, feed-forward, or all-linear.",
    )

    @field_validator("target_modules")
    @classmethod
    def _one_target_per_name(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        # "q,v" and ("q", "v") are the same layers, and so the same arm.
        single = tuple(name for name in names(targets) if name)
        if len(single) > MAX_TARGETS:
            raise ValueError(f"Layers takes at most {MAX_TARGETS}: remove some.")
        return single or targets

    @property
    def label(self) -> str:
        return f"{self.short} r={self.rank}"

    def prepare(self, network: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
        return add_lora(network, self, generator)

    def by(self, method: type[LowRankSpec]) -> LowRankSpec:
        """The same settings for another method."""
        return method.of(**{name: getattr(self, name) for name in LowRankSpec.model_fields if name != "kind"})

    def shape(self) -> LowRankSpec:
        return type(self).of(rank=self.rank, target_modules=self.target_modules)


def add_lora(
    model: nn.Module,
    config: LowRankSpec,
    generator: torch.Generator | None = None,
    layer: type[AdaptedLinear] | None = None,
) -> nn.Module:
    """Add adapters to the targeted layers of ``model`` and freeze everything else, in place.

    A layer whose min(in, out) is below the rank gets that smaller rank, since a higher one would add parameters but no
    expressiveness; its scaling is that of the requested rank.

    Args:
        model: any network; only plain linear layers can be targeted, see :func:`core.methods.targets.find_targets`.
        config: rank, alpha, scaling, start and targets.
        generator: random number generator for A.
        layer: class of the adapted layers, such as :class:`core.methods.layers.LinearWithLoRAMerged`; None for the
            method's own.

    Returns:
        ``model`` itself.

    Raises:
        LoRAError: a target matches nothing or something that is not a plain linear layer, the rank is above every
            targeted layer's min(in, out), or the model already has adapters. The model is then unchanged.
    """
    if adapted_layers(model):
        raise LoRAError("This network already has LoRA adapters; start from the base network.")
    targets = find_targets(model, config.target_modules)
    inside = [path for path in targets if is_in_head(path, head_paths(model))]
    if inside:
        raise LoRAError(f"Layer {inside[0]} belongs to the new head, which is trained whole: choose other layers.")
    limit = max(min(features(linear)) for linear in targets.values())
    if config.rank > limit:
        raise LoRAError(
            f"Rank {config.rank} is above {limit}, the maximum for the targeted layers; choose a smaller rank."
        )
    factor = scaling_factor(config.scaling, config.alpha, config.rank)
    adapters: dict[int, AdaptedLinear] = {}
    make = layer or config.layer
    for linear in targets.values():
        rank = min(config.rank, *features(linear))
        # An uncapped layer gets alpha unchanged: computing it from the factor could change its last bit.
        alpha = config.alpha if rank == config.rank else alpha_for(config.scaling, factor, rank)
        adapters.setdefault(id(linear), make(linear, rank, alpha, config.scaling, config.start, generator))
    for parameter in model.parameters():
        parameter.requires_grad = False
    unfreeze_head(model)
    for path, linear in targets.items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, adapters[id(linear)])
    return model
