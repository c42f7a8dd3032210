"""Head only: trains the last layer on the frozen features of the base."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from core.methods.linear import is_linear
from core.methods.method import MethodSpec, Role
from core.methods.targets import head_paths, unfreeze_head


class HeadSpec(MethodSpec):
    """Trains the head that a network came without, else its last linear layer."""

    kind: Literal["head"] = "head"
    title = "Head only"
    short = "Head only"
    line = "only the last layer"
    role = Role.CONTROL
    rate_factor = 5.0
    only_head = True

    def prepare(self, network: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
        network.requires_grad_(False)
        if head_paths(network):
            unfreeze_head(network)
            return network
        *_, head = (module for module in network.modules() if is_linear(module))
        for parameter in head.parameters():
            parameter.requires_grad_(True)
        return network
