"""Biases only: BitFit (Ben Zaken et al. 2022, arXiv 2106.10199)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from core.methods.linear import is_linear
from core.methods.method import MethodSpec, Role
from core.methods.targets import unfreeze_head


class BiasesSpec(MethodSpec):
    """Trains the biases of the linear layers, and the head that a network came without."""

    kind: Literal["biases"] = "biases"
    title = "Biases only"
    short = "Biases only"
    line = "only the biases"
    role = Role.CONTROL
    rate_factor = 10.0

    def prepare(self, network: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
        network.requires_grad_(False)
        for module in network.modules():
            bias = module.bias if is_linear(module) else None
            if bias is not None:
                bias.requires_grad_(True)
        unfreeze_head(network)
        return network
