"""A training step as a fixed list of calls on fixed tensors.

Every buffer of a step is made once, so a step is nothing but these calls, one after another. That
leaves hardly any allocation or Python between the products on a CPU, and it is what a CUDA graph
needs: no host value is read, no tensor is made, and every result lands where it landed before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from functools import partial
from typing import Any


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

    def only(self, functions: Container[Callable[..., Any]]) -> Callable[[], None]:
        """The calls of some functions, without the others, as a function."""
        calls = [call for call in self.calls if call.func in functions]

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
