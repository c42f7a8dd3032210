"""Several modules trained by autograd side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush

import torch
from torch import Tensor

from core.data.examples import EvaluationPart
from core.training.autograd import AutogradStepper
from core.training.checkpoint import TrainState
from core.training.evaluation import Evaluation
from core.training.side_by_side import pool_of, side_by_side


class ParallelSteppers:
    """One :class:`AutogradStepper` per member; see :class:`core.training.stepper.Stepper`.

    Several advance at once, each on one thread: products of the size of a batch gain little from a second one. Steps
    are dealt out one by one, to the member with the fewest, so that three keep two cores busy to the end. A member's
    results are those of its own stepper on one thread, bit for bit, however many train beside it.
    """

    def __init__(self, steppers: Sequence[AutogradStepper]) -> None:
        """Args: steppers: one per member, on the same task and device."""
        self._steppers = list(steppers)
        self.members = self.shards = len(self._steppers)
        self.seeds = tuple(seed for stepper in self._steppers for seed in stepper.seeds)
        self.task, self.device = self._steppers[0].task, self._steppers[0].device
        orders = list(dict.fromkeys(self.seeds))
        self._orders = [orders.index(seed) for seed in self.seeds]
        self._ended: set[int] = set()
        self._threads = 1
        self._pool: ThreadPoolExecutor | None = None

    def advance(self, rows: Tensor) -> Tensor:
        losses = torch.full((rows.shape[1], self.members), math.nan, device=self.device)
        ready = [(0, member) for member in self._active]  # a heap

        def work(_thread: int) -> None:
            while ready:
                try:
                    step, member = heappop(ready)
                except IndexError:  # another thread was quicker
                    return
                own = self._own(member, rows)[:, step : step + 1]
                losses[step, member] = self._steppers[member].advance(own)[0, 0]
                if step + 1 < len(losses):
                    heappush(ready, (step + 1, member))

        side_by_side(work, range(self._threads), self._threads, pool=self._pool)
        return losses

    def _own(self, member: int, rows: Tensor) -> Tensor:
        order = self._orders[member]
        return rows[order : order + 1]

    @property
    def _active(self) -> list[int]:
        return [member for member in range(self.members) if member not in self._ended]

    @property
    def threads(self) -> int:
        return max(self._threads, *(stepper.threads for stepper in self._steppers))

    def use_threads(self, count: int, slowest: float = math.inf, evaluation: int | None = None) -> None:
        """Train as many members at once, each on one thread; a single member splits its products."""
        self._threads = min(count, self.members)
        self._pool = pool_of(self._threads) if self._threads > 1 else None
        for stepper in self._steppers:
            stepper.use_threads(1 if self.members > 1 else count, slowest, evaluation or count)

    def rehearse(self, rows: Tensor) -> None:
        def work(member: int) -> None:
            self._steppers[member].rehearse(self._own(member, rows))

        side_by_side(work, self._active, self._threads, pool=self._pool)

    def evaluate(
        self,
        member: int,
        part: EvaluationPart = "validation",
        source: bool = True,
        look: Callable[[], None] = lambda: None,
    ) -> tuple[Evaluation, Evaluation | None]:
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)  # a family that takes all examples at once splits its products
        try:
            return self._steppers[member].evaluate(0, part, source, look)
        finally:
            torch.set_num_threads(before)

    def note(self, member: int) -> str | None:
        """A sentence on a member's frozen blocks; None if there are none."""
        return self._steppers[member].note(0)

    def trained(self, member: int) -> list[Tensor]:
        return self._steppers[member].trained(0)

    def restore(self, member: int, trained: list[Tensor]) -> None:
        self._steppers[member].restore(0, trained)

    def train_state(self, member: int) -> TrainState:
        return self._steppers[member].train_state(0)

    def resume(self, states: Sequence[TrainState]) -> None:
        for stepper, own in zip(self._steppers, states, strict=True):
            stepper.resume([own])

    def write_back(self, member: int) -> None:
        self._steppers[member].write_back(0)

    def retire(self, member: int) -> None:
        self._ended.add(member)
