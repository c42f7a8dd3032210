"""Calibration: times a few steps of work that this machine has not trained yet, while nothing trains.

A thread of the lab does it, so that no page waits for it. It measures nothing beside a run, since each would slow the
other down and the number would be wrong.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import torch

from core.data.examples import Task, TextExamples
from core.engine.jobs.choice import stepper_of
from core.errors import LabError
from core.forecast.pace import Work
from core.methods.method import MethodSpec
from core.objectives.registry import CLASSIFICATION
from core.priority import lower_priority
from core.run_spec import OptimSpec
from core.training.bank.shard import no_denormals
from core.training.frozen import FrozenStates, frozen_blocks
from core.training.stepper import Stepper
from core.training.threads import Threads

log = logging.getLogger(__name__)

IMAGES = 4096
"""Number of images of the synthetic task; the most that a batch can be of."""

TEXTS = 2
"""Batches of a synthetic task of texts, whose networks take much longer for an example."""

TIMINGS, TIMING_SECONDS = 9, 0.05
"""Number of timings, and the duration of each."""

MIN_TIMINGS, ENOUGH_SECONDS = 3, 2.0
"""Least number of timings, and the time after which no more than these are made of slow steps."""

STEADY = 1.5
"""Maximum ratio of the third quarter of the timings to the first; above, the machine was busy."""

UNSTEADY_SECONDS = 20.0
"""A calibration of a busy machine, or one that failed, is repeated after this time if somebody asks again."""

WANTED_SECONDS = 10.0
"""A calibration that nobody has asked for during this time is dropped: the form that needed it has changed."""

POLL_SECONDS = 0.2
"""Interval at which the thread looks whether anything still trains."""

_one_at_a_time = threading.Lock()
"""Held during a calibration: two at once in one process would measure each other."""


@dataclass(frozen=True)
class Calibration:
    """What a short measurement found."""

    step: float
    """Seconds per step and run."""
    image: float
    """Seconds to evaluate one example, of as many as keep all cores busy."""
    steady: bool
    """Whether the timings agreed; if not, the machine was busy."""
    frozen: float = 0.0
    """Seconds to compute the frozen blocks for one text, which training does once; see :mod:`core.training.frozen`."""


class Calibrator:
    """Makes calibrations in a thread of its own. Any thread may call any method; none waits for a measurement."""

    def __init__(
        self,
        is_busy: Callable[[], bool],
        measure: Callable[[Work, Callable[[], bool]], Calibration | None] | None = None,
    ) -> None:
        """Args:
        is_busy: whether anything trains or waits to be trained.
        measure: see :func:`calibrate`, which is the default; returns None if its second argument became true.
        """
        self._is_busy = is_busy
        self._measure = measure or calibrate
        self._known: dict[Work, Calibration] = {}
        self._tried: dict[Work, float] = {}
        """When each was last measured, by the monotonic clock, also if that failed."""
        self._wanted: dict[Work, float] = {}
        """When each was last asked for; what was asked for last is made first."""
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def find(self, work: Work, ask: bool = True) -> Calibration | None:
        """What is known about this work.

        Args:
            work: what to look up.
            ask: whether to have it calibrated if it is not known, or if a busy machine's calibration is old.
        """
        with self._changed:
            known = self._known.get(work)
            tried = self._tried.get(work)
            done = (known is not None and known.steady) or (tried and time.monotonic() - tried < UNSTEADY_SECONDS)
            if ask and not done and not self._closing.is_set():
                self._wanted[work] = time.monotonic()
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="calibration", daemon=True)
                    self._thread.start()
                self._changed.notify()
            return known

    def close(self, timeout: float = 1.0) -> None:
        """End the thread; a timing in progress may still complete."""
        self._closing.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(max(0.0, timeout))

    def _work(self) -> None:
        lower_priority()
        while not self._closing.is_set():
            work = self._next()
            if work is None or self._must_wait():
                self._closing.wait(POLL_SECONDS)
                continue
            found = None
            try:
                with _one_at_a_time:
                    if not self._must_wait():
                        found = self._measure(work, self._must_wait)
                if found is None:
                    continue  # something began to train
            except Exception:
                log.exception("The time of a step could not be measured")
            with self._changed:
                del self._wanted[work]
                self._tried[work] = time.monotonic()
                if found is not None:
                    self._known[work] = found

    def _next(self) -> Work | None:
        """What was asked for last; waits until there is something, or until the lab closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted or self._closing.is_set())
            now = time.monotonic()
            self._wanted = {work: asked for work, asked in self._wanted.items() if now - asked < WANTED_SECONDS}
            return max(self._wanted, key=lambda work: self._wanted[work], default=None)

    def _must_wait(self) -> bool:
        """Whether something trains; also where that cannot be told, since the store is gone or locked."""
        try:
            return self._closing.is_set() or self._is_busy()
        except (LabError, sqlite3.Error):
            return True


