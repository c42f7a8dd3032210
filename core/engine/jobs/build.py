"""Building the initial network of a run."""

from __future__ import annotations

import copy

import torch
from torch import nn

from core.methods.method import MethodSpec
from core.networks.network import NetworkSpec
from core.run_spec import RunSpec


def network_of(spec: RunSpec, base: nn.Module | None, copied: bool = True) -> nn.Module:
    """Build the network of a run before its first step.

    Args:
        spec: the run.
        base: the network to start from: that of a pretrain run, or one that somebody imported; None if there is none.
        copied: whether ``base`` is to stay as it is; otherwise it becomes the run's network itself.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    from_base = base is not None and spec.method.starts_from_base
    if not from_base or base is None:
        network = spec.network.build(spec.seed)
    else:
        network = copy.deepcopy(base) if copied else base
    spec.trained_network.marked(network)
    return spec.method.prepare(network, torch.Generator().manual_seed(spec.seed))


def untrained(network: NetworkSpec, method: MethodSpec) -> nn.Module:
    """Build a network of a run's sizes on no base in particular, as one needs it to count what the run takes.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    return method.prepare(network.build())
