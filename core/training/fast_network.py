"""A network as the engine computes it in training and evaluation: with fewer and faster operations, to rounding."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from core.networks.forward import forward
from core.networks.network import SPEC, NetworkSpec, spec_on
from core.training.first_token import TOKENS, first_token_only, is_exact
from core.training.frozen import block_list
from core.training.products import fast_layers
from core.training.swapped import Forward, Swapped


class FastNetwork(nn.Module):
    """What computes with a network, while some of its modules have other forwards."""

    def __init__(self, model: nn.Module, spec: NetworkSpec, forwards: Mapping[nn.Module, Forward]) -> None:
        """Args: model: the network itself, or what computes with it; spec: of the network; forwards: of its modules."""
        super().__init__()
        self.model = model
        setattr(self, SPEC, spec)
        self.swapped = Swapped(forwards)

    def forward(self, **batch: Tensor) -> Tensor:
        with self.swapped:
            return forward(self.model, batch)


def fast(network: nn.Module, model: nn.Module, precision: str = "float32", fixed: bool = False) -> nn.Module:
    """``model`` as the engine computes it, or itself where there is nothing faster.

    Layers of networks that people import are computed by :mod:`core.training.products`. Their last block is computed
    for its first token where the classifier reads no other one, which is tried on two texts.

    Args:
        network: whose layers are computed; it is not changed.
        model: the network itself, or what computes with it, such as :class:`core.training.frozen.Resumed`.
        precision: of the matrix products.
        fixed: the weights stay as they are now, and no gradients are wanted.
    """
    spec = spec_on(network)
    if spec is None or not spec.reads_tokens or precision != "float32":
        return model
    layers = fast_layers(network, fixed)
    if not layers:
        return model
    _, blocks = block_list(network)
    shorter = first_token_only(blocks[-1], layers) if blocks else {}
    if shorter:
        probe = spec.examples(2, torch.Generator().manual_seed(0), TOKENS).batch(slice(None))
        shorter = shorter if is_exact(network, shorter, probe) else {}
    return FastNetwork(model, spec, layers | shorter)
