"""Threads that split the products of a step, given up as soon as they wait for each other."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

PIECE = 16
"""Steps between looks at the clock: one step on a busy core may take fifty milliseconds."""


class Cores:
    """The intra-op thread count of one stepper."""

    def __init__(self) -> None:
        self.count = 1
        self._slowest = math.inf

    def use(self, count: int, slowest: float = math.inf) -> None:
        """Split products among this many threads; only on one again once a step takes ``slowest`` seconds."""
        self.count, self._slowest = count, slowest
        torch.set_num_threads(count)

    def pieces(self, rows: Tensor) -> Iterator[Tensor]:
        """Parts of rows of shape (orders, steps, batch), each to be trained on before the next is asked for."""
        if self.count == 1:
            yield rows
            return
        for piece in torch.split(rows, PIECE, 1):
            start = time.perf_counter()
            yield piece
            if self.count > 1 and (time.perf_counter() - start) / piece.shape[1] > self._slowest:
                self.use(1)
