"""Threads that take queued runs and train them."""

from __future__ import annotations

import errno
import logging
import threading
import traceback
from pathlib import Path

import torch

from core.data.tasks import Tasks
from core.errors import LabError
from core.runs.execute import NETWORK, Workplace, execute
from core.runs.record import Run
from core.runs.store import Store
from core.settings import Settings
from core.training.loop import Done, Event

log = logging.getLogger(__name__)

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
        while not self._closing.is_set():
            self._wake.clear()
            run = self.store.claim(self.owner)
            if run is None:
                self._wake.wait(IDLE_SECONDS)
            else:
                self._train(run)

    def _train(self, run: Run) -> None:
        """Train one run, whatever happens to it; the run ends in one of the final states."""
        try:
            outcome = execute(
                run.spec,
                self._place(run),
                sink=lambda event: self._keep(run, event),
                stop=lambda: self._closing.is_set() or self.store.stop_asked(run.id),
                started=lambda steps: self.store.begin(run.id, steps),
            )
            if outcome.stopped and self._closing.is_set():
                self.store.interrupt(run.id)
            else:
                self.store.finish(run.id, "stopped" if outcome.stopped else "finished", outcome.result, outcome.files)
        except Exception as error:  # noqa: BLE001 - a worker must outlive any run, and the run must say why it failed
            log.warning("Run %s failed: %s", run.id, error)
            self.store.fail(run.id, cause_of(error), traceback.format_exc())

    def _keep(self, run: Run, event: Event) -> None:
        if not isinstance(event, Done):
            self.store.record(run.id, event, run.spec.optim.batch_size)

    def _place(self, run: Run) -> Workplace:
        base = self.folder(run.spec.base) / NETWORK if run.spec.base else None
        return Workplace(run.id, self.folder(run.id), self.tasks, base, self.settings.threads)

    def folder(self, run: str) -> Path:
        """Where a run's files are."""
        return self.settings.runs / run


def cause_of(error: Exception) -> str:
    """Why a run failed, in one sentence for the person who started it."""
    if isinstance(error, LabError):
        return str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return "Out of memory: choose a smaller batch or network, or another device."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full: free some space, then run it again."
    if isinstance(error, OSError):
        return f"A file could not be read or written: {error.strerror or error} ({error.filename or 'unknown file'})."
    return f"Something unexpected happened ({type(error).__name__}: {error}); the traceback has the details."
