"""A base and networks that were fine-tuned from it, which answer the same inputs side by side."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.adapter.read import AdapterFile, put_on
from core.data.examples import Batch
from core.errors import UnknownRunError
from core.methods.adapted import adapted_layers, merged_copy
from core.methods.targets import head_paths
from core.networks.file import base_fingerprint
from core.networks.forward import forward
from core.training.side_by_side import pool_of, side_by_side
from core.training.threads import available_cores

BASE = "base"
"""Name of the base among the networks."""

ROUNDING = 1e-5
"""Largest difference of logits that comes from rounding, relative to the largest logit or 1."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What some networks answer to one batch."""

    logits: dict[str, Tensor]
    """(n, outputs) by name of the network."""
    base_is_base: bool
    """Whether the base has, bit for bit, the weights of a copy that shares no memory with the other networks, and
    answered as that does, to rounding."""
    difference: float
    """The largest difference between the logits of both: 0 for equal bits."""


class Panes:
    """Networks in memory. Those with an adapter share the frozen weights of the base. Any thread may ask them."""

    def __init__(self, base: nn.Module, again: nn.Module) -> None:
        """Args:
        base: what all networks started from; it becomes frozen.
        again: the same, read a second time, so that both share no memory.
        """
        self._base, self._again = (_aligned(network).requires_grad_(False).eval() for network in (base, again))
        self._fingerprint = base_fingerprint(base)
        self._networks: dict[str, nn.Module] = {BASE: self._base}
        self._answering = threading.Lock()
        self._threads = available_cores()
        self._pool = pool_of(self._threads)

    def add(self, name: str, network: nn.Module) -> None:
        """Add a network with weights of its own."""
        self._networks[name] = network.requires_grad_(False).eval()

    def add_adapter(self, name: str, adapter: AdapterFile) -> None:
        """Add the base with an adapter. Raises: BaseMismatchError: it was trained on another base, or does not fit."""
        shared = {id(tensor): tensor for tensor in (*self._base.parameters(), *self._base.buffers())}
        self.add(name, put_on(copy.deepcopy(self._base, dict(shared)), adapter, self._fingerprint))

    def add_merged(self, name: str, of: str) -> None:
        """Add a network of plain layers, into which the adapter of the network named ``of`` is merged."""
        self.add(name, merged_copy(self._network(of)))

    def left_at_zero(self, name: str) -> tuple[str, ...]:
        """What a network still has of its training where the strength of its adapter is 0, in words.

        Returns:
            Names of the parts that the strength does not scale: DoRA's magnitudes, and a head that was trained whole.

        Raises:
            UnknownRunError: there is no network of such a name.
        """
        network = self._network(name)
        layers = adapted_layers(network).values()
        unscaled = dict.fromkeys(words for layer in layers for words in layer.unscaled)
        return (*unscaled, *(["head"] if head_paths(network) else []))

    def answer(
        self,
        batch: Batch,
        names: Sequence[str],
        strengths: Mapping[str, float] | None = None,
        ask: Callable[[nn.Module, Batch], Tensor] = forward,
    ) -> Answers:
        """Ask some networks, and the base in any case; each computes on one core, so that several do at once.

        Args:
            batch: inputs.
            names: of the networks to ask.
            strengths: factors on the adapters, by name of the network: alpha over that of the training; 1 where absent.
            ask: what is computed, where that is not a row of outputs for each input.

        Raises:
            UnknownRunError: there is no network of such a name.
        """
        factors = strengths or {}
        asked = {name: (self._network(name), factors.get(name, 1.0)) for name in dict.fromkeys([BASE, *names])}

        def answered(of: tuple[nn.Module, float]) -> Tensor:
            network, factor = of
            with torch.no_grad(), _strengthened(network, factor):  # every thread has its own switch
                return ask(network, batch)

        with self._answering:
            # The longest of all, so it begins first.
            same = self._pool.submit(_same_weights, self._base, self._again)
            *logits, expected = side_by_side(
                answered, [*asked.values(), (self._again, 1.0)], self._threads, pool=self._pool
            )
            found = dict(zip(asked, logits, strict=True))
        difference = float((found[BASE] - expected).abs().max())
        near = difference <= ROUNDING * max(float(expected.abs().max()), 1.0)
        return Answers(found, near and same.result(), difference)

    def _network(self, name: str) -> nn.Module:
        if name not in self._networks:
            raise UnknownRunError(f"The network {name!r} is not among those that answer here.")
        return self._networks[name]


def _aligned(network: nn.Module) -> nn.Module:
    """Copy each tensor to where torch allocates it, in place: in a file's buffer it may begin anywhere, and products of
    vectors that begin elsewhere round differently.
    """
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data = tensor.data.clone()
    return network


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == twin and torch.equal(a, b) for (name, a), (twin, b) in pairs)


@contextmanager
def _strengthened(network: nn.Module, factor: float) -> Iterator[None]:
    """Multiply the strength of every adapter of a network by a factor."""
    with ExitStack() as stack:
        for layer in adapted_layers(network).values():
            stack.enter_context(layer.strengthened(factor))
        yield
