"""Threads that claim queued runs and train them; threads that die or hang are replaced."""

from __future__ import annotations

import gc
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from core.data.tasks import Tasks
from core.engine.base_evaluations import BaseEvaluations
from core.engine.job import RunContext, execute_bank
from core.engine.packing import bank_size
from core.engine.priority import lower_priority
from core.engine.recorder import Recorder
from core.engine.retries import RetryQueue
from core.engine.run_files import NETWORK
from core.errors import CheckpointError
from core.memory import is_out_of_memory
from core.networks.library.networks import Networks
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.checkpoints import read_checkpoint
from core.store.copies import Copies
from core.store.record import Run
from core.store.store import Store
from core.training.checkpoint import Checkpoint
from core.training.sharing import bank_key

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.5
"""Interval at which an idle worker polls the queue; new runs wake it at once."""


class Workers:
    """Daemon threads that take runs from the store and pass them to :func:`core.engine.job.execute_bank`."""

    def __init__(
        self, settings: Settings, store: Store, copies: Copies, tasks: Tasks, networks: Networks, owner: str
    ) -> None:
        """Args: owner: name of this process; the workers take only its runs."""
        self.settings = settings
        self.store = store
        self.copies = copies
        self.tasks = tasks
        self.networks = networks
        self.owner = owner
        self.bases = BaseEvaluations()
        self.retries = RetryQueue()
        self.ended: Callable[[str], None] = lambda experiment: None
        """Called with the id of an experiment when runs of it have ended."""
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._claiming = threading.Lock()
        self._fitted: dict[str, int] = {}
        """Maximum size of a bank by bank key, where a larger one ran out of memory."""
        self._slots: list[WorkerSlot] = []

    def start(self) -> None:
        """Start the threads."""
        self._slots = [WorkerSlot(self, number) for number in range(self.settings.workers)]

    def wake(self) -> None:
        """Make idle workers look at the queue now."""
        self._wake.set()

    def close(self, timeout: float) -> bool:
        """Interrupt the runs in training, each with a checkpoint, and wait for the threads to end.

        Args:
            timeout: maximum number of seconds to wait for all threads together.

        Returns:
            Whether all threads have ended.
        """
        self._closing.set()
        self._wake.set()
        end = time.monotonic() + timeout
        for slot in self._slots:
            slot.thread.join(max(0.0, end - time.monotonic()))
        return not any(slot.thread.is_alive() for slot in self._slots)

    def check(self) -> None:
        """Replace every thread that has died or hangs, and interrupt its runs.

        A thread that hangs cannot be ended. It is abandoned, and the store accepts nothing from it any more.
        """
        if self._closing.is_set():
            return
        for number, slot in enumerate(list(self._slots)):
            recorder, limit = slot.recorder, self.settings.hang_seconds
            if not slot.thread.is_alive():
                cause = "The thread that trained it ended unexpectedly: resume the run to go on."
            elif slot.bank and time.monotonic() - max(slot.since, recorder.beat if recorder else 0.0) > limit:
                cause = f"The thread that trained it did not respond for {limit:g} seconds: resume the run to go on."
            else:
                continue
            log.error("Worker %d is replaced. %s", number, cause)
            slot.abandoned.set()
            with self._claiming:
                others = {run.id for other in self._slots if other is not slot for run in other.bank}
                mine = [run for run in self.store.runs(states=["running"]) if run.owner == self.owner]
            for run in (run for run in mine if run.id not in others):
                self.retries.put(partial(self.store.interrupt, run, cause))
            self._slots[number] = WorkerSlot(self, number)

    def allow_for_pause(self) -> None:
        """Restart the hang timers: this process was paused, so its threads could not respond."""
        for slot in self._slots:
            slot.since = time.monotonic()

    def work(self, slot: WorkerSlot) -> None:
        """Claim and train runs until this process closes or the slot is abandoned."""
        lower_priority()
        failing = False
        while not slot.is_leaving():
            self._wake.clear()
            try:
                self.retries.flush()
                with self._claiming:
                    slot.since = time.monotonic()
                    slot.bank = self.store.claim(self.owner, self._bank_size)
                failing = False
            except sqlite3.Error as error:
                # Most likely the disk is full. Nothing was changed, and the next attempt may succeed.
                if not failing:
                    log.warning("The store could not be written: %s", error)
                failing = True
            if slot.bank:
                self._train(slot)
                for experiment in {run.experiment for run in slot.bank if run.experiment}:
                    self.retries.put(partial(self.ended, experiment))
                slot.recorder, slot.bank = None, []
            else:
                self._wake.wait(IDLE_SECONDS)

    def is_closing(self) -> bool:
        """Whether this process is about to end."""
        return self._closing.is_set()

    def _bank_size(self, specs: Sequence[RunSpec]) -> int:
        """How many of these runs, from the first, to train together."""
        return bank_size(specs, self.tasks, self.settings, self._fitted.get(bank_key(specs[0])))

    def _train(self, slot: WorkerSlot) -> None:
        """Train a slot's runs together, and record how each of them ended.

        If a bank of several runs is out of memory, those that have not ended are queued again for smaller banks.
        """
        starts: dict[str, Checkpoint | None] = {run.id: None for run in slot.bank}
        for run in slot.bank:
            if run.resumed_step:
                try:
                    starts[run.id] = self._checkpoint(run)
                except CheckpointError as error:
                    del starts[run.id]
                    cause = f"{error} The run trains again from its first step."
                    log.warning("Run %s: %s", run.id, cause)
                    self.retries.put(partial(self.store.start_over, run, cause))
        bank = [run for run in slot.bank if run.id in starts]
        if not bank:
            return
        recorder = slot.recorder = Recorder(
            self.store,
            bank,
            list(starts.values()),
            self.copies,
            self.folder,
            slot.is_leaving,
            self.settings.checkpoint_seconds,
        )
        out_of_memory = False
        try:
            contexts = [self._context(run, starts[run.id]) for run in bank]
            execute_bank([run.spec for run in bank], contexts, recorder)
        except Exception as error:  # noqa: BLE001 - no run may end its worker, and each must record why it failed
            out_of_memory = len(bank) > 1 and is_out_of_memory(error)
            for member in [] if out_of_memory else list(recorder.open):
                self.retries.put(partial(recorder.fail, member, error))
        if out_of_memory:
            self._split(bank, recorder)

    def _split(self, bank: Sequence[Run], recorder: Recorder) -> None:
        """Queue the unfinished runs of a bank that ran out of memory, with half the bank size from now on."""
        gc.collect()  # free the bank's memory before the next bank allocates
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
        half = self._fitted[bank_key(bank[0].spec)] = (len(bank) + 1) // 2
        together = f"at most {half} together" if half > 1 else "each alone"
        cause = f"Out of memory with {len(bank)} runs trained together: the bank is split, and they train {together}."
        log.warning("%s", cause)
        self.retries.put(partial(recorder.put_back, cause))

    def _checkpoint(self, run: Run) -> Checkpoint:
        known = self.store.checkpoint(run.id)
        if known is None:
            raise CheckpointError("It has no checkpoint any more.")
        return read_checkpoint(self.folder(run.id), *known)

    def _context(self, run: Run, start: Checkpoint | None) -> RunContext:
        base = self.folder(run.spec.base) / NETWORK if run.spec.base else None
        sha256 = self.store.files(run.spec.base).get(NETWORK) if run.spec.base else None
        return RunContext(
            run=run.id,
            folder=self.folder(run.id),
            tasks=self.tasks,
            base=base,
            threads=self.settings.threads,
            start=start,
            base_sha256=sha256,
            networks=self.networks,
            bases=self.bases,
        )

    def folder(self, run: str) -> Path:
        """Folder of a run's files."""
        return self.settings.runs / run


class WorkerSlot:
    """One worker thread and the bank that it trains."""

    def __init__(self, workers: Workers, number: int) -> None:
        self._workers = workers
        self.abandoned = threading.Event()
        """Set once another thread has replaced this one."""
        self.bank: list[Run] = []
        self.since = time.monotonic()
        """When the bank was claimed, or the hang timer restarted."""
        self.recorder: Recorder | None = None
        self.thread = threading.Thread(target=workers.work, args=(self,), name=f"trainer-{number}", daemon=True)
        self.thread.start()

    def is_leaving(self) -> bool:
        """Whether the thread must let go of its runs."""
        return self.abandoned.is_set() or self._workers.is_closing()
