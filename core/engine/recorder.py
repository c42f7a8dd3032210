"""The recorder of a job, which writes what the job says to the store and into the folders of its runs; and the thread
that passes on to jobs what people ask of their runs.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from core.engine.jobs.job import Commands, Drop, Save, Stop
from core.engine.jobs.messages import (
    Began,
    Ended,
    Failed,
    Fault,
    Left,
    Message,
    Noted,
    OutOfMemory,
    Reported,
    Saved,
    cause_of,
)
from core.engine.writes import End, Finish, Writes, ended_by
from core.errors import RunStateError
from core.files import write_atomically
from core.store.checkpoints import tidy, write_checkpoint
from core.store.record import Run
from core.store.store import Store
from core.training.stepper import EpochEnd, StepLoss

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
"""Interval between two looks at the store, where other processes leave their requests; those of this one wake it."""

SYNC_SECONDS = 0.25
"""Minimum interval between two writes of events: an epoch of a bank ends with one event per run, and nobody looks as
often."""

CHECKPOINT_SHARE = 0.02
"""Maximum share of the time spent on checkpoints; on a slow disk they become less frequent."""


Events = list[tuple[Run, StepLoss | EpochEnd]]


def joined(events: Events) -> Events:
    """The same events with the losses of each run as one, since each costs a row of the store."""
    losses: dict[str, tuple[Run, StepLoss]] = {}
    epochs: Events = []
    for run, event in events:
        if isinstance(event, StepLoss):
            before = losses.get(run.id)
            losses[run.id] = run, before[1].then(event) if before else event
        else:
            epochs.append((run, event))
    return [*losses.values(), *epochs]


class Recorder:
    """Takes the messages of one job, and asks it for checkpoints."""

    def __init__(
        self,
        store: Store,
        bank: Sequence[Run],
        commands: Commands,
        writes: Writes,
        folder: Callable[[str], Path],
        every: float,
    ) -> None:
        """Args:
        store: where everything is recorded.
        bank: the run of each member of the job, as returned by the store's claim.
        commands: of the job.
        writes: the queue for the ends of runs.
        folder: maps a run's id to the folder of its files.
        every: seconds between checkpoints.
        """
        self._store = store
        self._bank = list(bank)
        self._commands = commands
        self._writes = writes
        self._folder = folder
        self._every = every
        self._next = time.monotonic() + every
        self._events: Events = []
        """Events that the store does not have yet."""
        self._saved: list[tuple[Run, str, str]] = []
        """Checkpoint files that the store does not know yet."""
        self._write_seconds = 0.0
        """Time spent on the latest checkpoints."""
        self._written = 0.0
        self._told: set[str] = set()
        """Runs that the job was told to stop."""
        self._lost: set[str] = set()
        """Runs that this job no longer holds: ended, deleted, or claimed by another process."""
        self._complained = False
        self.beat = time.monotonic()
        """When the job last said something."""
        self.open = list(range(len(self._bank)))
        """Members that have not ended."""

    def take(self, message: Message) -> None:
        """Record a message.

        Raises:
            sqlite3.Error: the store cannot be written. The job is to be left; :meth:`fail` says so for each member.
        """
        self.beat = time.monotonic()
        match message:
            case Began(member, steps, seconds):
                self._begin(member, steps, seconds)
            case Noted(member, text):
                self._note(member, text)
            case Reported(member, event):
                self._events.append((self._bank[member], event))
            case Saved(member, step, content):
                self._save(member, step, content)
            case Ended():
                self._finish(message)
            case Left(member):
                self.fail(member, None)
            case Failed(member, fault):
                self.fail(member, fault)
            case OutOfMemory():
                pass  # the worker splits the bank
        self._write_soon(message)
        if time.monotonic() >= self._next:
            self._next = math.inf  # until they have been made
            self._commands.send(Save())

    def pass_on_requests(self) -> None:
        """Tell the job which of its runs somebody, in any process, asked to stop, and which it no longer holds.

        Raises:
            sqlite3.Error: the store cannot be read.
        """
        runs = {self._bank[member].id: member for member in self.open}
        held = self._store.held([self._bank[member] for member in runs.values()])
        self._lose(runs.keys() - held)
        for id in self._store.stops_asked(list(runs)) - self._told:
            self._told.add(id)
            self._commands.send(Stop(runs[id]))

    def fail(self, member: int, fault: Fault | None) -> None:
        """Record that a run failed or was interrupted; without a fault, it was left to be resumed."""
        run = self._bank[member]
        self._write_if_possible()
        if fault is None:
            self._end(member, End(run, "interrupt"))
            return
        log.warning("Run %s ended early: %s", run.id, fault.cause)
        self._end(member, ended_by(run, fault))

    def put_back(self, cause: str) -> None:
        """Queue all runs again that have not ended, each from its last checkpoint."""
        self._write_if_possible()
        for member in list(self.open):
            self._end(member, End(self._bank[member], "put_back", cause))

    # Messages

    def _begin(self, member: int, steps: int, seconds: float) -> None:
        try:
            self._store.begin(self._bank[member], steps, seconds)
        except RunStateError:
            self._lose({self._bank[member].id})

    def _note(self, member: int, text: str) -> None:
        try:
            self._store.add_log(self._bank[member].id, text)
        except sqlite3.Error as error:
            log.warning("The log of run %s could not be written (%s): %s", self._bank[member].id, error, text)

    def _save(self, member: int, step: int, content: bytes) -> None:
        start, run = time.monotonic(), self._bank[member]
        if run.id in self._lost:
            return
        try:
            self._saved.append((run, *write_checkpoint(self._folder(run.id), step, content)))
        except OSError as error:
            # Training goes on, and the previous checkpoint stays valid.
            self._complain(error)
        self._write_seconds += time.monotonic() - start
        self._schedule()

    def _finish(self, end: Ended) -> None:
        run, folder = self._bank[end.member], self._folder(self._bank[end.member].id)
        self._write()
        files: dict[str, str] = {}
        try:
            if run.id not in self._lost:
                files = {name: write_atomically(folder / name, content) for name, content in end.files.items()}
        except OSError as error:
            self.fail(end.member, Fault.of(error))
        else:
            self._end(end.member, Finish(run, "stopped" if end.stopped else "finished", end.result, files))

    def _end(self, member: int, write: Finish | End) -> None:
        if self._bank[member].id not in self._lost:
            self._writes.put(write)
        self.open = [other for other in self.open if other != member]

    def _lose(self, ids: set[str]) -> None:
        """Tell the job that runs are no longer its own."""
        for member in self.open:
            if self._bank[member].id in ids - self._lost:
                self._commands.send(Drop(member))
        self._lost |= ids

    # Events and checkpoints

    def _write_soon(self, message: Message) -> None:
        """Write what is new; losses once all members have reported them: the last member is the last to do so."""
        match message:
            case Reported(member, StepLoss()) | Saved(member) if member != self.open[-1]:
                return
            case Reported() if time.monotonic() - self._written < SYNC_SECONDS:
                return
            case Reported() | Saved():
                self._write()

    def _write_if_possible(self) -> None:
        """Write what is new, unless the store cannot be written, in which case it is lost with what follows."""
        try:
            self._write()
        except sqlite3.Error as error:
            log.debug("The latest events could not be written: %s", error)
            self._events, self._saved = [], []

    def _write(self) -> None:
        """Write events and checkpoints: the events first, so that a run's checkpoint is never ahead of its curve."""
        self._written = time.monotonic()
        if self._events:
            self._lose(self._store.record(joined(self._events)))
            self._events = []
        saved, self._saved = self._saved, []
        if saved:
            start = time.monotonic()
            try:
                self._lose(self._store.keep_checkpoints(saved))
            except (sqlite3.Error, OSError) as error:
                self._complain(error)
                return
            self._complained = False
            self._write_seconds += time.monotonic() - start
            self._schedule()
            self._write_seconds = 0.0
            for run, name, _ in saved:
                if run.id in self._lost:  # the new holder's checkpoints may be in the same folder
                    (self._folder(run.id) / name).unlink(missing_ok=True)
                else:
                    tidy(self._folder(run.id), name)

    def _schedule(self) -> None:
        """Choose when to ask for the next checkpoints."""
        self._next = time.monotonic() + max(self._every, self._write_seconds / CHECKPOINT_SHARE)

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


class Requests:
    """Asks the store for what jobs would otherwise have to ask: who is to stop, and who is no longer their own."""

    def __init__(self, recorders: Callable[[], Iterable[Recorder]]) -> None:
        """Args: recorders: gives those of the jobs that run now."""
        self._recorders = recorders
        self._asked = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="requests", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Look at the store now."""
        self._asked.set()

    def close(self) -> None:
        """Ask the thread to end."""
        self._closing = True
        self._asked.set()

    def _work(self) -> None:
        while not self._closing:
            self._asked.wait(LOOK_SECONDS)
            self._asked.clear()
            for recorder in self._recorders():
                try:
                    recorder.pass_on_requests()
                except sqlite3.Error as error:
                    log.debug("The store cannot be read (%s); trying again.", error)
