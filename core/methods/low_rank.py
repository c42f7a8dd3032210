"""What LoRA and its variants share: low-rank matrices beside the frozen weights of some linear layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from core.errors import LoRAError
from core.methods.adapted import AdaptedLinear
from core.methods.adapter import AdapterSpec, Targets, free_layers, put_adapters, targets_field
from core.methods.layers import LowRankLinear, Scaling, Start, alpha_for, scaling_factor
from core.methods.linear import features
from core.methods.lora_config import LoraConfig
from core.methods.targets import find_targets


class LowRankSpec(AdapterSpec):
    """Settings of adapters of low rank. A subclass says of which class the adapted layers are."""

    size_field = "rank"
    strength_field = "alpha"
    fixed_in_sweeps = ("start",)
    drawn = "the draw of LoRA's A"
    card_fields = ("rank", "alpha", "scaling")
    layer: ClassVar[type[LowRankLinear]]
    peft = LoraConfig

    rank: int = Field(
        4,
        ge=1,
        le=512,
        title="Rank",
        description="Inner dimension r of the two matrices A and B. On rotated digits ranks 1, 4 and 16 reached "
        "accuracies of 79.8, 87.1 and 88.5, full fine-tuning 90.82 (docs/studies, 10 epochs).",
    )
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
    target_modules: Targets = targets_field()

    @property
    def label(self) -> str:
        return f"{self.short} r={self.rank}"

    @property
    def inner_rank(self) -> int:
        return self.rank

    @property
    def facts(self) -> str:
        return f"alpha {self.alpha:g}, scaling {self.scaling}, A drawn {self.start}, on {' '.join(self.target_modules)}"

    def check_fit(self, linears: Mapping[str, nn.Linear]) -> None:
        limit = max(min(features(linear)) for linear in linears.values())
        if self.rank > limit:
            raise LoRAError(
                f"Rank {self.rank} is above {limit}, the maximum for the targeted layers; choose a smaller rank."
            )

    def adapted(
        self, linear: nn.Linear, generator: torch.Generator | None, layer: type[LowRankLinear] | None = None
    ) -> LowRankLinear:
        rank = min(self.rank, *features(linear))
        # An uncapped layer gets alpha unchanged: computing it from the factor could change its last bit.
        factor = scaling_factor(self.scaling, self.alpha, self.rank)
        alpha = self.alpha if rank == self.rank else alpha_for(self.scaling, factor, rank)
        return (layer or self.layer)(linear, rank, alpha, self.scaling, self.start, generator)

    def peft_config(self, layers: Mapping[str, AdaptedLinear]) -> LoraConfig:
        own = {path: layer.lora for path, layer in layers.items() if isinstance(layer, LowRankLinear)}
        return LoraConfig.of(self.rank, self.alpha, self.scaling, own)

    def describes(self, base: nn.Module, layers: Mapping[str, AdaptedLinear]) -> bool:
        factor = scaling_factor(self.scaling, self.alpha, self.rank)
        targets = find_targets(base, self.target_modules)
        expected = {path: min(self.rank, *features(linear)) for path, linear in targets.items()}
        return expected == {path: layer.rank for path, layer in layers.items()} and all(
            isinstance(layer, LowRankLinear)
            and layer.names == self.layer.names
            and math.isclose(layer.lora.scaling, factor, rel_tol=1e-12)
            for layer in layers.values()
        )


def add_lora(
    model: nn.Module,
    config: LowRankSpec,
    generator: torch.Generator | None = None,
    layer: type[LowRankLinear] | None = None,
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
    linears = free_layers(model, config.target_modules)
    config.check_fit(linears)
    return put_adapters(model, linears, lambda linear: config.adapted(linear, generator, layer))
