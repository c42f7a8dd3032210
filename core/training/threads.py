"""The number of threads that a bank trains on: chosen, and reduced to one when threads start to wait for each other.

The shards of a bank are spread over as many threads as there are cores. A single shard can only split its products, and
then the best count is measured: the gain from a second thread depends on the batch size, and while another process uses
its core, every product waits for it, up to a hundred times as long.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import torch
from torch import Tensor

from core.training.stepper import Stepper

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


COUNTS = (1, 2, 4, 8, 16, 32)
"""Thread counts to try, up to the number of cores."""

ROUNDS = 5
"""Timings per count, interleaved, so that changes in load affect all counts alike."""

ROUND_SECONDS = 0.02
"""Duration of one timing; it has two steps at least."""

SLOW_STEP, SLOW_ROUNDS = 0.1, 3
"""Steps that take longer than this many seconds are timed one at a time, in fewer rounds: they vary less, and a trial
must not take a minute."""

GAIN = 0.9
"""More threads must take less than this fraction of the time of fewer in all rounds but one; ties go to fewer."""

SHORT_STEP = 0.0002
"""Steps shorter than this many seconds stay on one thread: there is little to gain, and much to lose when the second
core is busy."""

WORTH_A_TRIAL = 2.0
"""Training shorter than this many seconds uses one thread without a trial, which takes a third of a second; so does
training of no more steps than a trial takes, see :meth:`Threads._try`."""

STEPS_BEFORE = 3
"""Steps on one thread before training, whether there is a trial or not: two to warm up, and one to be timed."""

PATIENCE = 2.0
"""Go back to one thread when a step takes this many times as long as with one thread in the trial."""


def available_cores() -> int:
    """Number of cores that this process may use, ``LORA_LAB_CORES`` at most where that is set."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("LORA_LAB_CORES", "")
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores


@contextmanager
def one_thread() -> Iterator[None]:
    """Use only the calling thread: while runs are trained, a second one makes products ten times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Threads:
    """Chooses the thread count of a stepper before it trains."""

    def __init__(
        self,
        stepper: Stepper,
        batch_size: int,
        wanted: int | None = None,
        limit: int | None = None,
        steps: float = float("inf"),
        look: Callable[[], None] = lambda: None,
    ) -> None:
        """Choose a count, and make the stepper use it.

        Args:
            stepper: the networks that will be trained.
            batch_size: images per step.
            wanted: the count; None measures it on steps that change no weights.
            limit: maximum count; None for the number of cores.
            steps: number of steps to come; short training is not worth a trial.
            look: called before each timing; an exception from it ends the trial.
        """
        self._stepper = stepper
        limit = limit or available_cores()
        counts = [count for count in COUNTS if count <= limit]
        if wanted is not None or limit == 1 or stepper.device.type != "cpu":
            stepper.use_threads(wanted or 1)
        elif stepper.shards > 1:
            # Shards never wait for each other within a step, so a busy core slows down only its own share.
            stepper.use_threads(limit)
        else:
            self._try(counts, batch_size, steps, look)

    @property
    def count(self) -> int:
        """Number of threads in use."""
        return self._stepper.threads

    def _try(self, counts: Sequence[int], batch_size: int, steps: float, look: Callable[[], None]) -> None:
        timed = _timer(self._stepper, batch_size, look)
        single, best = timed(1), 1
        rounds = ROUNDS if single < SLOW_STEP else SLOW_ROUNDS
        # A trial takes as long as three steps a round: two on one thread, and those on more threads together one.
        if steps * single >= WORTH_A_TRIAL and steps > 3 * rounds:
            single = min(timed(1) for _ in range(rounds))
            best = fastest(counts, timed, rounds) if single >= SHORT_STEP else 1
        self._stepper.use_threads(best, PATIENCE * single, counts[-1])


def fastest(counts: Sequence[int], seconds: Callable[[int], float], rounds: int = ROUNDS) -> int:
    """Choose a larger count only if its second-worst time is clearly better than the median of the smaller one.

    Args:
        counts: candidates, in increasing order.
        seconds: measures the time of some work on a number of threads.
        rounds: timings of each.
    """
    times: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count in counts:
            times[count].append(seconds(count))
    best = counts[0]
    for count in counts[1:]:
        if sorted(times[count])[-2] < GAIN * median(times[best]):
            best = count
    return best


def _timer(stepper: Stepper, batch_size: int, look: Callable[[], None]) -> Callable[[int], float]:
    """A function that returns the seconds per step with a thread count; it calls ``look`` first."""
    orders, n = len(set(stepper.seeds)), stepper.task.num_train
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

    timed(1, rows(1))  # warm-up: creates buffers
    step = timed(1, rows(1))
    chunk = rows(1 if step > SLOW_STEP else max(2, int(ROUND_SECONDS / step)))
    return lambda count: timed(count, chunk)
