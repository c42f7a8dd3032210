"""A multilayer perceptron with two hidden layers, the network that LoRA Lab trains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from string import Template
from typing import Literal, Self, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from core.data.examples import ImageExamples
from core.errors import SpecError
from core.networks.network import NetworkSpec


class MultilayerPerceptron(nn.Module):
    """Three linear layers with ReLUs in between: maps (n, num_features) to (n, num_classes) logits."""

    def __init__(self, num_features: int, num_hidden_1: int, num_hidden_2: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(num_features, num_hidden_1),
            nn.ReLU(),
            nn.Linear(num_hidden_1, num_hidden_2),
            nn.ReLU(),
            nn.Linear(num_hidden_2, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


TENSORS = frozenset(f"layers.{i}.{part}" for i in (0, 2, 4) for part in ("weight", "bias"))
"""Names in the state dict."""


class PerceptronSpec(NetworkSpec):
    """Sizes of a multilayer perceptron with two hidden layers."""

    kind: Literal["perceptron"] = "perceptron"
    title = "multilayer perceptron"
    head_rate = 0.0316
    reasons = {"head_rate": "as measured on new classes of digits"}  # noqa: RUF012 (a constant)
    given_by_data = NetworkSpec.given_by_data | {"num_features"}
    num_features: int = Field(784, ge=1, le=4096, title="Input features", description="Number of pixels per image.")
    num_hidden_1: int = Field(
        128, ge=1, le=4096, title="First hidden layer", description="Width of the first hidden layer."
    )
    num_hidden_2: int = Field(
        256, ge=1, le=4096, title="Second hidden layer", description="Width of the second hidden layer."
    )

    def module(self) -> MultilayerPerceptron:
        return MultilayerPerceptron(self.num_features, self.num_hidden_1, self.num_hidden_2, self.num_classes)

    def build(self, seed: int | None = None) -> MultilayerPerceptron:
        return cast(MultilayerPerceptron, super().build(seed))

    def examples(
        self, count: int, generator: torch.Generator | None = None, length: int | None = None
    ) -> ImageExamples:
        return ImageExamples.random(count, self.num_features, self.num_classes, generator)

    @property
    def sizes(self) -> str:
        return f"{self.num_features}-{self.num_hidden_1}-{self.num_hidden_2}-{self.num_classes}"

    @property
    def input_text(self) -> str:
        return f"a row of {self.num_features} pixels from 0 to 1"

    @property
    def torch_code(self) -> str:
        return _CODE.substitute(self.model_dump())

    def check_fit(self, dataset: str, inputs: Mapping[str, tuple[int, ...]], classes: Sequence[int]) -> None:
        pixels = math.prod(inputs.get("pixels", ()))
        if "pixels" in inputs and pixels != self.num_features:
            raise SpecError(
                f"The network takes {self.num_features} pixels, but images of {dataset} have {pixels}: "
                f"choose {pixels} input features."
            )
        super().check_fit(dataset, inputs, classes)

    def metadata(self) -> dict[str, str]:
        return {}  # the tensors tell the sizes

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Self | None:
        weights = [state.get(f"layers.{i}.weight") for i in (0, 2, 4)]
        if set(state) != TENSORS or any(weight is None or weight.ndim != 2 for weight in weights):
            return None
        first, second, third = (tuple(weight.shape) for weight in weights if weight is not None)
        return cls.of(num_features=first[1], num_hidden_1=first[0], num_hidden_2=second[0], num_classes=third[0])


_CODE = Template("""\
layers = nn.Sequential(
    nn.Linear($num_features, $num_hidden_1),
    nn.ReLU(),
    nn.Linear($num_hidden_1, $num_hidden_2),
    nn.ReLU(),
    nn.Linear($num_hidden_2, $num_classes),
)
base = nn.Sequential(OrderedDict(layers=layers))""")
