"""Activations of blocks that are not kept for the backward pass, and computed again there.

Only what enters a block is kept until then (Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv
1604.06174). Gradients are the same, to rounding, and every block is computed twice: a step takes about a third longer,
with adapters half as long again, since they need no gradients of weights. ``benchmarks.recompute`` measures it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from core.networks.forward import forward
from core.networks.network import SPEC, spec_on
from core.training.fast_network import FastNetwork
from core.training.frozen import block_list
from core.training.random_numbers import RandomNumbers
from core.training.swapped import Forward, Swapped, own_forward


class Recomputed(nn.Module):
    """What computes with a network, and keeps of each block only what enters it."""

    def __init__(self, network: nn.Module, model: nn.Module, numbers: RandomNumbers) -> None:
        """Args:
        network: whose blocks are computed again; it is not changed.
        model: what computes with it, as :func:`core.training.fast_network.fast` gives it.
        numbers: what a step draws, and draws again.
        """
        super().__init__()
        self.model = model
        setattr(self, SPEC, spec_on(network))
        self._numbers = numbers
        _, blocks = block_list(network)
        trained = [any(parameter.requires_grad for parameter in block.parameters()) for block in blocks]
        # Those below the first trained one keep nothing.
        again = blocks[trained.index(True) :] if any(trained) else []
        self._swapped = Swapped({block: self._of(block) for block in again})

    def forward(self, *only: Tensor, **batch: Tensor) -> Any:
        with self._swapped:
            return self.model(*only) if only else forward(self.model, batch)

    def _of(self, block: nn.Module) -> Forward:
        own = own_forward(block)

        def run(*args: Any, **kwargs: Any) -> Any:
            if not torch.is_grad_enabled():
                return own(*args, **kwargs)
            args = tuple(map(_without_cache, args))
            whole = partial(own, **{name: _without_cache(value) for name, value in kwargs.items()})
            # What is drawn comes from ``numbers``, and not from torch's global generator.
            return checkpoint(whole, *args, use_reentrant=False, preserve_rng_state=False, context_fn=self._contexts)

        return run

    def _contexts(self) -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
        """What a block is computed in: at first in nothing more, and again with the same layers and numbers."""
        return nullcontext(), self._same(self._numbers.repeated())

    @contextmanager
    def _same(self, numbers: AbstractContextManager[None]) -> Iterator[None]:
        with ExitStack() as inside:
            if isinstance(self.model, FastNetwork):
                inside.enter_context(self.model.swapped)
            inside.enter_context(numbers)
            yield


def _without_cache(value: Any) -> Any:
    """An argument of a block, None for a cache of keys and values, to which the second time would add them again."""
    return None if hasattr(value, "get_seq_length") else value
