"""Folders in which networks arrive, and what processes that were killed have left there."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import NetworkFileError

PARTIAL = "partial"
"""Name of the folder beside the networks."""

LOCK = ".lock"

MIN_AGE = 60.0
"""Seconds that nothing is cleaned: a process may just have made it, and not locked it yet."""

KEPT = 7 * 24 * 3600.0
"""Seconds that a broken-off download is kept, so that it can be continued."""

RESUMED = "resumed-"
"""Prefix of the names of folders with a download that can be continued."""


@contextmanager
def arriving(networks: Path, key: str | None, what: str) -> Iterator[Path]:
    """A folder for a network that arrives, locked while it is in use.

    It is deleted afterwards, except one with a ``key`` that was left because bringing was broken off.

    Args:
        networks: the library's folder.
        key: name under which bringing can be continued; None for a new folder.
        what: subject of error messages.

    Raises:
        NetworkFileError: it is being imported already.
        OSError: the folder cannot be made.
    """
    place = networks / PARTIAL / (secrets.token_hex(8) if key is None else RESUMED + key)
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.with_name(place.name + LOCK), timeout=0)
    busy = f"{what} is being imported already: wait until that has finished."
    try:
        lock.acquire()
    except Timeout as error:
        raise NetworkFileError(busy) from error
    try:
        if not Path(lock.lock_file).exists():  # whoever had the lock has deleted it just now, and another may have it
            raise BrokenOffError(busy)
        place.mkdir(exist_ok=True)
        yield place
    except BrokenOffError:
        if key is None:
            shutil.rmtree(place, ignore_errors=True)
        raise
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    else:
        shutil.rmtree(place, ignore_errors=True)
    finally:
        if not place.exists():
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


class BrokenOffError(NetworkFileError):
    """Importing was stopped, or the connection was lost; it can be continued."""


def clean(networks: Path) -> None:
    """Delete what processes that were killed have left, and downloads that nobody continued for a week."""
    with contextlib.suppress(OSError):
        for path in list((networks / PARTIAL).iterdir()):
            if path.name.endswith(LOCK):
                continue
            age = time.time() - path.stat().st_mtime
            if age > (KEPT if path.name.startswith(RESUMED) else MIN_AGE):
                _delete_unlocked(path)


def discard(networks: Path, key: str) -> None:
    """Delete what was received of a network, unless it is being imported."""
    path = networks / PARTIAL / (RESUMED + key)
    if path.exists():
        _delete_unlocked(path)


def received(networks: Path, key: str) -> int:
    """Bytes that a broken-off download has left; 0 if there is none."""
    try:
        with os.scandir(networks / PARTIAL / (RESUMED + key)) as entries:
            return sum(entry.stat().st_size for entry in entries)
    except OSError:
        return 0


def _delete_unlocked(path: Path) -> None:
    lock = FileLock(path.with_name(path.name + LOCK), timeout=0)
    with contextlib.suppress(Timeout), lock:
        shutil.rmtree(path, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)
