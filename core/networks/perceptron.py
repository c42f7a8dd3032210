"""A multilayer perceptron with two hidden layers, the network that LoRA Lab trains."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from core.spec import ModelSpec


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


def build(spec: ModelSpec, seed: int | None = None) -> MultilayerPerceptron:
    """Build a network.

    Args:
        spec: sizes of the network.
        seed: seed of the initial weights, independent of torch's global generator. None builds the network on the
            ``meta`` device, with shapes only.
    """
    with torch.device("meta"):
        network = MultilayerPerceptron(**spec.model_dump())
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


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, dtypes, shapes and bytes of all tensors; identifies a base."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        # Quoted, so that no name can imitate a header and the bytes that follow it.
        digest.update(f"{json.dumps(name)} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()
