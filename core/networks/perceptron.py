"""A multilayer perceptron with two hidden layers, the network that LoRA Lab trains."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

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


def forward(network: Callable[[Tensor], Tensor], batch: Mapping[str, Tensor]) -> Tensor:
    """Logits of a batch of examples, of shape (n, classes); perceptrons read ``pixels``, (n, num_features)."""
    return network(batch["pixels"])


class PerceptronSpec(NetworkSpec):
    """Sizes of a multilayer perceptron with two hidden layers."""

    kind: Literal["perceptron"] = "perceptron"
    title = "multilayer perceptron"
    num_features: int = Field(784, ge=1, le=4096, title="Input features", description="Number of pixels per image.")
    num_hidden_1: int = Field(
        128, ge=1, le=4096, title="First hidden layer", description="Width of the first hidden layer."
    )
    num_hidden_2: int = Field(
        256, ge=1, le=4096, title="Second hidden layer", description="Width of the second hidden layer."
    )

    def build(self, seed: int | None = None) -> MultilayerPerceptron:
        with torch.device("meta"):
            network = MultilayerPerceptron(self.num_features, self.num_hidden_1, self.num_hidden_2, self.num_classes)
        if seed is None:
            return network
        network.to_empty(device="cpu")
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in network.layers:
                if isinstance(layer, nn.Linear):
                    # The bounds of nn.Linear's own initialization, for weight and bias alike.
                    bound = 1 / math.sqrt(layer.in_features)
                    layer.weight.uniform_(-bound, bound, generator=generator)
                    layer.bias.uniform_(-bound, bound, generator=generator)
        return network

    def examples(self, count: int, generator: torch.Generator | None = None) -> ImageExamples:
        device = "cpu" if generator else "meta"
        pixels = torch.rand(count, self.num_features, generator=generator, device=device)
        labels = torch.randint(self.num_classes, (count,), generator=generator, device=device)
        return ImageExamples(pixels, labels)

    @property
    def sizes(self) -> str:
        return f"{self.num_features}-{self.num_hidden_1}-{self.num_hidden_2}-{self.num_classes}"

    def check_fit(self, dataset: str, pixels: int, classes: Sequence[int]) -> None:
        if pixels != self.num_features:
            raise SpecError(
                f"The network takes {self.num_features} pixels, but images of {dataset} have {pixels}: "
                f"choose {pixels} input features."
            )
        super().check_fit(dataset, pixels, classes)


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, dtypes, shapes and bytes of all tensors; identifies a base."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        # Quoted, so that no name can imitate a header and the bytes that follow it.
        digest.update(f"{json.dumps(name)} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()
