"""Merging of an adapter, demonstrated with the library's own layer in float32."""

from __future__ import annotations

import math

import torch
from torch import nn

from core.methods.adapted import merge, unmerge
from core.methods.layers import LinearWithLoRA

MERGED_LAYER = (784, 128)
"""Inputs and outputs of the layer: the first one of the default network."""


def merge_and_unmerge(seed: int, rank: int) -> tuple[float, bool]:
    """Compare a layer with a separate adapter of alpha 8 with itself after merging, and after unmerging.

    Args:
        seed: of the layer, the adapter and 64 inputs.
        rank: of the adapter.

    Returns:
        The largest difference between the outputs before and after merging, caused by rounding; and whether unmerging
        restored the weight bit for bit.

    Raises:
        LoRAError: rank out of range.
    """
    in_features, out_features = MERGED_LAYER
    bound = 1 / math.sqrt(in_features)
    generator = torch.Generator().manual_seed(seed)  # pages must not use the global generator while runs train
    with torch.device("meta"):
        linear = nn.Linear(in_features, out_features)
    linear.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
        layer = LinearWithLoRA(linear, rank, alpha=8.0, generator=generator).eval()
        layer.lora.B.uniform_(-bound, bound, generator=generator)  # as large as A, so that the adapter has an effect
        x = torch.randn(64, in_features, generator=generator)
        before = layer.linear.weight.clone()
        apart = layer(x)
        merge(layer)
        together = layer(x)
        unmerge(layer)
        return (apart - together).abs().max().item(), torch.equal(before, layer.linear.weight)
