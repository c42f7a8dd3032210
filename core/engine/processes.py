"""Which processes hold runs of one home folder, and which of them are still there.

A living process holds a lock that the operating system drops when it ends, however it ends. One that lives but
does nothing, as when it was suspended, is told by a file that it no longer touches.
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

ENDED = "Its process ended before it did: resume the run to go on."
ASLEEP = "Its process does not answer any more: resume the run to go on."


class Owner:
    """A process among those that use the home folder: the one that makes this."""

    def __init__(self, folder: Path, runs: Path, store: Store, silence: float) -> None:
        """Args:
        folder: with a lock and a sign of life for each process.
        runs: with one folder a run.
        store: of the runs.
        silence: seconds without a sign of life after which a process is taken for gone.
        """
        self.name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
        self._folder = folder
        self._runs = runs
        self._store = store
        self._silence = silence
        # Not of a thread: a server opens the lab in one and closes it in another.
        self._lock = FileLock(self._path(self.name, "lock"), thread_local=False)
        self._seen: dict[str, tuple[int, float]] = {}

    def enter(self) -> None:
        """Be known as alive from now on."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(timeout=0)
        self._path(self.name, "beat").touch()

    def leave(self) -> None:
        """Be gone."""
        self._lock.release()
        self._remove(self.name)

    def beat(self) -> None:
        """Give a sign of life; where somebody removed this process's files, make them again."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._path(self.name, "lock").exists():
            self._lock.release()
            self._lock.acquire(timeout=0)
        self._path(self.name, "beat").touch()

    def allow_for_pause(self) -> None:
        """Count the silence of others from now on: while this process was paused, nobody was listening."""
        self._seen.clear()

    def settle(self) -> None:
        """Interrupt the runs of processes that are gone, and take over what waits with them."""
        others = self._store.owners() - {self.name}
        for owner in others:
            try:
                with FileLock(self._path(owner, "lock"), timeout=0):
                    self._take_over(owner, ENDED)
                self._remove(owner)
            except Timeout:
                if self._is_silent(owner):
                    self._take_over(owner, ASLEEP)
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
        """Whether its sign of life has stayed the same for too long, by this process's own clock."""
        try:
            beat = self._path(owner, "beat").stat().st_mtime_ns
        except OSError:
            return False  # it is just leaving
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


def living(folder: Path) -> list[str]:
    """Names of the processes that have a home folder open now. Args: folder: of their locks."""
    found = []
    for path in sorted(folder.glob("*.lock")):
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            found.append(path.stem)
    return found
