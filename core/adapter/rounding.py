"""How much rounding may change when adapters are merged: as much as what is summed allows, not as its sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from core.data.examples import Batch
from core.errors import VerificationError
from core.methods.adapted import AdaptedLinear, frozen_weight
from core.methods.linear import is_linear, product
from core.methods.merging import adapted_layers
from core.networks.forward import forward
from core.networks.modes import evaluating

LAYER_TOLERANCE = 1e-5
"""Maximum difference between the outputs of one layer, merged and unmerged, for the same inputs, relative to the sum of
absolute values behind its largest output. Of trained layers it is below 1e-6, whatever their learning rate was."""


def largest_summed(network: nn.Module, probe: Batch) -> float:
    """The largest sum of absolute values behind an output of a linear layer, on the way of ``probe`` to the logits.

    A sum in floating point is wrong by at most a multiple of Σ|terms| (Higham 2002, Accuracy and Stability of Numerical
    Algorithms, section 3.1): in a layer with weight W + B A these are |x| (|W| + |B| |A|)ᵀ, and they may be far above
    the output, where W and the adapter, or large inputs, cancel.

    That alone would let a wrong adapter pass wherever large values are summed, so each adapted layer also has to
    compute the same merged and unmerged, for the inputs that it gets, up to its own rounding.

    Args:
        network: with adapters, unmerged; it is not changed.
        probe: inputs.

    Returns:
        The sum; 0 where a layer with an adapter is not called, so that it could not be looked at.

    Raises:
        VerificationError: a layer computes something else when merged.
    """
    layers = adapted_layers(network)
    sums = dict.fromkeys(layers, 0.0)
    inner = {layer.linear for layer in layers.values()}
    plain = {path: module for path, module in network.named_modules() if is_linear(module) and module not in inner}
    called: set[str] = set()

    def looking(path: str, look: Callable[[str, Any, Tensor, Tensor], float]) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            called.add(path)
            sums[path] = max(sums.get(path, 0.0), look(path, module, inputs[0], output))

        return hook

    handles = [layer.register_forward_hook(looking(path, _adapted)) for path, layer in layers.items()]
    handles += [module.register_forward_hook(looking(path, _plain)) for path, module in plain.items()]
    try:
        with evaluating(network), torch.no_grad():
            forward(network, probe)
    finally:
        for handle in handles:
            handle.remove()
    return max(sums.values()) if called >= layers.keys() else 0.0


def _adapted(path: str, layer: AdaptedLinear, x: Tensor, output: Tensor) -> float:
    """The largest sum in a layer with an adapter. Raises: VerificationError: it computes something else when merged."""
    sums = _sums(x, layer.terms().magnitudes(frozen_weight(layer)), layer.bias)
    merged = product(layer.linear, x, layer.summed_weight())
    found, allowed = (merged - output).abs().max().item(), LAYER_TOLERANCE * sums
    if not found <= allowed:
        raise VerificationError(
            f"outputs of layer {path} differ by {found:.3g} between the merged and unmerged network, more than "
            f"{allowed:.3g}"
        )
    return sums


def _plain(path: str, linear: nn.Linear, x: Tensor, output: Tensor) -> float:
    """The largest sum in a layer without an adapter."""
    return _sums(x, frozen_weight(linear).abs(), linear.bias)


def _sums(x: Tensor, magnitudes: Tensor, bias: Tensor | None) -> float:
    """The largest of |x| Mᵀ + |b|, for x of shape (..., in) and M of shape (out, in) in at least its precision."""
    sums = x.abs().to(magnitudes.dtype) @ magnitudes.T
    if bias is not None:
        sums = sums + bias.abs()
    return sums.max().item()
