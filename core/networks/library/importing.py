"""Importing one network: its files are copied to a temporary folder, checked, and moved into place as a whole."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from core.errors import NetworkFileError, StorageFullError, os_error_as, printable
from core.files import flush, put_in_place, sha256_of
from core.memory import free_bytes
from core.networks.library.card import MAX_NAME, NetworkCard, read_card, write_card
from core.networks.library.check import inspect
from core.networks.library.files import (
    CONFIG,
    INDEX,
    README,
    NetworkFiles,
    check_kind,
    check_tokenizer,
    choose,
    digest_of,
    licence_in,
    max_bytes_of,
    name_in,
    with_shards,
)
from core.networks.library.place import BrokenOffError, Place
from core.networks.transformer import TransformerSpec

SLACK = 2**26
"""Bytes of the disk that stay free."""

COPIED = 0.9
"""Share of the progress that copying takes; the rest is for the checks."""

PARTIAL = "partial"
"""Name of the folder beside the networks in which they arrive."""

LOCK = ".lock"

MIN_AGE = 60.0
"""Seconds that nothing is cleaned: a process may just have made it, and not locked it yet."""

KEPT = 7 * 24 * 3600.0
"""Seconds that a broken-off download is kept, so that it can be continued."""

RESUMED = "resumed-"
"""Prefix of the names of folders with a download that can be continued."""


def import_from(
    networks: Path,
    check_room: Callable[[int], None],
    place: Place,
    name: str,
    progress: Callable[[float], None] | None = None,
    stop: threading.Event | None = None,
) -> NetworkCard:
    """Copy, check and keep the files of a network, completely or not at all.

    Args:
        networks: the library's folder.
        check_room: called with the network's bytes; raises StorageFullError if the home folder has no room for them.
        place: where it is.
        name: of the network; empty for one by its config. One that is in the library already keeps its own.
        progress: called with the fraction that is done, 0 to 1.
        stop: once set, importing ends at the next piece.

    Raises:
        NetworkFileError: a file is missing, damaged or too large; or it was stopped, or the connection was lost.
        StorageFullError: there is no room for it.
    """
    what, sizes = place.what, place.sizes
    files = choose(sizes, what)
    _check_sizes(place, files, networks, check_room)
    clean(networks)
    with (
        os_error_as(NetworkFileError, f"{what} could not be saved", "Free some space, then import it again."),
        arriving(networks, what, place.key) as folder,
    ):
        copy = _Copying(place, folder, sum(sizes[file] for file in files.kept), progress, stop or threading.Event())
        # What the cheap checks need is copied first: they find what is wrong with most networks. What reads no texts
        # has no tokenizer either, so its kind comes before that.
        copy(CONFIG)
        config = check_kind((folder / CONFIG).read_bytes(), what)
        check_tokenizer(files, what)
        if INDEX in files.texts:
            copy(INDEX)
            files = with_shards(files, (folder / INDEX).read_bytes(), sizes, what)
            _check_sizes(place, files, networks, check_room)
        licence = ""
        if 0 < sizes.get(README, 0) <= max_bytes_of(README):
            copy(README)
            licence = licence_in((folder / README).read_bytes())
        for file in files.kept:
            copy(file)
        copy.check_stopped()
        found = inspect(folder, files, what)
        hashes = {file: sha256_of(folder / file) for file in files.all}
        card = NetworkCard(
            digest=digest_of(hashes),
            name=printable(name or name_in(config), MAX_NAME) or "network",
            revision=place.revision,
            origin=place.origin,
            licence=licence,
            bytes=sum(sizes[file] for file in files.all),
            files=hashes,
            brought=time.time(),
            **dataclasses.asdict(found),
        )
        copy.check_stopped()
        card = _put(card, files, folder, networks / card.digest)
    if progress:
        progress(1.0)
    return card


def _put(card: NetworkCard, files: NetworkFiles, folder: Path, final: Path) -> NetworkCard:
    """Move the files of a network to their place, unless the same files are there. Returns: its card there."""
    with suppress(NetworkFileError, OSError):
        there = read_card(final)
        if all(sha256_of(final / file) == sha256 for file, sha256 in card.files.items()):
            for file in files.beside:
                (folder / file).replace(final / file)
            return there
    staged = folder / card.digest
    staged.mkdir(exist_ok=True)
    for file in files.kept:
        (folder / file).rename(staged / file)
    write_card(staged, card)
    flush(staged)
    put_in_place(staged, final)
    flush(final.parent)
    return card


class _Copying:
    """Copies files of a place to a folder, none twice, and tells how much of all is there."""

    def __init__(
        self, place: Place, folder: Path, total: int, progress: Callable[[float], None] | None, stop: threading.Event
    ) -> None:
        """Args: total: bytes of all files; the others: see :func:`import_from`."""
        self._place, self._folder, self._total, self._progress, self._stop = place, folder, total, progress, stop
        self._copied: set[str] = set()
        self._done = self._left = 0

    def __call__(self, file: str) -> None:
        """Copy a file. Raises: NetworkFileError: it cannot be read, is not what it should be, or it was stopped."""
        if file in self._copied:
            return
        self._left = self._place.sizes[file]
        path = self._folder / file
        self._place.copy(file, path, self._told)
        if self._left:
            raise NetworkFileError(f"{self._place.what} became smaller while it was copied: import it again.")
        with path.open("rb") as copied:
            os.fsync(copied.fileno())
        self._copied.add(file)

    def _told(self, count: int) -> None:
        self.check_stopped()
        self._left -= count
        self._done += count
        if self._left < 0:
            raise NetworkFileError(f"{self._place.what} sends more than it has: try again.")
        if self._progress:
            self._progress(COPIED * min(1.0, self._done / max(self._total, 1)))

    def check_stopped(self) -> None:
        """Raises: BrokenOffError: it is to be stopped."""
        if self._stop.is_set():
            raise BrokenOffError(f"{self._place.what} was not imported: it was stopped.")


def _check_sizes(place: Place, files: NetworkFiles, networks: Path, check_room: Callable[[int], None]) -> None:
    """Check a network against the limits of the family, of memory, of the home folder and of the disk.

    Raises:
        NetworkFileError: it is larger than any network may be, or than the memory that is free.
        StorageFullError: there is no room.
    """
    what, sizes = place.what, place.sizes
    size, weights = sum(sizes[file] for file in files.kept), sum(sizes[file] for file in files.weights)
    if size > TransformerSpec.max_bytes:
        raise NetworkFileError(
            f"{what} has {size / 1e9:.1f} GB, more than the {TransformerSpec.max_bytes / 1e9:.1f} GB that a network "
            "may have: choose a smaller one."
        )
    for file in (*files.texts, *files.beside):
        if sizes[file] > max_bytes_of(file):
            raise NetworkFileError(
                f"{what} has a {file} of more than {max_bytes_of(file) // 2**20} MiB: choose another network."
            )
    if weights > (memory := free_bytes(torch.device("cpu"))):
        raise NetworkFileError(
            f"{what} has {weights / 1e9:.1f} GB of weights, but {memory / 1e9:.1f} GB of memory are free on this "
            "machine: choose a smaller network."
        )
    check_room(size)
    folder = next(path for path in (networks, *networks.parents) if path.exists())
    if size > (free := shutil.disk_usage(folder).free - SLACK):
        raise StorageFullError(
            f"{what} has {size / 1e9:.2f} GB, but {max(free, 0) / 1e9:.2f} GB are free on the disk of LoRA Lab: make "
            "room, then import it again."
        )


@contextmanager
def arriving(networks: Path, what: str, key: str = "") -> Iterator[Path]:
    """A folder for a network that arrives, locked while it is in use.

    It is deleted afterwards, except one with a ``key`` that was left because importing was broken off.

    Args:
        networks: the library's folder.
        what: subject of error messages.
        key: name under which importing can be continued; empty for a new folder.

    Raises:
        NetworkFileError: it is being imported already.
        OSError: the folder cannot be made.
    """
    folder = networks / PARTIAL / (RESUMED + key if key else secrets.token_hex(8))
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise NetworkFileError(f"{what} is being imported already: wait until that has finished.") from error
    is_kept = False
    try:
        yield folder
    except BrokenOffError:
        is_kept = bool(key)
        raise
    finally:
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def clean(networks: Path) -> None:
    """Delete what processes that were killed have left, and downloads that nobody continued for a week."""
    for folder in (networks / PARTIAL).glob("*/"):
        with suppress(OSError):  # another process has it, or has just deleted it
            age = time.time() - folder.stat().st_mtime
            if age > (KEPT if folder.name.startswith(RESUMED) else MIN_AGE):
                with FileLock(folder / LOCK, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
