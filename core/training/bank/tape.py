"""A training step as a fixed list of calls on fixed tensors.

All buffers of a step are allocated once, so a step is nothing but these calls in sequence. That leaves hardly any
allocation or Python overhead between the products on a CPU, and it is what a CUDA graph needs: no values are read on
the host, no tensors are created, and every result is written to the same memory each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from functools import partial
from typing import Any


class Tape:
    """A list of calls, each with a name for profiles."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.calls: list[partial[Any]] = []

    def add(self, name: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Add a call on these tensors."""
        self.names.append(name)
        self.calls.append(partial(function, *arguments, **options))

    def run(self) -> None:
        """Make all calls."""
        for call in self.calls:
            call()

    def only(self, functions: Container[Callable[..., Any]]) -> Callable[[], None]:
        """A function that makes only the calls of some functions."""
        calls = [call for call in self.calls if call.func in functions]

        def run() -> None:
            for call in calls:
                call()

        return run

    def profile(self, runs: int, before: Callable[[], object] = lambda: None) -> list[tuple[str, float]]:
        """Median seconds of every call.

        Args:
            runs: number of times to make all calls.
            before: called before each run, not timed.
        """
        times: list[list[float]] = [[] for _ in self.calls]
        for _ in range(runs):
            before()
            for call, spent in zip(self.calls, times, strict=True):
                start = time.perf_counter()
                call()
                spent.append(time.perf_counter() - start)
        return [(name, sorted(spent)[len(spent) // 2]) for name, spent in zip(self.names, times, strict=True)]
