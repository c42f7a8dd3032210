"""Threads that take queued runs and train them, and what becomes of runs whose thread dies or hangs."""

from __future__ import annotations

import gc
import logging
import sqlite3
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from core.data.tasks import Tasks
from core.engine.bank_memory import Sizes, bank_memory
from core.engine.job import NETWORK, Workplace, execute_bank
from core.engine.priority import step_back
from core.engine.recorder import Desk
from core.errors import CheckpointError, LabError, RunStateError
from core.memory import free_bytes, is_out_of_memory
from core.settings import Settings, choose_device
from core.spec import RunSpec
from core.store.checkpoints import read_checkpoint
from core.store.copies import Copies
from core.store.record import Run
from core.store.store import Store
from core.training.checkpoint import Checkpoint

log = logging.getLogger(__name__)

FULL_BANK = 8
"""Full fine-tuning runs trained together; beyond it each run's share of the time no longer falls."""

LORA_BANK = 32
"""The same for LoRA runs."""

FREE_SHARE = 0.5
"""Share of the free memory that banks may take: data that is still to be loaded, pages and others need some as well."""

IDLE_SECONDS = 0.5
"""How often a worker with nothing to do looks again; submissions wake it at once."""


class Workers:
    """Daemon threads between the store and :func:`core.engine.job.execute_bank`."""

    def __init__(self, settings: Settings, store: Store, copies: Copies, tasks: Tasks, owner: str) -> None:
        """Args: owner: name of this process; only runs that it owns are taken."""
        self.settings = settings
        self.store = store
        self.copies = copies
        self.tasks = tasks
        self.owner = owner
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._unsaid: list[Callable[[], None]] = []
        self._speaking = threading.Lock()
        self._claiming = threading.Lock()
        self._fitted: dict[str, int] = {}
        """Runs that are trained together at most, by bank key, where more of them ran out of memory."""
        self._seats: list[_Seat] = []

    def start(self) -> None:
        """Begin to take runs."""
        self._seats = [_Seat(self, number) for number in range(self.settings.workers)]

    def wake(self) -> None:
        """There is something new in the queue."""
        self._wake.set()

    def close(self, timeout: float) -> bool:
        """Interrupt what runs, each with a checkpoint, and wait for the threads to end.

        Args:
            timeout: seconds to wait, all threads together.

        Returns:
            Whether all have ended.
        """
        self._closing.set()
        self._wake.set()
        end = time.monotonic() + timeout
        for seat in self._seats:
            seat.thread.join(max(0.0, end - time.monotonic()))
        return not any(seat.thread.is_alive() for seat in self._seats)

    def check(self) -> None:
        """See that every thread lives and gets on; replace one that does not, and interrupt its runs.

        A thread that hangs cannot be ended. It is left to itself, and the store takes nothing from it any more.
        """
        if self._closing.is_set():
            return
        for place, seat in enumerate(list(self._seats)):
            desk, limit = seat.desk, self.settings.hang_seconds
            if not seat.thread.is_alive():
                cause = "The thread that trained it ended unexpectedly: resume the run to go on."
            elif seat.bank and time.monotonic() - max(seat.since, desk.beat if desk else 0.0) > limit:
                cause = f"The thread that trained it gave no sign of life for {limit:g} seconds: resume it to go on."
            else:
                continue
            log.error("Worker %d is replaced. %s", place, cause)
            seat.given_up.set()
            with self._claiming:
                others = {run.id for other in self._seats if other is not seat for run in other.bank}
                mine = [run for run in self.store.runs(states=["running"]) if run.owner == self.owner]
            for run in (run for run in mine if run.id not in others):
                self.say(lambda run=run, cause=cause: self.store.interrupt(run, cause))  # type: ignore[misc]
            self._seats[place] = _Seat(self, place)

    def allow_for_pause(self) -> None:
        """Count silence from now on: this process itself was paused, so its threads could give no sign of life."""
        for seat in self._seats:
            seat.since = time.monotonic()

    def say(self, sentence: Callable[[], None]) -> None:
        """Tell the store something that must not get lost; where it cannot be written now, again later."""
        self._unsaid.append(sentence)
        self.say_all()

    def say_all(self) -> None:
        """Tell the store what it could not be told before."""
        with self._speaking:
            while self._unsaid:
                try:
                    self._unsaid[0]()
                except RunStateError:
                    pass  # somebody else has settled it
                except sqlite3.Error as error:
                    log.debug("The store cannot be written (%s); it is tried again.", error)
                    return
                self._unsaid.pop(0)

    def work(self, seat: _Seat) -> None:
        """Take and train runs until this process closes, or the seat is given up."""
        step_back()
        troubled = False
        while not seat.is_leaving():
            self._wake.clear()
            try:
                self.say_all()
                with self._claiming:
                    seat.since = time.monotonic()
                    seat.bank = self.store.claim(self.owner, self._most)
                troubled = False
            except sqlite3.Error as error:
                # A full disk, most likely: what could not be written stays as it was, and the next look may succeed.
                if not troubled:
                    log.warning("The store could not be written: %s", error)
                troubled = True
            if seat.bank:
                self._train(seat)
                seat.desk, seat.bank = None, []
            else:
                self._wake.wait(IDLE_SECONDS)

    def is_closing(self) -> bool:
        """Whether this process is about to end."""
        return self._closing.is_set()

    def _most(self, specs: Sequence[RunSpec]) -> int:
        """How many of these runs, from the first, are trained together: as many as help, and as fit in memory now."""
        first = specs[0]
        helpful = LORA_BANK if first.lora else 1 if first.control in ("head", "biases") else FULL_BANK
        most = min(helpful, len(specs), self._fitted.get(first.bank_key, helpful))
        if most == 1:
            return 1
        try:
            task = Sizes.of(self.tasks.outline(first.task))
            source = Sizes.of(self.tasks.outline(first.source)) if first.source else None
            free = free_bytes(choose_device(first.device))
            room = min(self.settings.bank_bytes, int(FREE_SHARE * free / self.settings.workers))
            if bank_memory(specs[:most], task, source) <= room:
                return most
            # The largest count that fits, and one where none does.
            return 1 + bisect_right(range(2, most), room, key=lambda count: bank_memory(specs[:count], task, source))
        except LabError:
            return most  # they say why when they are trained

    def _train(self, seat: _Seat) -> None:
        """Train a seat's runs together; each comes to an end or is interrupted, whatever happens to it or to all.

        Where memory is not enough for several, those that have not ended are queued again for smaller banks.
        """
        starts: dict[str, Checkpoint | None] = {run.id: None for run in seat.bank}
        for run in seat.bank:
            if run.resumed_step:
                try:
                    starts[run.id] = self._checkpoint(run)
                except CheckpointError as error:
                    del starts[run.id]
                    cause = f"{error} The run trains again from its first step."
                    log.warning("Run %s: %s", run.id, cause)
                    self.say(lambda run=run, cause=cause: self.store.start_over(run, cause))  # type: ignore[misc]
        bank = [run for run in seat.bank if run.id in starts]
        if not bank:
            return
        desk = seat.desk = Desk(
            self.store,
            bank,
            list(starts.values()),
            self.copies,
            self.folder,
            seat.is_leaving,
            self.settings.checkpoint_seconds,
        )
        crowded = False
        try:
            places = [self._place(run, starts[run.id]) for run in bank]
            execute_bank([run.spec for run in bank], places, desk)
        except Exception as error:  # noqa: BLE001 - a worker must outlive any run, and the run must say why it failed
            crowded = len(bank) > 1 and is_out_of_memory(error)
            for member in [] if crowded else list(desk.open):
                self.say(lambda member=member, error=error: desk.fail(member, error))  # type: ignore[misc]
        if crowded:
            self._split(bank, desk)

    def _split(self, bank: Sequence[Run], desk: Desk) -> None:
        """Queue what has not ended of a bank that ran out of memory, in banks of half the size from now on."""
        gc.collect()  # what the bank had is given back before the next one asks for memory
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
        half = self._fitted[bank[0].spec.bank_key] = (len(bank) + 1) // 2
        together = f"at most {half} together" if half > 1 else "each alone"
        cause = f"Out of memory with {len(bank)} runs trained together: the bank is split, and they train {together}."
        log.warning("%s", cause)
        self.say(partial(desk.put_back, cause))

    def _checkpoint(self, run: Run) -> Checkpoint:
        known = self.store.checkpoint(run.id)
        if known is None:
            raise CheckpointError("It has no checkpoint any more.")
        return read_checkpoint(self.folder(run.id), *known)

    def _place(self, run: Run, start: Checkpoint | None) -> Workplace:
        base = self.folder(run.spec.base) / NETWORK if run.spec.base else None
        sha256 = self.store.files(run.spec.base).get(NETWORK) if run.spec.base else None
        return Workplace(run.id, self.folder(run.id), self.tasks, base, self.settings.threads, start, sha256)

    def folder(self, run: str) -> Path:
        """Where a run's files are."""
        return self.settings.runs / run


class _Seat:
    """One thread, and the bank that it trains."""

    def __init__(self, workers: Workers, number: int) -> None:
        self._workers = workers
        self.given_up = threading.Event()
        """Whether another thread has taken its place."""
        self.bank: list[Run] = []
        self.since = time.monotonic()
        """When it took them."""
        self.desk: Desk | None = None
        self.thread = threading.Thread(target=workers.work, args=(self,), name=f"trainer-{number}", daemon=True)
        self.thread.start()

    def is_leaving(self) -> bool:
        """Whether it shall let go of its runs."""
        return self.given_up.is_set() or self._workers.is_closing()
