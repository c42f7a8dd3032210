"""The processes that use one home folder, and recovery of the runs of those that are gone.

A running process holds a file lock, which the operating system releases when the process ends for any reason. A process
that hangs or is suspended is recognised by its heartbeat file, which it no longer touches.
"""

from __future__ import annotations

import logging
import secrets
import time
from pathlib import Path

from filelock import FileLock, Timeout

from core.store.checkpoints import tidy
from core.store.store import Store

log = logging.getLogger(__name__)

ENDED = "Its process ended before it did: finish the run to go on."
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
                    self._take_over(owner, ENDED)
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
    found = []
    for path in sorted(folder.glob("*.lock")):
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            found.append(path.stem)
    return found
