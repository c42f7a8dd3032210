"""A method that only tests know, and that is no product A·B: (IA)³ on the inputs of linear layers (arXiv 2205.05638).

y = (x ⊙ l) Wᵀ + b, where W and b are frozen. Neighboring inputs may share a factor, so that fewer numbers are trained
than a file has: PEFT's IA3, which reads the files, has a factor for each input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from core.errors import AdapterError
from core.methods.adapted import AdaptedLinear, Terms, frozen_weight, sum_dtype
from core.methods.adapter import (
    CONFIG_FILE,
    TENSORS_FILE,
    AdapterSpec,
    LayerSettings,
    PeftConfig,
    Targets,
    check_values,
    targets_field,
)

VECTOR = "ia3_l"
"""PEFT's name of the factors."""


class RescaledLinear(AdaptedLinear):
    """A linear layer with a trained factor on each of its inputs."""

    names = {"factors_of_groups": VECTOR}  # noqa: RUF012 (a constant)

    def __init__(
        self, linear: nn.Linear, group: int = 1, spread: float = 0.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(linear)
        self.group = group
        values = torch.ones(-(-self.in_features // group))
        if spread:
            values += spread * torch.randn(values.shape, generator=generator)
        self.factors_of_groups = nn.Parameter(values.to(linear.weight.device, sum_dtype(linear.weight)))
        self.train(linear.training)

    @property
    def scale(self) -> Tensor:
        """The factor of each input, (in,)."""
        return self.factors_of_groups.repeat_interleave(self.group)[: self.in_features]

    def tensors(self) -> dict[str, Tensor]:
        return {VECTOR: self.scale[None]}

    def terms(self) -> Terms:
        scale = self.scale
        return Terms(scale.new_zeros(0, self.in_features), scale.new_zeros(0, self.out_features), inputs=scale - 1)

    def delta(self, dtype: torch.dtype | None = None) -> Tensor:
        scale = self.scale.to(dtype or self.factors_of_groups.dtype)
        return frozen_weight(self).to(scale.dtype) * (scale - 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            self._refuse_training_when_merged()
            return self.linear(x)
        return self.linear((x * self.scale).to(x.dtype))


@dataclass(frozen=True)
class Ia3Config(PeftConfig):
    """The fields of PEFT's ``IA3Config``, where all factors are on inputs."""

    peft_type = "IA3"
    supported = frozenset({"feedforward_modules"})
    harmless = frozenset({"init_ia3_weights"})

    feedforward: tuple[str, ...]
    """Names of the layers whose inputs are scaled."""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        targets, own = values.get("target_modules"), values.get("feedforward_modules")
        if not isinstance(own, list) or not isinstance(targets, list) or set(map(str, own)) != set(map(str, targets)):
            raise AdapterError(f"feedforward_modules in {CONFIG_FILE} must be all layers: only inputs may be scaled.")
        return cls(tuple(own))

    def written(self) -> dict[str, Any]:
        return {"feedforward_modules": list(self.feedforward), "init_ia3_weights": True}

    def check(self, kind: type[Any], path: str, tensors: Mapping[str, Tensor], own: LayerSettings) -> None:
        (vector,) = tensors.values()
        if vector.ndim != 2 or len(vector) != 1:
            raise AdapterError(f"{TENSORS_FILE} has no factors for the inputs of layer {path:.80}.")
        check_values(vector, f"Vector {VECTOR} of layer {path:.80}")

    def features(self, tensors: Mapping[str, Tensor]) -> tuple[int, None]:
        return tensors[VECTOR].shape[1], None

    def layer(
        self, kind: type[Any], linear: nn.Linear, tensors: Mapping[str, Tensor], own: LayerSettings
    ) -> RescaledLinear:
        layer = RescaledLinear(linear)
        with torch.no_grad():
            layer.factors_of_groups.copy_(tensors[VECTOR][0])
        return layer


class RescaledSpec(AdapterSpec):
    """Trains a factor on each input of a linear layer, or on groups of them."""

    kind: Literal["rescaled"] = "rescaled"
    title = "IA3"
    short = "IA3"
    line = "a factor on each input of a layer"
    size_field = "group"
    drawn = "the draw of IA3's factors"
    layer = RescaledLinear
    peft = Ia3Config

    group: int = Field(1, ge=1, le=64, title="Group", description="Number of neighboring inputs that share a factor.")
    spread: float = Field(
        0.0, ge=0, le=0.5, title="Spread", description="Standard deviation of the factors around 1 before training."
    )
    target_modules: Targets = targets_field()

    @property
    def label(self) -> str:
        return f"{self.short} g={self.group}"

    def adapted(self, linear: nn.Linear, generator: torch.Generator | None) -> RescaledLinear:
        return RescaledLinear(linear, self.group, self.spread, generator)

    def peft_config(self, layers: Mapping[str, AdaptedLinear]) -> Ia3Config:
        return Ia3Config(tuple(sorted(layers)))
