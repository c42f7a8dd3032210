"""What a language model makes of texts: the nats of the tokens that are scored, and how many it predicts rightly.

Logits are computed where the next token is scored and nowhere else, and in pieces of which one is in memory at a time:
a vocabulary of 50,000 would otherwise take more memory than the rest of a step. The gradient of −ln p with respect to a
hidden state h is (p − y) W, for which the forward pass has all it needs; so no logits are kept or computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from core.data.examples import SCORED, Batch
from core.methods.linear import fast_product, has_fast_product

SCORES = 2
"""Numbers that a text gets; see :func:`scores`."""

PIECE = 2**23
"""Logits that are in memory at once: 32 MiB in float32."""

ADAPTED_PIECE = 256
"""Tokens at once through an output layer that is no plain linear layer."""


def is_scored(network: nn.Module, batch: Batch) -> bool:
    """Whether a batch is one to be scored by :func:`scores`, by a language model of transformers itself."""
    return SCORED in batch and output_layer(network) is not None


def output_layer(network: nn.Module) -> nn.Module | None:
    """The layer that makes logits of hidden states; None for a network that has none."""
    found: Callable[[], Any] | None = getattr(network, "get_output_embeddings", None)
    layer = found() if callable(found) else None
    return layer if isinstance(layer, nn.Module) else None


def scores(network: nn.Module, batch: Batch) -> Tensor:
    """(n, 2): the sum of −ln p over the scored tokens of each text, and how many of them are the most likely token.

    Args:
        network: a causal language model of transformers.
        batch: see :class:`core.data.examples.LanguageExamples`.
    """
    ids = batch["input_ids"]
    nats, right, places = _of_tokens(network, batch)
    texts = places.div(max(ids.shape[1] - 1, 1), rounding_mode="floor")
    empty = torch.zeros(len(ids), dtype=nats.dtype, device=ids.device)
    return torch.stack([empty.index_add(0, texts, each) for each in (nats, right)], 1)


def token_nats(network: nn.Module, batch: Batch) -> Tensor:
    """(n, tokens): −ln p of each scored token at its place, 0 at the others. Args: see :func:`scores`."""
    count, width = batch["input_ids"].shape
    nats, _, places = _of_tokens(network, batch)
    behind_first = nats.new_zeros(count * (width - 1)).index_copy(0, places, nats)
    return F.pad(behind_first.view(count, width - 1), (1, 0))


def _of_tokens(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """−ln p of each scored token, 1 where it is the most likely one, and its place in all positions but the first of
    each text; all (t,).
    """
    ids, scored = batch["input_ids"], batch[SCORED]
    hidden = hidden_states(network, batch)[:, :-1]
    if ids.is_meta:  # where no values are, all tokens are scored
        places = torch.arange(ids.shape[0] * (ids.shape[1] - 1), device=ids.device)
    else:
        places = scored[:, 1:].flatten().nonzero().flatten()
    states = hidden.flatten(0, 1).index_select(0, places)
    return *token_scores(network, states, ids[:, 1:].flatten().index_select(0, places)), places


def hidden_states(network: nn.Module, batch: Batch) -> Tensor:
    """(n, tokens, width): what the output layer reads, of the whole texts of a batch.

    Without the mask: padding is on the right, where no token of a text sees it, and without one attention is faster.
    """
    whole: Any = network
    found: Tensor = whole.get_decoder()(input_ids=batch["input_ids"], use_cache=False).last_hidden_state
    return found


def last_logits(network: nn.Module, batch: Batch) -> Tensor:
    """(n, vocabulary): the logits of the token that would follow each text; see :func:`scores`."""
    ends = batch["attention_mask"].sum(1) - 1
    states = hidden_states(network, batch)[torch.arange(len(ends), device=ends.device), ends]
    layer: Any = output_layer(network)
    found: Tensor = layer(states)
    return found


def token_scores(network: nn.Module, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """−ln p of each token, and 1 where it is the most likely one, both (t,).

    Args:
        network: see :func:`scores`.
        states: (t, width) hidden states.
        targets: (t,) the token that follows each.
    """
    layer: Any = output_layer(network)
    if type(layer) is nn.Linear:
        found: tuple[Tensor, Tensor] = _TokenScores.apply(states, layer.weight, layer.bias, targets)  # type: ignore[no-untyped-call]
        return found

    def own(states: Tensor, targets: Tensor) -> Tensor:
        nats, right, _ = _scored(layer(states), targets)
        return torch.stack([nats, right])

    # With an adapter on it, its own forward is called, and once more for gradients.
    pieces = zip(torch.split(states, ADAPTED_PIECE), torch.split(targets, ADAPTED_PIECE), strict=True)
    nats, right = torch.cat([checkpoint(own, *piece, use_reentrant=False) for piece in pieces], 1)
    return nats, right.detach()


def _scored(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """−ln p of each target, 1 where it has the largest logit, and ln Σ exp of the logits, in float32 or float64."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    own, total = logits.gather(1, targets[:, None])[:, 0], logits.logsumexp(1)
    return total - own, (own >= logits.amax(1)).to(logits.dtype), total


