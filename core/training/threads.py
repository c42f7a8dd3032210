"""How many threads a bank trains on.

Shards of a bank go to as many threads as there are cores. One shard alone can only split its products,
and then the count is found by trying: a second thread saves little or much, depending on the batch,
and while another process holds its core it makes every product wait, a hundred times slower at worst.
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

GAIN = 0.9
"""More threads must take less than this share of the time of fewer, all but once: ties go to fewer."""

SHORT_STEP = 0.0002
"""Seconds. A shorter step stays on one thread: there is little to save, and all to lose
as soon as the second core is busy."""

WORTH_A_TRIAL = 2.0
"""Seconds of training below which one thread is taken without a trial, which takes a third of one."""

PATIENCE = 2.0
"""Several threads are given up when a step takes this many times what one thread took in the trial."""


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Threads:
    """The thread count of a stepper, settled before it trains."""

    def __init__(
        self,
        stepper: Stepper,
        batch_size: int,
        wanted: int | None = None,
        limit: int | None = None,
        steps: float = float("inf"),
        look: Callable[[], None] = lambda: None,
    ) -> None:
        """Settle on a count, and make the stepper use it.

        Args:
            stepper: what will be trained.
            batch_size: images a step.
            wanted: the count; None finds it by a trial on steps that change no weight.
            limit: largest count to try; without one, as many as there are cores.
            steps: how many are to come; a bank that one thread trains in a moment is not worth a trial.
            look: called before each timing; what it raises ends the trial.
        """
        self._stepper = stepper
        most = limit or available_cores()
        counts = [count for count in COUNTS if count <= most]
        if wanted is not None or most == 1 or stepper.device.type != "cpu":
            stepper.use_threads(wanted or 1)
        elif stepper.shards > 1:
            # They never wait for each other inside a step: a busy core costs its share and no more.
            stepper.use_threads(most)
        else:
            self._try(counts, batch_size, steps, look)

    @property
    def count(self) -> int:
        """Threads in use now."""
        return self._stepper.threads

    def _try(self, counts: Sequence[int], batch_size: int, steps: float, look: Callable[[], None]) -> None:
        timed = _timer(self._stepper, batch_size, look)
        single, best = timed(1), 1
        if steps * single >= WORTH_A_TRIAL:
            single = min(timed(1) for _ in range(ROUNDS))
            best = fastest(counts, timed) if single >= SHORT_STEP else 1
        self._stepper.use_threads(best, PATIENCE * single)


def fastest(counts: Sequence[int], seconds: Callable[[int], float]) -> int:
    """The count to use: a larger one only where its worst time but one is clearly better than a smaller one's usual.

    Args:
        counts: to choose from, rising.
        seconds: times some work on a count of threads.
    """
    times: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(ROUNDS):
        for count in counts:
            times[count].append(seconds(count))
    best = counts[0]
    for count in counts[1:]:
        if sorted(times[count])[-2] < GAIN * median(times[best]):
            best = count
    return best


def _timer(stepper: Stepper, batch_size: int, look: Callable[[], None]) -> Callable[[int], float]:
    """A function from a thread count to the seconds of a step with it; it calls ``look`` first."""
    orders, n = len(set(stepper.seeds)), len(stepper.task.train_x)
    batch = min(batch_size, n)

    def rows(steps: int) -> Tensor:
        flat = torch.arange(steps * batch, device=stepper.device).remainder_(n)
        return flat.view(1, steps, batch).repeat(orders, 1, 1)

    def timed(count: int, chunk: Tensor) -> float:
        look()
        stepper.use_threads(count)
        start = time.perf_counter()
        stepper.rehearse(chunk)
        return (time.perf_counter() - start) / chunk.shape[1]

    timed(1, rows(2))  # makes buffers
    chunk = rows(max(2, int(ROUND_SECONDS / timed(1, rows(2)))))
    return lambda count: timed(count, chunk)
