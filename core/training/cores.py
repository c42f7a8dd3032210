"""Threads that split the products of a step, given up as soon as they wait for each other."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

PIECE = 16
"""Steps between looks at the clock: one step on a busy core may take fifty milliseconds."""

STRIKES = 2
"""Slow pieces in a row after which threads are given up; a single one is a hiccup that passes."""


class Cores:
    """The intra-op thread count of one stepper."""

    def __init__(self) -> None:
        self.count = 1
        self._slowest = math.inf
        self._strikes = 0

    def use(self, count: int, slowest: float = math.inf) -> None:
        """Split products among this many threads; back to one when steps keep taking ``slowest`` seconds."""
        self.count, self._slowest, self._strikes = count, slowest, 0
        self.enter()

    def enter(self) -> None:
        """Make the count that of the calling thread; torch keeps one for each."""
        torch.set_num_threads(self.count)

    def pieces(self, rows: Tensor) -> Iterator[Tensor]:
        """Parts of rows of shape (orders, steps, batch), each to be trained on before the next is asked for."""
        if self.count == 1:
            yield rows
            return
        for piece in torch.split(rows, PIECE, 1):
            start = time.perf_counter()
            yield piece
            slow = (time.perf_counter() - start) / piece.shape[1] > self._slowest
            self._strikes = self._strikes + 1 if slow else 0
            if self._strikes == STRIKES:
                self.use(1)