def calibrate(work: Work, must_stop: Callable[[], bool] = lambda: False) -> Calibration | None:
    """Time steps of some work on random images, on as many threads as a run would choose.

    The runs of a bank of full fine-tuning, and networks that read tokens, share nothing, so no more of them are built
    than there are cores.

    Args:
        work: what to time.
        must_stop: called before each timing.

    Returns:
        What was found; None if ``must_stop`` returned True.
    """
    try:
        with no_denormals():
            return _timed(work, must_stop)
    except _StoppedError:
        return None


class _StoppedError(Exception):
    """Something began to train."""


def _timed(work: Work, must_stop: Callable[[], bool]) -> Calibration:
    """Like :func:`calibrate`. Raises: _StoppedError: ``must_stop`` returned True."""

    def look() -> None:
        if must_stop():
            raise _StoppedError

    look()
    apart = not work.rank or work.network.reads_tokens
    made = replace(work, members=min(work.members, work.cores)) if apart else work
    stepper = _stepper(made)
    batch = min(work.batch, stepper.task.num_train)
    Threads(stepper, batch, work.threads, look=look)
    orders, count, begun = len(set(stepper.seeds)), 1, time.perf_counter()
    times: list[float] = []
    numbers = torch.Generator(stepper.device).manual_seed(0)

    def enough() -> bool:
        return len(times) >= 2 + (MIN_TIMINGS if time.perf_counter() - begun > ENOUGH_SECONDS else TIMINGS)

    while not enough():
        look()
        shape = orders, count, batch
        rows = torch.randint(stepper.task.num_train, shape, generator=numbers, device=stepper.device)
        start = time.perf_counter()
        stepper.advance(rows).cpu()
        times.append((time.perf_counter() - start) / count)
        count = max(1, int(TIMING_SECONDS / max(1e-6, times[-1])))
    times = sorted(times[2:])  # the first ones allocate buffers
    stepper.evaluate(0, look=look)
    start = time.perf_counter()
    stepper.evaluate(0, look=look)
    examples, size = len(stepper.task.validation), work.network.evaluation_batch
    image = (time.perf_counter() - start) / examples
    if size and stepper.device.type == "cpu":
        image *= busy(math.ceil(examples / size), work.cores)
    look()
    frozen = _frozen_seconds(work, stepper.task)
    quarter = len(times) // 4
    scale = work.batch / batch * work.share / made.share / made.members
    return Calibration(median(times) * scale, image, times[-1 - quarter] <= STEADY * times[quarter], frozen)


def busy(batches: int, cores: int) -> float:
    """Share of the cores that an evaluation keeps busy each of whose batches is computed on one core."""
    return batches / (cores * math.ceil(batches / cores))


def _frozen_seconds(work: Work, task: Task) -> float:
    """Seconds per text that the frozen blocks of a network take; 0 if it has none."""
    frozen = frozen_blocks(work.network, _method(work))
    if not frozen.count or not isinstance(task.train, TextExamples):
        return 0.0
    network = _method(work).prepare(work.network.build(0), torch.Generator().manual_seed(0)).to(task.device)
    states = FrozenStates(network, frozen, [task.train])
    start = time.perf_counter()
    states.compute()
    return (time.perf_counter() - start) / len(task.train)


def _stepper(work: Work) -> Stepper:
    """Networks of this shape on random images."""
    generator = torch.Generator().manual_seed(0)
    device, sizes = work.device.split()[0], work.network
    count = TEXTS * work.batch if work.length else IMAGES
    examples = sizes.examples(count, generator, work.length or None)
    if work.objective != CLASSIFICATION:  # the labels of examples are those of classes
        examples = examples.with_targets(work.objective.random_targets(count, sizes.num_classes, generator))
    task = Task.of_one_part(examples, sizes.num_classes).to(torch.device(device))
    method = _method(work)
    networks = [method.prepare(sizes.build(0), generator).to(device) for _ in range(work.members)]
    optim = OptimSpec.of(batch_size=work.batch, **dict(work.training), learning_rate=1e-4)
    objectives = [work.objective] * work.members
    return stepper_of(networks, method.kind, [optim] * work.members, range(work.members), task, objectives=objectives)


def _method(work: Work) -> MethodSpec:
    method = work.method
    return method.of_size(max(1, round(work.rank)))
