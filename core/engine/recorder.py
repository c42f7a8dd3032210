"""Between one bank and the store: what its runs report, what people ask of them, and their checkpoints."""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from core.engine.job import Attendant, Outcome
from core.errors import LabError, LeftError, RunStateError
from core.memory import is_out_of_memory
from core.store.checkpoints import tidy, write_checkpoint
from core.store.copies import Copies
from core.store.record import Run, State
from core.store.store import Store
from core.training.checkpoint import Checkpoint
from core.training.events import Done, EpochEnd, Event, StepLoss

log = logging.getLogger(__name__)

TALK_SECONDS = 0.05
"""How often the store is written and asked, at most: an epoch of a bank ends with an event a member."""

CHECKPOINT_SHARE = 0.02
"""Share of the time that checkpoints may take: where writing them takes long, they become rarer."""


class Desk(Attendant):
    """An attendant that keeps everything in the store."""

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
        store: where it is kept.
        bank: the runs, as the store's claim gave them.
        starts: what each goes on from.
        copies: of what the store knows, in the folders of the runs.
        folder: of a run's files.
        closing: whether this process, or this bank's worker, is to let go of its runs.
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
        self._waiting: list[tuple[Run, StepLoss | EpochEnd]] = []
        self._written: list[tuple[Run, str, str]] = []
        self._writing = 0.0
        self._talked = 0.0
        self._stops: set[str] = set()
        self._lost: set[str] = set()
        self._leaving = False
        self._troubled = False
        self.beat = time.monotonic()
        """When the bank last gave a sign of life."""
        self.open = list(range(len(self._bank)))
        """Members that have not ended."""

    # What the bank says and asks

    def begin(self, member: int, steps: int) -> None:
        self.beat = time.monotonic()
        start = self._starts[member]
        try:
            self._store.begin(self._bank[member], steps, start.position.seconds if start else 0.0)
        except RunStateError:
            self._lost.add(self._bank[member].id)

    def take(self, member: int, event: Event) -> None:
        # All members report at once: they are written together, before the loop asks who shall stop.
        self.beat = time.monotonic()
        if not isinstance(event, Done):
            self._waiting.append((self._bank[member], event))

    def look(self) -> None:
        self._talk()
        if self._closing() or all(self._bank[member].id in self._lost for member in self.open):
            raise LeftError

    def wants_stop(self, member: int) -> bool:
        self._talk()
        id = self._bank[member].id
        return self._leaving or id in self._stops or id in self._lost

    def leaves(self, member: int) -> bool:
        return self._leaving or self._bank[member].id in self._lost

    def due(self) -> bool:
        self.beat = time.monotonic()
        # Asked first, and the answer holds for what is asked after it: nobody leaves without a checkpoint.
        self._leaving = self._closing()
        return self._leaving or self.beat >= self._next

    def keep(self, member: int, checkpoint: Checkpoint) -> None:
        self.beat = start = time.monotonic()
        run = self._bank[member]
        if run.id in self._lost:
            return
        try:
            self._written.append((run, *write_checkpoint(self._folder(run.id), checkpoint)))
        except OSError as error:
            # Nothing is lost yet, so training goes on, and the checkpoint before this one still counts.
            self._complain(error)
        self._writing += time.monotonic() - start
        self._next = time.monotonic() + max(self._every, self._writing / CHECKPOINT_SHARE)

    def end(self, member: int, outcome: Outcome | Exception) -> None:
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
        """A run came to nothing, or is left: the store says which, and why."""
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
        """What has not ended is queued again, each run for its last checkpoint."""
        self._write()
        for member in list(self.open):
            self._settle(member, partial(self._store.put_back, self._bank[member], cause))

    def _settle(self, member: int, entry: Callable[[], None]) -> None:
        """Let a run enter its last state, unless it is in other hands by now; what it needs no more goes."""
        run = self._bank[member]
        if run.id not in self._lost:
            try:
                entry()
            except RunStateError:
                self._lost.add(run.id)
            else:
                kept = self._store.checkpoint(run.id)
                tidy(self._folder(run.id), kept[0] if kept else None)
        self.open = [other for other in self.open if other != member]

    # The store

    def _talk(self) -> None:
        self.beat = time.monotonic()
        if self.beat - self._talked < TALK_SECONDS and not self._written:
            return
        self._write()
        runs = [self._bank[member] for member in self.open]
        self._stops = self._store.stops_asked([run.id for run in runs])
        self._lost |= {run.id for run in runs} - self._store.held(runs)
        self._talked = time.monotonic()

    def _write(self) -> None:
        """Bring the store up to date: the curves first, so that no checkpoint is ahead of its own."""
        if self._waiting:
            self._lost |= self._store.record(self._waiting)
            self._waiting = []
        written, self._written = self._written, []
        if written:
            start = time.monotonic()
            try:
                self._lost |= self._store.keep_checkpoints(written)
                # Before the checkpoint that it replaces goes: a copy never names one that is gone.
                self._copies.save([run.id for run, _, _ in written if run.id not in self._lost])
            except (sqlite3.Error, OSError) as error:
                self._complain(error)
                return
            self._troubled = False
            self._writing += time.monotonic() - start
            self._next = time.monotonic() + max(self._every, self._writing / CHECKPOINT_SHARE)
            self._writing = 0.0
            for run, name, _ in written:
                if run.id in self._lost:  # another's checkpoints may be beside it
                    (self._folder(run.id) / name).unlink(missing_ok=True)
                else:
                    tidy(self._folder(run.id), name)

    def _complain(self, error: Exception) -> None:
        """Say once that checkpoints cannot be written, where that can be said."""
        if self._troubled:
            return
        self._troubled = True
        log.warning("A checkpoint could not be written: %s", error)
        for member in self.open:
            try:
                self._store.note(self._bank[member].id, f"A checkpoint could not be written. {cause_of(error)}")
            except sqlite3.Error:
                log.warning("Nor could that be noted in the store.")
                return


def can_go_on(error: Exception) -> bool:
    """Whether a run may come to its end once the machine has again what it lacked."""
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
        return "A file is larger than this system lets it be: raise the limit, then resume the run."
    if isinstance(error, OSError):
        return f"A file could not be read or written: {error.strerror or error} ({error.filename or 'unknown file'})."
    return f"Something unexpected happened ({type(error).__name__}: {error}); the traceback has the details."
