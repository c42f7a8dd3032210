"""The writes that end runs in the store: made in order, and made later if the store cannot be written now."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.engine.jobs.messages import Fault
from core.errors import RunStateError
from core.store.checkpoints import tidy
from core.store.record import Result, Run, State
from core.store.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finish:
    """A run has a result."""

    run: Run
    state: State
    result: Result
    files: dict[str, str]
    """SHA-256 of each file in the run's folder, by name."""

    def write(self, store: Store) -> None:
        """Write it. Raises: RunStateError: its worker no longer holds the run; OSError, sqlite3.Error."""
        store.finish(self.run, self.state, self.result, self.files)


How = Literal["fail", "break_off", "interrupt", "put_back", "start_over"]


@dataclass(frozen=True)
class End:
    """A run goes on later, or failed; see the method of :class:`core.store.transitions.Transitions` with this name."""

    run: Run
    how: How
    cause: str | None = None
    traceback: str | None = None

    def write(self, store: Store) -> None:
        """Write it. Raises: RunStateError: its worker no longer holds the run; sqlite3.Error."""
        match self.how:
            case "fail":
                store.fail(self.run, self.cause or "", self.traceback)
            case "break_off":
                store.break_off(self.run, self.cause or "", self.traceback)
            case "interrupt":
                store.interrupt(self.run, self.cause, self.traceback)
            case "put_back":
                store.put_back(self.run, self.cause or "")
            case "start_over":
                store.start_over(self.run, self.cause or "")


def ended_by(run: Run, fault: Fault) -> End:
    """How a run ends by a fault."""
    how: dict[bool | None, How] = {True: "interrupt", False: "fail", None: "break_off"}
    return End(run, how[fault.can_go_on], fault.cause, fault.traceback)


@dataclass(frozen=True)
class Trim:
    """Runs of an experiment have ended, so networks that are not to be kept may go."""

    experiment: str


Write = Finish | End | Trim


class Writes:
    """A queue of writes that must not be lost. Any thread may call any method."""

    def __init__(self, store: Store, folder: Callable[[str], Path], trim: Callable[[str], None]) -> None:
        """Args:
        store: where they are written.
        folder: maps a run's id to the folder of its files.
        trim: deletes the networks of an experiment that are not to be kept, by its id.
        """
        self._store = store
        self._folder = folder
        self._trim = trim
        self._waiting: list[Write] = []
        self._flushing = threading.Lock()

    @property
    def waiting(self) -> tuple[Write, ...]:
        """What the store does not have yet, in the order in which it will be written."""
        return tuple(self._waiting)

    def put(self, write: Write) -> None:
        """Write this now if the store can be written, else at a later :meth:`flush`."""
        self._waiting.append(write)
        self.flush()

    def flush(self) -> None:
        """Write what waits, until the queue is empty or the store cannot be written."""
        with self._flushing:
            try:
                while self._waiting:
                    self._make(self._waiting[0])
                    self._waiting.pop(0)
                self._store.try_again()
            except sqlite3.Error as error:
                log.debug("The store cannot be written (%s); %d writes wait.", error, len(self._waiting))

    def _make(self, write: Write) -> None:
        """Make a write, and remove checkpoints that the run no longer needs."""
        if isinstance(write, Trim):
            self._trim(write.experiment)
            return
        run = write.run
        try:
            try:
                write.write(self._store)
            except OSError as error:  # of the file in the run's folder
                ended_by(run, Fault.of(error)).write(self._store)
        except RunStateError:
            return  # it was ended or claimed by somebody else since, whose checkpoints may be in the same folder
        kept = self._store.checkpoint(run.id)
        tidy(self._folder(run.id), kept[0] if kept else None)
