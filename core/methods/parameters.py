"""Counting and freezing the parameters of a network."""

from __future__ import annotations

from torch import nn

from core.methods.linear import is_linear


def freeze_linear_layers(model: nn.Module) -> None:
    """Freeze every linear layer in ``model``; adapters stay trainable."""
    for module in model.modules():
        if isinstance(module, nn.Linear) or is_linear(module):
            for parameter in module.parameters():
                parameter.requires_grad = False


def count_parameters(model: nn.Module, trainable: bool = False) -> int:
    """Number of parameters, with shared ones counted once; optionally only trainable ones."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)
