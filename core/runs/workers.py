"""Threads that take queued runs and train them."""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from core.data.tasks import Tasks
from core.errors import LabError
from core.runs.execute import NETWORK, Outcome, Workplace, execute_bank
from core.runs.plan import plan
from core.runs.priority import step_back
from core.runs.record import Run
from core.runs.store import Store
from core.settings import Settings
from core.spec import RunSpec
from core.training.loop import Done, EpochEnd, Event, StepLoss

log = logging.getLogger(__name__)

FULL_BANK = 8
"""Full fine-tuning runs trained together; beyond it each run's share of the time no longer falls."""

LORA_BANK = 32
"""The same for LoRA runs."""

IDLE_SECONDS = 0.5
"""How often a worker with nothing to do looks again; submissions wake it at once."""


class Workers:
    """Daemon threads between the store and :func:`core.runs.execute.execute`."""

    def __init__(self, settings: Settings, store: Store, tasks: Tasks, owner: str) -> None:
        """Args: owner: name of this process; only runs that it owns are taken."""
        self.settings = settings
        self.store = store
        self.tasks = tasks
        self.owner = owner
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"trainer-{i}", daemon=True) for i in range(settings.workers)
        ]

    def start(self) -> None:
        """Begin to take runs."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There is something new in the queue."""
        self._wake.set()

    def close(self, timeout: float) -> bool:
        """Interrupt what runs and wait for the threads to end.

        Args:
            timeout: seconds to wait, all threads together.

        Returns:
            Whether all have ended.
        """
        self._closing.set()
        self._wake.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout / len(self._threads))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        step_back()
        while not self._closing.is_set():
            self._wake.clear()
            try:
                bank = self.store.claim(self.owner, self._most)
                if bank:
                    self._train(bank)
                    continue
            except sqlite3.Error:
                # A full disk, most likely: what could not be written stays as it was, and the next look may succeed.
                log.exception("The store could not be written")
            self._wake.wait(IDLE_SECONDS)

    def _most(self, spec: RunSpec) -> int:
        """How many runs like this one are trained together: as many as help, and as fit in memory."""
        helpful = LORA_BANK if spec.lora else 1 if spec.control in ("head", "biases") else FULL_BANK
        return max(1, min(helpful, self.settings.bank_bytes // plan(spec.model, spec.lora).memory))

    def _train(self, bank: list[Run]) -> None:
        """Train runs together; each ends in one of the final states, whatever happens to it or to all."""
        desk = _Desk(self.store, bank, self._closing.is_set)
        try:
            execute_bank(
                [run.spec for run in bank], [self._place(run) for run in bank],
                sink=desk.take, stop=desk.wants_stop, started=desk.begin, ended=desk.end,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - a worker must outlive any run, and the run must say why it failed
            for member in desk.open:
                desk.fail(member, error)

    def _place(self, run: Run) -> Workplace:
        base = self.folder(run.spec.base) / NETWORK if run.spec.base else None
        return Workplace(run.id, self.folder(run.id), self.tasks, base, self.settings.threads)

    def folder(self, run: str) -> Path:
        """Where a run's files are."""
        return self.settings.runs / run


class _Desk:
    """Between one bank and the store: what the members report, and what people ask of them."""

    def __init__(self, store: Store, bank: list[Run], closing: Callable[[], bool]) -> None:
        self._store = store
        self._bank = bank
        self._closing = closing
        self._waiting: list[tuple[Run, StepLoss | EpochEnd]] = []
        self._stops: set[str] = set()
        self.open = list(range(len(bank)))
        """Members that have not ended."""

    def begin(self, member: int, steps: int) -> None:
        self._store.begin(self._bank[member].id, steps)

    def take(self, member: int, event: Event) -> None:
        # All members report at once: they are written together, before the loop asks who shall stop.
        if not isinstance(event, Done):
            self._waiting.append((self._bank[member], event))

    def wants_stop(self, member: int) -> bool:
        if self._waiting:
            self._write()
            self._stops = self._store.stops_asked([self._bank[open].id for open in self.open])
        return self._closing() or self._bank[member].id in self._stops

    def end(self, member: int, outcome: Outcome | Exception) -> None:
        if isinstance(outcome, Exception):
            self.fail(member, outcome)
            return
        self._write()
        id = self._bank[member].id
        if outcome.stopped and self._closing():
            self._store.interrupt(id)
        else:
            self._store.finish(id, "stopped" if outcome.stopped else "finished", outcome.result, outcome.files)
        self.open.remove(member)

    def fail(self, member: int, error: Exception) -> None:
        self._write()
        id = self._bank[member].id
        log.warning("Run %s failed: %s", id, error)
        self._store.fail(id, cause_of(error), "".join(traceback.format_exception(error)))
        self.open = [open for open in self.open if open != member]

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._store.record(waiting)


def cause_of(error: Exception) -> str:
    """Why a run failed, in one sentence for the person who started it."""
    if isinstance(error, LabError):
        return str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "Out of memory: choose a smaller batch or network, or another device."
    if isinstance(error, sqlite3.OperationalError):
        return f"The store of runs could not be written ({error}): see that the disk has space, then run it again."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full: free some space, then run it again."
    if isinstance(error, OSError):
        return f"A file could not be read or written: {error.strerror or error} ({error.filename or 'unknown file'})."
    return f"Something unexpected happened ({type(error).__name__}: {error}); the traceback has the details."
