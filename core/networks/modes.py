"""The mode of a network: dropout on and statistics in motion while it trains, neither while it is evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put every module of ``network`` in evaluation mode, and restore the mode of each afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def start_training(network: nn.Module) -> None:
    """Put ``network`` in training mode, except for normalizations that belong to a frozen base.

    The running mean and variance of BatchNorm would move in training mode even where no parameter is trained. Those of
    a frozen layer stay, so that the base of an adapter remains bit for bit what it was; the layer then normalizes by
    them in training too, as it will in use. PEFT leaves such layers in training mode, and saves an adapter without the
    statistics that moved.
    """
    network.train()
    for layer in _normalizations(network):
        layer.train(not _is_frozen(layer, network))


def moving_statistics(network: nn.Module) -> list[Tensor]:
    """Running means, variances and counts that training moves beside the parameters; not copies."""
    moving = (layer for layer in _normalizations(network) if not _is_frozen(layer, network))
    return [buffer for layer in moving for buffer in layer.buffers(recurse=False)]


def _normalizations(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if getattr(module, "running_mean", None) is not None]


def _is_frozen(layer: nn.Module, network: nn.Module) -> bool:
    """Whether nothing of a layer is trained; without parameters of its own, whether anything else is frozen."""
    own = list(layer.parameters(recurse=False))
    if own:
        return not any(parameter.requires_grad for parameter in own)
    return not all(parameter.requires_grad for parameter in network.parameters())
