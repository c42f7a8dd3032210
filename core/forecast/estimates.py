"""Time and memory of runs before they are trained: from runs like them, else from a calibration."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean

import torch

from core.data.examples import TextExamples
from core.engine.jobs.run_files import PROBED, probe_of
from core.errors import DeviceError
from core.forecast.calibration import Calibrator
from core.forecast.forecast import Basis, Forecast, total, weaker
from core.forecast.memory import memory_of
from core.forecast.pace import Record, Work, overhead_seconds, pace_of, records_of
from core.forecast.packing import packed
from core.forecast.products import least_seconds
from core.memory import free_bytes
from core.methods.method import Role
from core.numbers import bytes_text
from core.run_spec import RunSpec
from core.settings import Settings, choose_device, device_name
from core.store.record import Run
from core.store.store import Store
from core.tasks.tasks import Tasks
from core.tasks.views.view import Outline
from core.training.loop import data_order
from core.training.schedule import earliest_end, evaluations, steps_per_epoch, total_steps
from core.training.threads import STEPS_BEFORE

LATEST = 600
"""Number of finished runs that are looked at."""

LOOK_SECONDS = 0.05
"""Interval between two looks at whether a time has become known."""

FILE_SECONDS = {False: 0.02, True: 0.05}
"""Time to write and check the file of a run, without and with adapters; counts until runs of the kind have
been trained. Measured on two cores with networks of the default size."""

LENGTH_STEP = 4
"""Mean lengths of batches of texts are rounded to multiples of this."""


@dataclass(frozen=True)
class _Bank:
    """Forecast of one bank: ``training`` of each of its runs, as in their results, and ``wall`` of all together."""

    training: Forecast
    wall: Forecast


class Estimates:
    """Forecasts runs. Any thread may call any method; none trains or measures anything in the caller's thread, and only
    :meth:`wait` waits.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        tasks: Tasks,
        calibrator: Calibrator | None = None,
        machines: Callable[[], int] = lambda: 1,
    ) -> None:
        """Args:
        settings: limits on banks, and the number of threads.
        store: the runs that were trained.
        tasks: sizes of tasks.
        calibrator: measures what was never trained; by default, while no run of the store trains or is queued.
        machines: how many banks are trained at once without sharing cores.
        """
        self._settings, self._store, self._tasks = settings, store, tasks
        self._calibrator = calibrator or Calibrator(store.is_busy)
        self._machines = machines
        self._lock = threading.Lock()
        self._records: tuple[object, list[Record]] = (None, [])

    def can_measure(self) -> bool:
        """Whether nothing trains, so that a time that is not known can be measured."""
        return not self._store.is_busy()

    def close(self, timeout: float = 1.0) -> None:
        """End the thread that calibrates."""
        self._calibrator.close(timeout)

    def steps(self, spec: RunSpec) -> int:
        """Number of steps of a run that is not stopped early. Raises: DatasetError: its data is missing."""
        examples = len(self._tasks.outline(spec.task).train)
        return total_steps(spec.optim, examples)

    def whole(self, specs: Sequence[RunSpec]) -> Forecast:
        """Forecast of all these runs together, from start to end, in the banks that they will be trained in.

        Includes evaluation and files. Banks add up, also with several workers, which share the cores; the machines of
        a cluster share the work, and are expected to be as fast as this one.

        Args:
            specs: the runs, and the bases that must be trained before them.

        Raises:
            LabError: a task's data is missing, the machine lacks the device, or adapters do not fit the network.
        """
        return self._together(specs, [1.0] * len(specs))

    def between(self, least: Sequence[RunSpec], most: Sequence[RunSpec]) -> Forecast:
        """Forecast of the fewest and of the most runs that are trained in the end, as one range.

        Raises:
            LabError: see :meth:`whole`.
        """
        low = self.whole(least)
        high = low if list(most) == list(least) else self.whole(most)
        memory, basis = max(low.memory, high.memory), weaker(low.basis, high.basis)
        if basis == "unknown":
            return Forecast(low.seconds_low, None, memory, basis)
        return Forecast(low.seconds_low, high.seconds_high, memory, basis)

    def wait(self, specs: Sequence[RunSpec], seconds: float) -> Forecast:
        """The forecast of :meth:`whole`, after waiting until its time is known, ``seconds`` at most.

        Raises:
            LabError: see :meth:`whole`.
        """
        end = time.monotonic() + seconds
        while (found := self.whole(specs)).basis == "unknown" and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
        return found

    def each(self, specs: Sequence[RunSpec], ask: bool = True, training: bool = True) -> list[Forecast]:
        """Time of each of these runs: an equal share of that of its bank. The memory is that of its bank.

        Args:
            specs: the runs.
            ask: whether what is not known is to be calibrated.
            training: whether only the training counts, comparable with the result, and not evaluation and files.

        Raises:
            LabError: see :meth:`whole`.
        """
        found: dict[int, Forecast] = {}
        for numbers in packed(specs, self._tasks, self._settings):
            bank = self._bank([specs[k] for k in numbers], ask)
            found |= dict.fromkeys(numbers, bank.training if training else bank.wall.scaled(1 / len(numbers)))
        return [found[k] for k in range(len(specs))]

    def alone(self, specs: Sequence[RunSpec]) -> list[int]:
        """Peak memory of each of these runs if it is trained alone, in bytes.

        Raises:
            LabError: a task's data is missing, or adapters do not fit the network.
        """
        kinds = [_alike(spec) for spec in specs]
        sizes = {kind: memory_of([kind], self._tasks) for kind in dict.fromkeys(kinds)}
        return [sizes[kind] for kind in kinds]

    def shortage(self, specs: Sequence[RunSpec]) -> str | None:
        """The run that needs more than all the memory that is free now, in a sentence; None if each of these runs fits
        alone, or if their device is not of this machine.

        Raises:
            LabError: see :meth:`whole`.
        """
        if not specs:
            return None
        try:
            free = free_bytes(choose_device(specs[0].device))
        except DeviceError:
            return None
        label, needed = max(zip((spec.label for spec in specs), self.alone(specs), strict=True), key=lambda run: run[1])
        if needed <= free:
            return None
        return (
            f"{label} will not fit: it needs {bytes_text(needed)} of memory, and {bytes_text(free)} are free; choose "
            "smaller settings, or close other programs."
        )

    def rest(self, runs: Sequence[Run]) -> Forecast:
        """Forecast of the time to train these runs to their ends, each from :attr:`core.store.record.Run.step`.

        Args:
            runs: stopped ones, or those that wait.

        Raises:
            LabError: see :meth:`whole`.
        """
        return self._together([run.spec for run in runs], [1 - run.progress for run in runs])

    def remaining(self, runs: Sequence[Run], coming: Mapping[str, Sequence[RunSpec]] | None = None) -> Forecast:
        """Forecast of the time until these runs have ended, and those that follow them.

        Those in training are expected to keep their pace, and those that wait to take as much longer than forecast as
        the finished runs of their experiment did.

        Args:
            runs: those that are queued or running.
            coming: what is expected to follow them, by experiment; see :meth:`core.engine.progress.Progress.coming`.

        Raises:
            LabError: see :meth:`whole`.
        """
        begun = sum(run.eta or 0.0 for run in runs)
        parts = [Forecast.around(begun, 0, "measured")] if begun else []
        waiting = [run for run in runs if run.is_live and run.eta is None]
        owners = dict.fromkeys(run.experiment for run in waiting)
        lefts = [(own, self.rest([run for run in waiting if run.experiment == own])) for own in owners]
        lefts += [(own, self._together(specs, [1.0] * len(specs))) for own, specs in (coming or {}).items()]
        for experiment, left in lefts:
            factor = self._correction(experiment) if experiment and left.basis != "measured" else None
            if factor is not None and left.seconds is not None:
                left = Forecast.around(left.seconds * factor, left.memory, "calibrated")
            parts.append(left)
        return total(parts)

    def at_launch(self, ids: Sequence[str]) -> dict[str, Forecast]:
        """The forecasts that were kept when these runs were queued, by id; those of earlier versions have none."""
        query = f"SELECT run, text FROM log WHERE run IN ({', '.join('?' * len(ids))}) ORDER BY rowid DESC"  # noqa: S608
        lines = ((row["run"], Forecast.from_line(row["text"])) for row in self._store.rows(query, *ids))
        return {run: line for run, line in lines if line}

    def _correction(self, experiment: str) -> float | None:
        """Training time of the finished runs of an experiment, in units of their forecasts; None if unknown."""
        query = (
            "SELECT l.text, r.training_seconds AS took FROM runs r JOIN log l ON l.run = r.id"
            " WHERE r.experiment = ? AND r.state = 'finished' AND l.text LIKE 'Forecast: %'"
        )
        pairs = [(Forecast.from_line(row["text"]), row["took"]) for row in self._store.rows(query, experiment)]
        known = [(line.seconds, took) for line, took in pairs if line and line.seconds and took]
        return sum(took for _, took in known) / sum(seconds for seconds, _ in known) if known else None

    def _together(self, specs: Sequence[RunSpec], left: Sequence[float]) -> Forecast:
        """Forecast of all these runs, with the share of each that is left."""
        banks = packed(specs, self._tasks, self._settings)
        walls = [self._bank([specs[k] for k in bank]).wall.scaled(fmean(left[k] for k in bank)) for bank in banks]
        return total(walls).scaled(1 / min(self._machines(), max(1, len(banks))))

    def _bank(self, bank: Sequence[RunSpec], ask: bool = True) -> _Bank:
        spec, memory = bank[0], memory_of(bank, self._tasks)
        examples = len(self._tasks.outline(spec.task).train)
        per_epoch = steps_per_epoch(examples, spec.optim.batch_size)
        steps, unknown = per_epoch * spec.optim.epochs, Forecast(None, None, memory, "unknown")
        try:
            device = device_name(choose_device(spec.device))
        except DeviceError:  # only a cluster has it, and nothing is measured there
            return _Bank(unknown, unknown)
        train = self._tasks.get(spec.task, network=spec.network).train if spec.network.reads_tokens else None
        length = _batch_length(train, spec.optim.batch_size) if isinstance(train, TextExamples) else 0
        work, records = Work.of(bank, per_epoch, device, self._settings.threads), self._finished()
        seconds, basis, spread = self._training(bank, work, records, steps, examples / per_epoch, length, ask)
        if seconds is None:
            if not isinstance(train, TextExamples):
                return _Bank(unknown, unknown.scaled(len(bank)))
            tokens = earliest_end(spec.optim).epochs * length * examples
            least = least_seconds(spec, tokens)
            if len(bank) == 1 and device == "cpu" and self._settings.threads is None and work.cores > 1:
                tokens += STEPS_BEFORE * work.cores * int(train.lengths[: spec.optim.batch_size].sum())
            whole = least_seconds(spec, tokens, *self._read(spec, len(bank)))
            return _Bank(replace(unknown, seconds_low=least), replace(unknown, seconds_low=len(bank) * whole))
        training = Forecast.around(seconds, memory, basis, spread)
        overhead = overhead_seconds(records, spec)
        if overhead is None:
            overhead = self._evaluation(bank, work, length, ask) + FILE_SECONDS[spec.role is Role.ADAPTER]
            basis = basis if basis == "rough" else "calibrated"
        return _Bank(training, Forecast.around(len(bank) * (seconds + overhead), memory, basis, spread))

    def _training(
        self,
        bank: Sequence[RunSpec],
        work: Work,
        records: Sequence[Record],
        steps: int,
        images: float,
        length: int,
        ask: bool,
    ) -> tuple[float | None, Basis, float]:
        """Seconds to train each run of a bank, what they follow from, and the spread of that.

        What was measured includes the pass through frozen blocks, which the runs of a bank share; to what is calibrated
        it is added.
        """
        pace = pace_of(records, work, steps)
        if pace is not None and pace.exact:
            return steps * pace.step, "measured", pace.spread
        found = self._calibrator.find(_rounded(work, images, length), ask)
        if found is not None and (found.steady or pace is None):
            parts = self._parts(bank[0])
            texts = len(parts[0].train) + sum(len(part.validation) for part in parts)
            once = found.frozen * texts / len(bank)
            return steps * found.step + once, "calibrated" if found.steady else "rough", 1.0
        return (steps * pace.step, "rough", pace.spread) if pace else (None, "unknown", 1.0)

    def _evaluation(self, bank: Sequence[RunSpec], work: Work, length: int, ask: bool) -> float:
        """Seconds to evaluate a run of a bank: after epochs, and at the end; 0 until a calibration has found it."""
        spec, parts = bank[0], self._parts(bank[0])
        target = parts[0]
        examples = len(target.train) / steps_per_epoch(len(target.train), spec.optim.batch_size)
        found = self._calibrator.find(_rounded(work, examples, length), ask)
        if found is None:
            return 0.0
        validation, test = sum(len(part.validation) for part in parts), sum(len(part.test) for part in parts)
        images = evaluations(spec.optim) * validation + test + len(target.validation)
        # What frozen blocks give is known of the texts that are read in every epoch, and not of the test part.
        return images * found.image + test * found.frozen

    def _read(self, spec: RunSpec, members: int) -> tuple[int, float]:
        """Tokens that a run reads in evaluations and checks of its file, and those that its frozen blocks read once for
        a bank of so many. How well the base does may be known from another run.
        """
        tasks = [self._tasks.get(task, network=spec.network) for task in (spec.task, spec.source) if task]
        train, validation, test = (
            sum(int(part.lengths.sum()) for part in parts if isinstance(part, TextExamples))
            for parts in ([tasks[0].train], [task.validation for task in tasks], [task.test for task in tasks])
        )
        if spec.role is Role.ADAPTER:
            test += PROBED * probe_of(tasks[0].test, spec.network)["input_ids"].numel()
        read = evaluations(earliest_end(spec.optim)) * validation + test
        return read, (train + validation) / members + test

    def _parts(self, spec: RunSpec) -> list[Outline]:
        """The run's task, and the one that its base was trained on if there is one."""
        return [self._tasks.outline(task) for task in (spec.task, spec.source) if task]

    def _finished(self) -> list[Record]:
        """Banks among the latest finished runs, newest first; read again when another run has finished."""
        ((count, newest),) = self._store.rows("SELECT count(*), max(created) FROM runs WHERE state = 'finished'")
        with self._lock:
            if self._records[0] != (count, newest):
                runs = self._store.runs(states=["finished"], limit=LATEST)
                runs.sort(key=lambda run: -(run.ended or 0.0))
                self._records = (count, newest), records_of(runs, self._settings.threads)
            return self._records[1]


def _rounded(work: Work, images: float, length: int) -> Work:
    """The work to calibrate: with the mean number of examples per step, and a rank that others can share."""
    rank = float(round(work.rank)) if work.rank else 0.0
    return replace(work, batch=max(1, round(images)) if work.task else work.batch, rank=rank, task=None, length=length)


@lru_cache(maxsize=64)
def _batch_length(texts: TextExamples, batch_size: int) -> int:
    """Mean length of a batch in tokens, with padding; rounded, so that tasks that hardly differ share a calibration.

    Batches as in the first epoch of seed 0; other seeds and epochs pad nearly the same.
    """
    order = texts.batched(data_order(len(texts), seed=0, epoch=1), batch_size)
    widths = torch.stack([part.max() for part in torch.split(texts.lengths[order], batch_size)])
    return max(LENGTH_STEP, round(float(widths.float().mean()) / LENGTH_STEP) * LENGTH_STEP)


def _alike(spec: RunSpec) -> RunSpec:
    """A spec that is equal for runs that take the same memory: seed and learning rate do not change it."""
    return spec.but(seed=0, optim=spec.optim.but(learning_rate=0.001))
