"""Building the initial network of a run."""

from __future__ import annotations

import copy

import torch
from torch import nn

from core.methods.lora import add_lora
from core.networks.perceptron import MultilayerPerceptron, build
from core.spec import Control, LoRASpec, ModelSpec, RunSpec


def network_of(spec: RunSpec, base: MultilayerPerceptron | None) -> nn.Module:
    """Build the network of a run before its first step; ``base`` is not modified.

    Args:
        spec: the run.
        base: the network to fine-tune; None for a pretrain run.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    if base is None or spec.control == "scratch":
        return build(spec.model, spec.seed)
    network = copy.deepcopy(base)
    if spec.lora is None:
        return keep_trainable(network, spec.control)
    return add_lora(network, spec.lora, torch.Generator().manual_seed(spec.seed))


def untrained(model: ModelSpec, lora: LoRASpec | None, control: Control | None) -> MultilayerPerceptron:
    """Build a network of a run's sizes on no base in particular, as one needs it to count what the run takes.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    network = build(model)
    if lora is not None:
        add_lora(network, lora)
    return keep_trainable(network, control)


def keep_trainable(network: MultilayerPerceptron, control: Control | None) -> MultilayerPerceptron:
    """Freeze in place what a control does not train. Returns: ``network``."""
    if control in ("head", "biases"):
        layers = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
        trained = [layer.bias for layer in layers] if control == "biases" else list(layers[-1].parameters())
        network.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)
    return network
