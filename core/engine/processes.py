"""The processes that use one home folder, and the watchdog that finds those, and workers, that died or hang.

A running process holds a file lock, which the operating system releases when the process ends for any reason. A process
that hangs or is suspended is recognised by its heartbeat file, which it no longer touches.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from core.engine.workers import Workers
from core.store.checkpoints import tidy
from core.store.record import PROCESS_ENDED
from core.store.store import Store

log = logging.getLogger(__name__)

SILENT = "Its process does not respond any more: finish the run to go on."


class Process:
    """The current process, among those that use the home folder."""

    def __init__(self, folder: Path, runs: Path, store: Store, silence: float) -> None:
        """Args:
        folder: holds a lock file and a heartbeat file per process.
        runs: holds one folder per run.
        store: of the runs.
        silence: seconds without a heartbeat after which a process is considered gone.
        """
        self.name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
        self._folder = folder
        self._runs = runs
        self._store = store
        self._silence = silence
        # Not thread-local: a server opens the lab in one thread and closes it in another.
        self._lock = FileLock(self._path(self.name, "lock"), thread_local=False)
        self._seen: dict[str, tuple[int, float]] = {}

    def enter(self) -> None:
        """Register this process as running."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(timeout=0)
        self._path(self.name, "beat").touch()

    def leave(self) -> None:
        """Unregister this process."""
        self._lock.release()
        self._remove(self.name)

    def beat(self) -> None:
        """Touch the heartbeat file; create this process's files again if somebody removed them."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._path(self.name, "lock").exists():
            self._lock.release()
            self._lock.acquire(timeout=0)
        self._path(self.name, "beat").touch()

    def allow_for_pause(self) -> None:
        """Restart the timers of other processes: while this one was paused, it could not see their heartbeats."""
        self._seen.clear()

    def settle(self) -> None:
        """Interrupt the running runs of processes that are gone, and take over their queued ones."""
        others = self._store.owners() - {self.name}
        for owner in others:
            try:
                with FileLock(self._path(owner, "lock"), timeout=0):
                    self._take_over(owner, PROCESS_ENDED)
                self._remove(owner)
            except Timeout:
                if self._is_silent(owner):
                    self._take_over(owner, SILENT)
        self._seen = {owner: seen for owner, seen in self._seen.items() if owner in others}

    def _take_over(self, owner: str, cause: str) -> None:
        last = self._store.last_ended(owner)
        interrupted = self._store.take_over(owner, self.name, cause)
        log.info("Process %s is gone; it left %d runs.", owner, len(interrupted))
        for run in interrupted:
            kept = self._store.checkpoint(run)
            tidy(self._runs / run, kept[0] if kept else None, parts=True)
        for run in last:
            if self._store.checkpoint(run) is None:
                tidy(self._runs / run)

    def _is_silent(self, owner: str) -> bool:
        """Whether its heartbeat file has not changed for too long, by this process's own clock."""
        try:
            beat = self._path(owner, "beat").stat().st_mtime_ns
        except OSError:
            return False  # it is unregistering right now
        now = time.monotonic()
        last, since = self._seen.get(owner, (None, now))
        if beat != last:
            since = now
        self._seen[owner] = beat, since
        return now - since > self._silence

    def _remove(self, owner: str) -> None:
        for kind in ("beat", "lock"):
            self._path(owner, kind).unlink(missing_ok=True)

    def _path(self, owner: str, kind: str) -> Path:
        return self._folder / f"{owner}.{kind}"


def is_living(folder: Path, name: str) -> bool:
    """Whether a process has a home folder open now. Args: folder: holds lock files; name: of the process."""
    path = folder / f"{name}.lock"
    if not path.exists():  # taking the lock would make it
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def living(folder: Path) -> list[str]:
    """Names of the processes that have a home folder open now. Args: folder: holds their lock files."""
    return [path.stem for path in sorted(folder.glob("*.lock")) if is_living(folder, path.stem)]


TICK_SECONDS = 1.0
"""Interval between two heartbeats of this process, and between two checks of its workers."""

PAUSE_SHARE = 0.25
"""Share of the time after which a worker counts as hanging. A tick that is this late means that the whole process was
paused, as by Ctrl-Z or a container's freezer, so its workers are not to blame."""


class Watchdog:
    """Checks the workers of this process, and recovers the runs of other processes that are gone."""

    def __init__(self, process: Process, workers: Workers, settle_seconds: float, hang_seconds: float) -> None:
        """Args:
        process: this process.
        workers: its worker threads.
        settle_seconds: interval between two checks for processes that are gone.
        hang_seconds: time without progress after which a thread or process counts as hanging.
        """
        self._process = process
        self._workers = workers
        self._settle_seconds = settle_seconds
        self._late_seconds = PAUSE_SHARE * hang_seconds
        self._failing: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ask the thread to end; a check in progress may still complete."""
        self._closing.set()

    def _watch(self) -> None:
        interval = min(TICK_SECONDS, self._settle_seconds)
        settled = last = time.monotonic()
        while not self._closing.wait(interval):
            now = time.monotonic()
            if now - last > interval + self._late_seconds:
                log.warning("This process was paused for %.0f seconds.", now - last)
                self._process.allow_for_pause()
                self._workers.allow_for_pause()
            last = now
            # One by one, so that a failure of one does not prevent the others.
            self._try("update its heartbeat", self._process.beat)
            self._try("check the worker threads", partial(self._workers.check, now))
            self._try("retry writes to the store", self._workers.writes.flush)
            if now - settled >= self._settle_seconds:
                settled = now
                self._try("recover runs of processes that are gone", self._process.settle)

    def _try(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            if what not in self._failing and not self._closing.is_set():
                log.exception("The watchdog could not %s; it keeps trying", what)
            self._failing.add(what)
        else:
            self._failing.discard(what)
