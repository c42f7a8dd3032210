"""The intra-op thread count of a step, reduced to one when threads start to wait for each other."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK = 16
"""Steps per timing: a single step on a busy core may take fifty milliseconds."""

STRIKES = 2
"""Consecutive slow chunks after which the count is reduced to one; a single one may be chance."""


class Cores:
    """The intra-op thread count of one stepper."""

    def __init__(self) -> None:
        self.count = 1
        self._slowest = math.inf
        self._strikes = 0

    def use(self, count: int, slowest: float = math.inf) -> None:
        """Use this many threads; go back to one if steps repeatedly take more than ``slowest`` seconds."""
        self.count, self._slowest, self._strikes = count, slowest, 0
        self.enter()

    def enter(self) -> None:
        """Apply the count to the calling thread; torch has one count per thread."""
        torch.set_num_threads(self.count)

    def chunks(self, rows: Tensor) -> Iterator[Tensor]:
        """Split rows of shape (orders, steps, batch) into chunks, and time how long the caller trains on each."""
        if self.count == 1:
            yield rows
            return
        for chunk in torch.split(rows, CHUNK, 1):
            start = time.perf_counter()
            yield chunk
            slow = (time.perf_counter() - start) / chunk.shape[1] > self._slowest
            self._strikes = self._strikes + 1 if slow else 0
            if self._strikes == STRIKES:
                self.use(1)
