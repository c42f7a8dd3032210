"""A network as the engine computes it in training and evaluation: with fewer and faster operations, to rounding.

Most encoders give the state of their first token to the classifier. What the last block makes of the other tokens
reaches neither the loss nor a gradient, except through the keys and values that the first token reads. So the block's
queries, its attention, its output projection, its feed-forward part and its norms are computed for one token per text:
of six blocks, a seventh of all products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from core.data.examples import Batch
from core.networks.forward import evaluating, forward
from core.networks.network import SPEC, NetworkSpec, spec_on
from core.training.frozen import block_list
from core.training.products import Forward, Swapped, fast_layers, own_forward

TOKENS = 6
"""Tokens of the texts on which it is tried whether other tokens matter."""

TOLERANCE = 1e-4
"""Maximum difference of logits there, relative to the largest one: that of rounding, far below that of a lost token."""


def first_token_only(block: nn.Module, forwards: Mapping[nn.Module, Forward] | None = None) -> dict[nn.Module, Forward]:
    """Forwards with which a block computes its first token only; empty for a block that is built in another way.

    Known are blocks as in BERT, RoBERTa, ELECTRA and DeBERTa: an ``attention`` of ``self`` and ``output``, whose result
    alone the rest of the block reads.

    Args:
        block: the last one of a network.
        forwards: how its modules are computed, where that is not by their own forward.
    """
    attention = getattr(block, "attention", None)
    mixing, projection = (getattr(attention, name, None) for name in ("self", "output"))
    rest = (getattr(block, name, None) for name in ("intermediate", "output"))
    if not isinstance(mixing, nn.Module) or not isinstance(projection, nn.Module) or None in rest:
        return {}

    def computed(module: nn.Module) -> Forward:
        return (forwards or {}).get(module) or own_forward(module)

    mixed, projected = computed(mixing), computed(projection)

    def mix(*args: Any, **kwargs: Any) -> Any:
        with _FirstQuery():
            found = mixed(*args, **kwargs)
        return (found[0][:, :1], *found[1:]) if isinstance(found, tuple) else found[:, :1]

    def project(states: Tensor, residual: Tensor) -> Any:
        return projected(states, residual[:, :1])

    shorter: dict[nn.Module, Forward] = {mixing: mix, projection: project}
    query = getattr(mixing, "query", None)
    if isinstance(query, nn.Module):
        asked = computed(query)

        def ask(states: Tensor) -> Tensor:
            found: Tensor = asked(states[:, :1])
            return found.expand(-1, states.shape[1], -1)

        shorter[query] = ask
    return shorter


class _FirstQuery(TorchFunctionMode):
    """While it is entered, attention is computed for the first query only, and all queries get its result."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
    """Arguments as in torch's function of this name, with all but the mask by keyword."""
    mask = None if attn_mask is None else attn_mask[..., :1, :]
    found = F.scaled_dot_product_attention(query[..., :1, :], key, value, mask, **kwargs)
    return found.expand(*query.shape[:-1], -1)


def is_exact(network: nn.Module, forwards: dict[nn.Module, Forward], probe: Batch) -> bool:
    """Whether a network gives the same logits with these forwards.

    Args:
        network: as it is trained; it is not changed.
        forwards: see :func:`first_token_only`.
        probe: texts of several tokens without padding.
    """
    with evaluating(network), torch.no_grad():
        expected = forward(network, probe)
        try:
            with Swapped(forwards):
                found = forward(network, probe)
        except (RuntimeError, IndexError, TypeError):  # it reads the other tokens' states, or calls its parts otherwise
            return False
    if found.shape != expected.shape or not bool(torch.isfinite(expected).all()):
        return False
    return float((found - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


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
