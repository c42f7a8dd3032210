"""The network that LoRA Lab trains: a multilayer perceptron with two hidden layers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from core.spec import ModelSpec


class MultilayerPerceptron(nn.Module):
    """Three linear layers with ReLU between them: (n, num_features) to (n, num_classes) logits."""

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


def build(spec: ModelSpec, seed: int | None = None) -> MultilayerPerceptron:
    """A network of these sizes.

    Args:
        spec: its sizes.
        seed: fixes the initial weights, whatever other threads draw meanwhile; without one the
            network is on the ``meta`` device and has shapes only.
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
                # The bounds of nn.Linear's own start: both are 1/√in.
                bound = 1 / math.sqrt(layer.in_features)
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)
    return network


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all tensors: tells one base from another."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        # Quoted, so that no name can pass for a header and bytes that follow it.
        digest.update(f"{json.dumps(name)} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()
