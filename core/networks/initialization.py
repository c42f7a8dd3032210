"""Initial weights, drawn as torch draws them by default, but from a generator of their own."""

from __future__ import annotations

import math

import torch
from torch import nn

DRAWN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers whose weights and biases torch draws uniformly with bound 1/√n, n being the number of inputs of a unit."""

FIXED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)
"""Layers that start with fixed values."""


@torch.no_grad()
def initialize(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of every layer, in place and in the network's order.

    Args:
        network: on a device that has memory.
        generator: random number generator, on the same device.

    Raises:
        TypeError: a layer with tensors of its own is neither of :data:`DRAWN` nor of :data:`FIXED`.
    """
    for layer in network.modules():
        if isinstance(layer, DRAWN):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for parameter in (layer.weight, layer.bias):
                if parameter is not None:
                    parameter.uniform_(-bound, bound, generator=generator)
        elif isinstance(layer, FIXED):
            layer.reset_parameters()
        elif [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]:
            raise TypeError(f"There are no initial weights for {type(layer).__name__}: the family must draw them.")