class _TokenScores(torch.autograd.Function):
    """−ln softmax(h Wᵀ + b) at the targets; gradients are found with it, for the case that all tokens weigh alike."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.low, wanted = _product_dtype(states), ctx.needs_input_grad[:3]
        (nats, right), found = _in_pieces(states, weight, bias, targets, ctx.low, wanted)
        ctx.mark_non_differentiable(right)
        again = (states, weight, bias, targets) if wanted[1] or wanted[2] else (None,) * 4
        ctx.save_for_backward(*again, *found)
        return nats, right

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        states, weight, bias, targets, to_states, to_weight, to_bias = ctx.saved_tensors
        given = gradients[0]
        alike = given.is_meta or not len(given) or bool((given == given[0]).all())
        if (to_weight is not None or to_bias is not None) and not alike:
            wanted = (False, to_weight is not None, to_bias is not None)
            _, (_, to_weight, to_bias) = _in_pieces(states, weight, bias, targets, ctx.low, wanted, given)
        elif len(given):
            to_weight, to_bias = (None if each is None else each * given[0] for each in (to_weight, to_bias))
        return None if to_states is None else to_states * given[:, None], to_weight, to_bias, None


def _in_pieces(
    states: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    low: torch.dtype,
    wanted: Sequence[bool],
    weights: Tensor | None = None,
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor | None, Tensor | None, Tensor | None]]:
    """Scores of tokens, and the gradients of the sum of their −ln p.

    Args:
        states: (t, width) hidden states.
        weight: (vocabulary, width) of the output layer.
        bias: (vocabulary,), or None.
        targets: (t,) tokens.
        low: number format of the products.
        wanted: whether the gradients of states, weight and bias are.
        weights: (t,) factors on each token's −ln p in the gradients; None for ones.

    Returns:
        −ln p and whether it is the most likely token, (t,); and the three gradients, None for those not wanted.
    """
    kept = weight.to(low)
    nats = torch.empty(len(states), dtype=torch.promote_types(states.dtype, torch.float32), device=states.device)
    right = torch.empty_like(nats)
    to_states = torch.empty_like(states) if wanted[0] else None
    to_weight = torch.zeros_like(weight, dtype=nats.dtype) if wanted[1] else None
    to_bias = torch.zeros_like(bias, dtype=nats.dtype) if wanted[2] and bias is not None else None
    size = max(PIECE // len(weight), 1)
    times = fast_product if has_fast_product(kept) else _product
    with nullcontext() if states.is_meta else torch.autocast(states.device.type, enabled=False):
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            own, aims = states[part].to(low), targets[part]
            logits = times(own, kept).to(nats.dtype)
            if bias is not None:
                logits += bias
            nats[part], right[part], total = _scored(logits, aims)
            if not any(wanted):
                continue
            logits.sub_(total[:, None]).exp_()
            logits[torch.arange(len(own), device=own.device), aims] -= 1
            if weights is not None:
                logits *= weights[part, None]
            change = logits.to(low)
            if to_states is not None:
                to_states[part] = times(change, kept.T)
            if to_weight is not None and change.dtype == to_weight.dtype:
                to_weight.addmm_(change.T, own)  # without a second tensor of its size
            elif to_weight is not None:
                to_weight += change.T @ own
            if to_bias is not None:
                to_bias += logits.sum(0)
    return (nats, right), (to_states, to_weight, to_bias)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """The product x Wᵀ."""
    return x @ weight.T


def _product_dtype(states: Tensor) -> torch.dtype:
    """The number format of products here, which autocast may have set."""
    kind = states.device.type
    if kind == "meta":
        return states.dtype
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
