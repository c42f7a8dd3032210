"""Turns of threads and processes of one home folder that write to the same tracker."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import TrackerError
from core.tracking.registry import Target


class Turns:
    """Lets one writer at a time write to a tracker, and tells it whether another one has written meanwhile."""

    def __init__(self, folder: Path, target: Target) -> None:
        """Args: folder: for the locks of all trackers; target: the tracker."""
        self._target = target
        name = hashlib.sha256(f"{target.kind}:{target.address}".encode()).hexdigest()[:16]
        self._lock_file, self._writer_file = folder / f"{name}.lock", folder / f"{name}.writer"
        self._own = secrets.token_hex(8)

    @contextmanager
    def turn(self, seconds: float) -> Iterator[bool]:
        """Hold the tracker.

        Args:
            seconds: maximum time to wait for others.

        Yields:
            Whether another one has written since the last turn.

        Raises:
            TrackerError: others wrote for that long, or the folder cannot be written.
        """
        try:
            self._lock_file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock_file, timeout=seconds)
            lock.acquire()
        except Timeout as error:
            raise TrackerError(f"Another writer holds {self._target.shown}: try again when it is done.") from error
        except OSError as error:
            raise TrackerError(f"{self._lock_file} cannot be written: {error.strerror or error}.") from error
        try:
            yield self._has_other_written()
        finally:
            lock.release()

    def _has_other_written(self) -> bool:
        """Whether another one has written last; from now on it is this one."""
        try:
            # Not durable: after a power cut there is no process that would remember anything.
            last = self._writer_file.read_text() if self._writer_file.exists() else ""
            if last != self._own:
                self._writer_file.write_text(self._own)
        except OSError as error:
            raise TrackerError(f"{self._writer_file} cannot be written: {error.strerror or error}.") from error
        return last != self._own
