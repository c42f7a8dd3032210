"""Threads that claim queued runs and have them trained; threads that die or hang are replaced."""

from __future__ import annotations

import gc
import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from core.engine.executors import Executors
from core.engine.jobs.job import Commands, Job, Leave, Member, Stop
from core.engine.jobs.messages import Fault, OutOfMemory
from core.engine.jobs.run_files import base_file
from core.engine.recorder import Recorder, Requests
from core.engine.writes import End, Trim, Writes
from core.errors import CheckpointError, ExecutorError, LostError
from core.forecast.packing import bank_size
from core.priority import lower_priority
from core.settings import Settings
from core.store.checkpoints import read_checkpoint
from core.store.record import Run
from core.store.store import Store
from core.tasks.tasks import Tasks
from core.training.sharing import bank_key

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.5
"""Interval at which an idle worker polls the queue; new runs wake it at once."""

MAX_LOSSES = 3
"""Number of machines that may be lost while they train a run; after that it waits for a person, since it may be what
ends them."""


class Workers:
    """Daemon threads that take runs from the store, give them to an executor, and record what it says."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        tasks: Tasks,
        executors: Executors,
        owner: str,
        trim: Callable[[str], None],
        extend_plans: Callable[[], None],
    ) -> None:
        """Args:
        settings: the home folder and limits.
        store: has the queue.
        tasks: tells the sizes of tasks, and so how many runs fit in a bank.
        executors: where jobs run.
        owner: name of this process; the workers take only its runs.
        trim: see :class:`core.engine.writes.Writes`.
        extend_plans: queues what follows in experiments whose runs have ended; called before each look at the queue.
        """
        self._extend_plans = extend_plans
        self.settings = settings
        self.store = store
        self.tasks = tasks
        self.executors = executors
        self.owner = owner
        self.writes = Writes(store, self.folder, trim)
        self._requests = Requests(lambda: [recorder for slot in self._slots if (recorder := slot.recorder)])
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._claiming = threading.Lock()
        self._looking = threading.Lock()
        """Held by the one idle thread that looks at the queue."""
        self._losses: Counter[str] = Counter()
        """Machines that each run has lost."""
        self._fitted: dict[str, int] = {}
        """Maximum size of a bank by bank key, where a larger one ran out of memory."""
        self._slots: list[WorkerSlot] = []

    def start(self) -> None:
        """Start the threads."""
        self._grow()
        self._requests.start()

    @property
    def places(self) -> int:
        """How many jobs there is room for where jobs run."""
        return self.executors.current.machines.places(self.settings.workers)

    def _grow(self) -> None:
        """Have as many threads as there is room for jobs; those without a place wait."""
        for number in range(len(self._slots), max(self.places, self.settings.workers)):
            self._slots.append(WorkerSlot(self, number))

    def wake(self) -> None:
        """Look at the queue, and at what people ask of the runs in training, now."""
        self._wake.set()
        self._requests.wake()

    def close(self, timeout: float) -> bool:
        """Interrupt the runs in training, each with a checkpoint, and wait for the threads to end.

        Args:
            timeout: maximum number of seconds to wait for all threads together.

        Returns:
            Whether all threads have ended.
        """
        self._closing.set()
        self._wake.set()
        for slot in self._slots:
            slot.commands.send(Leave())
        end = time.monotonic() + timeout
        for slot in self._slots:
            slot.thread.join(max(0.0, end - time.monotonic()))
        self._requests.close()
        return not any(slot.thread.is_alive() for slot in self._slots)

    def check(self, now: float) -> None:
        """Replace every thread that has died or hangs, and interrupt its runs.

        A thread that hangs cannot be ended. It is abandoned, and the store accepts nothing from it any more.

        Args:
            now: by the monotonic clock, when it was last known that this process had not been paused.
        """
        if self._closing.is_set():
            return
        for number, slot in enumerate(list(self._slots)):
            limit = self.settings.hang_seconds
            if not slot.thread.is_alive():
                cause = "The thread that trained it ended unexpectedly: finish the run to go on."
            elif slot.bank and now - slot.beat > limit:
                cause = f"The thread that trained it did not respond for {limit:g} seconds: finish the run to go on."
            else:
                continue
            log.error("Worker %d is replaced. %s", number, cause)
            slot.abandoned.set()
            slot.commands.abandoned = True
            slot.commands.send(Leave())
            with self._claiming:
                others = {run.id for other in self._slots if other is not slot for run in other.bank}
                mine = [run for run in self.store.runs(states=["running"]) if run.owner == self.owner]
            for run in (run for run in mine if run.id not in others):
                self.writes.put(End(run, "interrupt", cause))
            self._slots[number] = WorkerSlot(self, number)
        self._grow()

    def allow_for_pause(self) -> None:
        """Restart the hang timers: this process was paused, so its threads could not respond."""
        for slot in self._slots:
            slot.since = time.monotonic()

    def work(self, slot: WorkerSlot) -> None:
        """Claim runs and have them trained until this process closes or the slot is abandoned."""
        lower_priority()
        failing = False
        while not slot.is_leaving():
            if slot.number and slot.number >= self.places:
                self._closing.wait(IDLE_SECONDS)
                continue
            if not self._looking.acquire(timeout=IDLE_SECONDS):
                continue  # another thread looks at the queue
            try:
                self._wake.clear()
                self.writes.flush()
                self._extend_plans()
                if self.places:
                    self._claim(slot)
                failing = False
            except sqlite3.Error as error:
                # Most likely the disk is full. Nothing was changed, and the next attempt may succeed.
                if not failing:
                    log.warning("The store could not be written: %s", error)
                failing = True
            finally:
                if not slot.bank:
                    self._wake.wait(IDLE_SECONDS)
                self._looking.release()
            if slot.bank:
                self._train(slot)
                for experiment in {run.experiment for run in slot.bank if run.experiment}:
                    self.writes.put(Trim(experiment))
                slot.recorder, slot.bank = None, []

    def is_closing(self) -> bool:
        """Whether this process is about to end."""
        return self._closing.is_set()

    def folder(self, run: str) -> Path:
        """Folder of a run's files."""
        return self.settings.runs / run

    def _claim(self, slot: WorkerSlot) -> None:
        """Claim the next runs, as many as are to be trained together. Raises: sqlite3.Error."""
        with self._claiming:
            slot.since = time.monotonic()
            runs = self.store.next_runs(self.owner)
            if runs:
                specs = [run.spec for run in runs]
                size = bank_size(specs, self.tasks, self.settings, self._fitted.get(bank_key(specs[0])))
                slot.bank = self.store.claim(runs[:size])

    def _train(self, slot: WorkerSlot) -> None:
        """Have a slot's runs trained together, and record what is said of them.

        If a bank of several runs is out of memory, those that have not ended are queued again for smaller banks.
        """
        commands = slot.begin()
        starts: dict[str, bytes | None] = {}
        for run in slot.bank:
            try:
                starts[run.id] = self._checkpoint(run) if run.resumed_step else None
            except CheckpointError as error:
                cause = f"{error} The run trains again from its first step."
                log.warning("Run %s: %s", run.id, cause)
                self.writes.put(End(run, "start_over", cause))
            except (sqlite3.Error, OSError, MemoryError, RuntimeError) as error:
                fault = Fault.of(error)
                self.writes.put(End(run, "interrupt", fault.cause, fault.traceback))
        bank = [run for run in slot.bank if run.id in starts]
        if not bank:
            return
        recorder = slot.recorder = Recorder(
            self.store, bank, commands, self.writes, self.folder, self.settings.checkpoint_seconds
        )
        try:
            members = tuple(Member(run.id, run.spec, starts.pop(run.id), base_file(self.store, run)) for run in bank)
            job = Job(members, self.settings.threads)
            del members
            for member, run in enumerate(bank):
                if run.stop_asked:
                    commands.send(Stop(member))
            for message in self.executors.current.start(job, commands):
                recorder.take(message)
                if isinstance(message, OutOfMemory):
                    self._split(bank, recorder)
                del message  # it may hold a checkpoint, and the next one needs the memory
            if recorder.open:
                raise ExecutorError("Its job ended without reporting on it: finish the run to go on.")
        except LostError as error:
            self._go_on_elsewhere(recorder, bank, error)
        except Exception as error:  # noqa: BLE001 - no run may end its worker, and each must record why it ended
            fault = Fault.of(error)
            for member in list(recorder.open):
                recorder.fail(member, fault)

    def _go_on_elsewhere(self, recorder: Recorder, bank: Sequence[Run], error: LostError) -> None:
        """Queue the unfinished runs of a job again whose machine is gone, unless they have lost several."""
        left = [bank[member].id for member in recorder.open]
        if not left:  # all had ended before
            return
        self._losses.update(left)
        if max(self._losses[run] for run in left) < MAX_LOSSES:
            recorder.put_back(f"{error} It goes on from its last checkpoint as soon as there is room.")
        else:
            fault = Fault.of(ExecutorError(f"{error} This was the third time: finish it to try again."))
            for member in list(recorder.open):
                recorder.fail(member, fault)
            for run in left:
                del self._losses[run]

    def _split(self, bank: Sequence[Run], recorder: Recorder) -> None:
        """Queue the unfinished runs of a bank that ran out of memory, with half the bank size from now on."""
        gc.collect()  # what the job has left, before the next one allocates
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
        half = self._fitted[bank_key(bank[0].spec)] = (len(bank) + 1) // 2
        together = f"they train {f'at most {half} together' if half > 1 else 'each alone'}"
        cause = f"Out of memory with {len(bank)} runs trained together: the bank is split, and {together}."
        log.warning("%s", cause)
        recorder.put_back(cause)

    def _checkpoint(self, run: Run) -> bytes:
        """What a run resumes from. Raises: CheckpointError: it cannot be used; OSError: it cannot be read now."""
        known = self.store.checkpoint(run.id)
        if known is None:
            raise CheckpointError("It has no checkpoint any more.")
        return read_checkpoint(self.folder(run.id), *known)


class WorkerSlot:
    """One worker thread and the bank that it has trained."""

    def __init__(self, workers: Workers, number: int) -> None:
        self._workers = workers
        self.number = number
        """Number of the slot, from 0; lower numbers get jobs first."""
        self.abandoned = threading.Event()
        """Set once another thread has replaced this one."""
        self.bank: list[Run] = []
        self.since = time.monotonic()
        """When the bank was claimed, or the hang timer restarted."""
        self.commands = Commands()
        """Commands of the job that runs now."""
        self.recorder: Recorder | None = None
        self.thread = threading.Thread(target=workers.work, args=(self,), name=f"trainer-{number}", daemon=True)
        self.thread.start()

    @property
    def beat(self) -> float:
        """When the thread last showed that it goes on."""
        return max(self.since, self.commands.beat, self.recorder.beat if self.recorder else 0.0)

    def begin(self) -> Commands:
        """Make the commands of the next job."""
        self.commands = commands = Commands()
        if self.is_leaving():  # whoever said so before now gave it to the commands of the job before
            commands.send(Leave())
        return commands

    def is_leaving(self) -> bool:
        """Whether the thread must let go of its runs."""
        return self.abandoned.is_set() or self._workers.is_closing()
