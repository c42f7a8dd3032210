"""How many threads a bank trains on: found by trying, because the number of cores does not tell.

At these sizes a second thread saves little or much, depending on the batch; and while another process
holds its core it makes every product wait, a hundred times slower at worst.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import Tensor

from core.training.stepper import Stepper

COUNTS = (1, 2, 4, 8, 16, 32)
"""Counts that are tried, as far as there are cores."""

ROUNDS = 5
"""Each count is timed this often, in turns, so that a change of load meets all alike."""

ROUND_SECONDS = 0.02
"""Length of one timing."""

GAIN = 0.85
"""More threads must take less than this share of the time of fewer: ties and luck go to one thread."""

SHORT_STEP = 0.0003
"""Seconds. A shorter step of one shard stays on one thread: there is little to save, and all to lose
as soon as the second core is busy."""

WORTH_A_TRIAL = 2.0
"""Seconds of training below which one thread is taken without a trial, which takes a third of one."""

PATIENCE = 2.0
"""Several threads are given up when a step takes this many times what one thread took in the trial."""


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Threads:
    """The thread count of a stepper, and an eye on whether it still pays."""

    def __init__(
        self,
        stepper: Stepper,
        batch_size: int,
        wanted: int | None = None,
        limit: int | None = None,
        steps: float = float("inf"),
    ) -> None:
        """Settle on a count, and make the stepper use it.

        Args:
            stepper: what will be trained.
            batch_size: images a step.
            wanted: the count; None finds it by a trial on steps that change no weight.
            limit: largest count to try; without one, as many as there are cores.
            steps: how many are to come; a bank that one thread trains in a moment is not worth a trial.
        """
        self._stepper = stepper
        self._slowest = float("inf")
        counts = [count for count in COUNTS if count <= (limit or available_cores())]
        self.count = wanted or 1
        if wanted is None and len(counts) > 1 and stepper.device.type == "cpu":
            self._try(counts, batch_size, steps)
        stepper.use_threads(self.count)

    def _try(self, counts: Sequence[int], batch_size: int, steps: float) -> None:
        timed = _timer(self._stepper, batch_size)
        if steps * timed(1) < WORTH_A_TRIAL:
            return
        single = min(timed(1) for _ in range(ROUNDS))
        if self._stepper.splits_steps and single < SHORT_STEP:
            return
        self.count = fastest(counts, timed, wary=self._stepper.splits_steps)
        self._slowest = PATIENCE * single

    def watch(self, seconds: float) -> None:
        """Go back to one thread for good when steps have become slow.

        Args:
            seconds: what a step of the latest stretch took.
        """
        if self.count > 1 and seconds > self._slowest:
            self.count = 1
            self._stepper.use_threads(1)


def fastest(counts: Sequence[int], seconds: Callable[[int], float], wary: bool) -> int:
    """The count to use.

    Args:
        counts: to choose from, rising.
        seconds: times some work on a count of threads.
        wary: threads wait for each other in every product, so a larger count is judged by its worst
            time; otherwise by its usual one.
    """
    times: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(ROUNDS):
        for count in counts:
            times[count].append(seconds(count))
    best = counts[0]
    for count in counts[1:]:
        judged = max(times[count]) if wary else median(times[count])
        if judged < GAIN * median(times[best]):
            best = count
    return best


def _timer(stepper: Stepper, batch_size: int) -> Callable[[int], float]:
    """A function from a thread count to the seconds of a step with it."""
    orders, n = len(set(stepper.seeds)), len(stepper.task.train_x)
    batch = min(batch_size, n)

    def rows(steps: int) -> Tensor:
        flat = torch.arange(steps * batch, device=stepper.device).remainder_(n)
        return flat.view(1, steps, batch).repeat(orders, 1, 1)

    def timed(count: int, chunk: Tensor) -> float:
        stepper.use_threads(count)
        start = time.perf_counter()
        stepper.rehearse(chunk)
        return (time.perf_counter() - start) / chunk.shape[1]

    timed(1, rows(2))  # makes buffers
    chunk = rows(max(2, int(ROUND_SECONDS / timed(1, rows(2)))))
    return lambda count: timed(count, chunk)
