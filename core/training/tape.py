"""A training step as a fixed list of calls on fixed tensors.

Every buffer of a step is made once, so a step is nothing but these calls, one after another. That
leaves no allocation and hardly any Python between the products on a CPU, and it is what a CUDA
graph needs: no host value is read, and every result lands where it landed before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

PRODUCTS = (torch.mm, torch.addmm, torch.bmm, torch.baddbmm)


class Tape:
    """Calls in the order they were added, each with a name for profiles."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.calls: list[partial[Any]] = []

    def add(self, name: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Add a call; it happens at every :meth:`run`, on these very tensors."""
        self.names.append(name)
        self.calls.append(partial(function, *arguments, **options))

    def run(self) -> None:
        """Make all calls."""
        for call in self.calls:
            call()

    def products(self) -> Callable[[], None]:
        """Only the matrix products, as a function: the floor that a step cannot go below."""
        calls = [call for call in self.calls if call.func in PRODUCTS]

        def run() -> None:
            for call in calls:
                call()

        return run

    def profile(self, runs: int, before: Callable[[], object] = lambda: None) -> list[tuple[str, float]]:
        """What a step's time goes to: median seconds of every call.

        Args:
            runs: how often to make all calls.
            before: called before each run, outside the clock.
        """
        times: list[list[float]] = [[] for _ in self.calls]
        for _ in range(runs):
            before()
            for call, spent in zip(self.calls, times, strict=True):
                start = time.perf_counter()
                call()
                spent.append(time.perf_counter() - start)
        return [(name, sorted(spent)[len(spent) // 2]) for name, spent in zip(self.names, times, strict=True)]


class Algebra:
    """Batched products over the members of a shard; a shard of one skips the batch dimension.

    ``torch.mm`` and ``torch.bmm`` compute the same; the former is quicker to start.
    """

    def __init__(self, members: int) -> None:
        self.members = members
        self._one = members == 1

    def _view(self, tensor: Tensor) -> Tensor:
        return tensor[0] if self._one else tensor

    def product(self, tape: Tape, name: str, a: Tensor, b: Tensor, out: Tensor) -> None:
        """Put a b into ``out``, all of shape (members, ·, ·)."""
        tape.add(name, torch.mm if self._one else torch.bmm, *map(self._view, (a, b)), out=self._view(out))

    def add_product(self, tape: Tape, name: str, start: Tensor, a: Tensor, b: Tensor, out: Tensor) -> None:
        """Put start + a b into ``out``; ``start`` may be ``out`` itself or broadcast to it."""
        function = torch.addmm if self._one else torch.baddbmm
        tape.add(name, function, *map(self._view, (start, a, b)), out=self._view(out))
