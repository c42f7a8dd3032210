"""The recorder of a bank: writes its events and checkpoints to the store, and passes stop requests on to it."""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from core.engine.job import BankCallbacks, Outcome
from core.errors import LabError, LeftError, RunStateError
from core.memory import is_out_of_memory
from core.store.checkpoints import tidy, write_checkpoint
from core.store.copies import Copies
from core.store.record import Run, State
from core.store.store import Store
from core.training.checkpoint import Checkpoint
from core.training.events import Done, EpochEnd, Event, StepLoss

log = logging.getLogger(__name__)

SYNC_SECONDS = 0.05
"""Minimum interval between two syncs with the store: an epoch of a bank ends with one event per run."""

CHECKPOINT_SHARE = 0.02
"""Maximum share of the time spent on checkpoints; on a slow disk they become less frequent."""


class Recorder(BankCallbacks):
    """Callbacks of a bank that record everything in the store."""

    def __init__(
        self,
        store: Store,
        bank: Sequence[Run],
        starts: Sequence[Checkpoint | None],
        copies: Copies,
        folder: Callable[[str], Path],
        closing: Callable[[], bool],
        every: float,
    ) -> None:
        """Args:
        store: where everything is recorded.
        bank: the runs, as returned by the store's claim.
        starts: checkpoint that each run resumes from, or None.
        copies: writes copies of the store's rows into the folders of the runs.
        folder: maps a run's id to the folder of its files.
        closing: whether this process, or this bank's worker, must let go of its runs.
        every: seconds between checkpoints.
        """
        self._store = store
        self._bank = list(bank)
        self._starts = list(starts)
        self._copies = copies
        self._folder = folder
        self._closing = closing
        self._every = every
        self._next = time.monotonic() + every
        self._events: list[tuple[Run, StepLoss | EpochEnd]] = []
        """Events that the store does not have yet."""
        self._written: list[tuple[Run, str, str]] = []
        """Checkpoint files that the store does not know yet."""
        self._write_seconds = 0.0
        """Time spent on the latest checkpoints."""
        self._synced = 0.0
        self._stops: set[str] = set()
        self._lost: set[str] = set()
        """Runs that this worker no longer holds: ended, deleted, or claimed by another process."""
        self._leaving = False
        self._complained = False
        self.beat = time.monotonic()
        """When the bank last made progress."""
        self.open = list(range(len(self._bank)))
        """Members that have not ended."""

    # Callbacks

    def on_begin(self, member: int, steps: int) -> None:
        self.beat = time.monotonic()
        start = self._starts[member]
        try:
            self._store.begin(self._bank[member], steps, start.position.seconds if start else 0.0)
        except RunStateError:
            self._lost.add(self._bank[member].id)

    def on_note(self, member: int, text: str) -> None:
        try:
            self._store.add_log(self._bank[member].id, text)
        except sqlite3.Error as error:
            log.warning("The log of run %s could not be written (%s): %s", self._bank[member].id, error, text)

    def on_event(self, member: int, event: Event) -> None:
        # All runs report at the same step: their events are written in one transaction, before should_stop.
        self.beat = time.monotonic()
        if not isinstance(event, Done):
            self._events.append((self._bank[member], event))

    def poll(self) -> None:
        self._sync()
        if self._closing() or all(self._bank[member].id in self._lost for member in self.open):
            raise LeftError

    def should_stop(self, member: int) -> bool:
        self._sync()
        id = self._bank[member].id
        return self._leaving or id in self._stops or id in self._lost

    def should_leave(self, member: int) -> bool:
        return self._leaving or self._bank[member].id in self._lost

    def checkpoint_due(self) -> bool:
        self.beat = time.monotonic()
        # The loop calls this before should_stop and should_leave, which use the value set here: if the process
        # closes in between, no run is left without a checkpoint.
        self._leaving = self._closing()
        return self._leaving or self.beat >= self._next

    def on_checkpoint(self, member: int, checkpoint: Checkpoint) -> None:
        self.beat = start = time.monotonic()
        run = self._bank[member]
        if run.id in self._lost:
            return
        try:
            self._written.append((run, *write_checkpoint(self._folder(run.id), checkpoint)))
        except OSError as error:
            # Training goes on, and the previous checkpoint stays valid.
            self._complain(error)
        self._write_seconds += time.monotonic() - start
        self._next = time.monotonic() + max(self._every, self._write_seconds / CHECKPOINT_SHARE)

    def on_end(self, member: int, outcome: Outcome | Exception) -> None:
        if isinstance(outcome, Exception):
            self.fail(member, outcome)
            return
        self.beat = time.monotonic()
        self._write()
        run = self._bank[member]
        state: State = "stopped" if outcome.stopped else "finished"
        self._settle(member, lambda: self._store.finish(run, state, outcome.result, outcome.files))

    # How a run ends

    def fail(self, member: int, error: Exception) -> None:
        """Record that a run failed, was interrupted, or was left, with the cause."""
        run = self._bank[member]
        if not isinstance(error, sqlite3.Error):
            self._write()
        if isinstance(error, LeftError):
            self._settle(member, lambda: self._store.interrupt(run))
            return
        cause, text = cause_of(error), "".join(traceback.format_exception(error))
        log.warning("Run %s ended early: %s", run.id, cause)
        end = self._store.interrupt if can_go_on(error) else self._store.fail
        self._settle(member, lambda: end(run, cause, text))

    def put_back(self, cause: str) -> None:
        """Queue all runs again that have not ended, each from its last checkpoint."""
        self._write()
        for member in list(self.open):
            self._settle(member, partial(self._store.put_back, self._bank[member], cause))

    def _settle(self, member: int, transition: Callable[[], None]) -> None:
        """Make a run's final transition unless the run is lost, and remove checkpoints that it no longer needs."""
        run = self._bank[member]
        if run.id not in self._lost:
            try:
                transition()
            except RunStateError:
                self._lost.add(run.id)
            else:
                kept = self._store.checkpoint(run.id)
                tidy(self._folder(run.id), kept[0] if kept else None)
        self.open = [other for other in self.open if other != member]

    # The store

    def _sync(self) -> None:
        """Write what is new to the store, and read which runs to stop or were lost."""
        self.beat = time.monotonic()
        if self.beat - self._synced < SYNC_SECONDS and not self._written:
            return
        self._write()
        runs = [self._bank[member] for member in self.open]
        self._stops = self._store.stops_asked([run.id for run in runs])
        self._lost |= {run.id for run in runs} - self._store.held(runs)
        self._synced = time.monotonic()

    def _write(self) -> None:
        """Write events and checkpoints: the events first, so that a run's checkpoint is never ahead of its curve."""
        if self._events:
            self._lost |= self._store.record(self._events)
            self._events = []
        written, self._written = self._written, []
        if written:
            start = time.monotonic()
            try:
                self._lost |= self._store.keep_checkpoints(written)
                # Before the previous checkpoint is removed, so that no copy names a file that is gone.
                self._copies.save([run.id for run, _, _ in written if run.id not in self._lost])
            except (sqlite3.Error, OSError) as error:
                self._complain(error)
                return
            self._complained = False
            self._write_seconds += time.monotonic() - start
            self._next = time.monotonic() + max(self._every, self._write_seconds / CHECKPOINT_SHARE)
            self._write_seconds = 0.0
            for run, name, _ in written:
                if run.id in self._lost:  # the new holder's checkpoints may be in the same folder
                    (self._folder(run.id) / name).unlink(missing_ok=True)
                else:
                    tidy(self._folder(run.id), name)

    def _complain(self, error: Exception) -> None:
        """Log once, also in the log of each run, that checkpoints cannot be written."""
        if self._complained:
            return
        self._complained = True
        log.warning("A checkpoint could not be written: %s", error)
        for member in self.open:
            try:
                self._store.add_log(self._bank[member].id, f"A checkpoint could not be written. {cause_of(error)}")
            except sqlite3.Error:
                log.warning("The store could not be written either, so the runs' logs do not mention it.")
                return


def can_go_on(error: Exception) -> bool:
    """Whether a run that ended with this error can be resumed, as after a full disk."""
    return isinstance(error, sqlite3.Error) or (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    )


def cause_of(error: Exception) -> str:
    """Why a run failed or was interrupted, in one sentence for the person who started it."""
    if isinstance(error, LabError):
        return str(error)
    if is_out_of_memory(error):
        return "Out of memory: choose a smaller batch or network, or another device."
    if isinstance(error, sqlite3.Error):
        return f"The store of runs could not be written ({error}): see that the disk has space, then resume the run."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full: free some space, then resume the run."
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return "A file is larger than this system allows: raise the limit, then resume the run."
    if isinstance(error, OSError):
        return f"A file could not be read or written: {error.strerror or error} ({error.filename or 'unknown file'})."
    return f"Something unexpected happened ({type(error).__name__}: {error}); the traceback has the details."
