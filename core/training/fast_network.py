"""A network as the engine computes it in training and evaluation: with fewer and faster operations, to rounding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core.networks.forward import forward
from core.networks.network import SPEC, NetworkSpec, spec_on
from core.training.first_token import TOKENS, first_token_only, is_exact
from core.training.frozen import block_list
from core.training.products import fast_layers, is_supported
from core.training.swapped import Swapped


class FastNetwork(nn.Module):
    """A network whose layers are computed by :mod:`core.training.products`, and its last block for its first token.

    The second only where the classifier reads no other token, which is tried on two texts.
    """

    def __init__(self, network: nn.Module, model: nn.Module) -> None:
        """Args:
        network: of a family that people bring, in float32 on a CPU; it is not changed.
        model: the network itself, or what computes with it.
        """
        super().__init__()
        self.model = model
        setattr(self, SPEC, spec_on(network))
        swapped = fast_layers(network)
        _, blocks = block_list(network)
        shorter = first_token_only(blocks[-1]) if blocks else {}
        spec = spec_on(network)
        if shorter and isinstance(spec, NetworkSpec):
            probe = spec.examples(2, torch.Generator().manual_seed(0), TOKENS).batch(slice(None))
            swapped |= shorter if is_exact(network, shorter, probe) else {}
        self._swapped = Swapped(swapped)

    def forward(self, **batch: Tensor) -> Tensor:
        with self._swapped:
            return forward(self.model, batch)


def fast(network: nn.Module, model: nn.Module, precision: str = "float32") -> nn.Module:
    """``model`` as the engine computes it, or itself where there is nothing faster.

    Args:
        network: whose layers are computed.
        model: the network itself, or what computes with it, such as :class:`core.training.frozen.Resumed`.
        precision: of the matrix products.
    """
    spec = spec_on(network)
    if spec is None or spec.brought is None or precision != "float32" or not is_supported(network):
        return model
    return FastNetwork(network, model)
