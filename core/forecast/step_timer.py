"""Measuring the time of training steps in the background, never beside training."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from core.errors import LabError, RunStateError
from core.forecast.step_time import ROUNDS, Measured, StepTimes, StepTimeSpec, Subject, machine_name, rounds
from core.memory import is_out_of_memory
from core.settings import choose_device
from core.tasks.tasks import Tasks
from core.training.threads import available_cores

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Interval at which a measurement that waits looks whether training has ended."""


@dataclass(frozen=True)
class TimingProgress:
    """Where a measurement stands."""

    spec: StepTimeSpec
    done: int = 0
    """Rounds done, of :data:`core.forecast.step_time.ROUNDS`."""
    waiting: bool = False
    """Whether it waits until no run is queued or trains."""
    error: str | None = None
    """Why it ended without a result, in one sentence."""
    ended: bool = False


class StepTimer:
    """Measures one :class:`StepTimeSpec` at a time in a thread, and keeps the results of this process.

    While runs are queued or train, it waits; a round during which training began is thrown away.
    """

    def __init__(self, tasks: Tasks, threads: int | None, is_training: Callable[[], bool]) -> None:
        """Args:
        tasks: where examples come from.
        threads: CPU threads of banks; None for one per core.
        is_training: whether any run is queued or trains.
        """
        self._tasks, self._threads, self._is_training = tasks, threads, is_training
        self._found: dict[StepTimeSpec, StepTimes] = {}
        self._progress: TimingProgress | None = None
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self, spec: StepTimeSpec) -> None:
        """Measure, unless the same is being measured already; an earlier result is replaced at the end.

        Raises:
            RunStateError: something else is being measured.
        """
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                if self._progress is not None and self._progress.spec == spec:
                    return
                raise RunStateError("The time of other settings is being measured: wait until it has ended.")
            self._cancelled.clear()
            self._progress = TimingProgress(spec, waiting=self._is_training())
            self._thread = threading.Thread(target=self._measure, args=(spec,), name="step-timer", daemon=True)
            self._thread.start()

    def cancel(self) -> None:
        """End the measurement after the round that it is in; nothing is kept of it."""
        self._cancelled.set()

    def close(self, timeout: float) -> None:
        """Cancel, and wait at most this many seconds for the thread to end."""
        self.cancel()
        if self._thread is not None:
            self._thread.join(max(0.0, timeout))

    def progress(self, spec: StepTimeSpec) -> TimingProgress | None:
        """Where the measurement of these settings stands; None unless it was the last one to be started."""
        return self._progress if self._progress is not None and self._progress.spec == spec else None

    def found(self, spec: StepTimeSpec) -> StepTimes | None:
        """The result of these settings; None before it was measured in this process."""
        return self._found.get(spec)

    def _measure(self, spec: StepTimeSpec) -> None:
        error: str | None = None
        try:
            times = self._collect(spec)
            if times is not None:
                self._found[spec] = times
        except LabError as problem:
            error = str(problem)
        except Exception as problem:
            if is_out_of_memory(problem):
                error = "Out of memory: these banks do not fit beside each other."
            else:
                log.warning("The time of steps could not be measured.", exc_info=True)
                error = f"The measurement failed ({type(problem).__name__}: {problem})."
        finally:
            self._progress = TimingProgress(spec, error=error, ended=True)

    def _collect(self, spec: StepTimeSpec) -> StepTimes | None:
        """All rounds; None if it was cancelled."""
        device = choose_device(spec.device)
        source: Iterator[dict[Subject, float]] | None = None
        kept: list[dict[Subject, float]] = []
        while len(kept) < ROUNDS:
            if self._cancelled.is_set():
                return None
            self._progress = TimingProgress(spec, len(kept), waiting=self._is_training())
            if self._progress.waiting:
                self._cancelled.wait(POLL_SECONDS)
                continue
            if source is None:
                source = rounds(spec, self._tasks.get(spec.task, device, spec.network), self._threads)
            times = next(source)
            if not self._is_training():
                kept.append(times)
        rows = tuple(Measured(way, method, tuple(times[way, method] for times in kept)) for way, method in kept[0])
        return StepTimes(spec, rows, machine_name(device), self._threads or available_cores())
