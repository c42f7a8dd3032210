"""Bringing one network: its files are copied under a temporary name, checked, and moved into place as a whole."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from core.errors import NetworkFileError, StorageFullError
from core.files import sha256_of
from core.networks.library.card import NetworkCard, read_card, write_card
from core.networks.library.check import check_config, check_headers, inspect, read_text
from core.networks.library.files import CONFIG, INDEX, README, NetworkFiles, choose, digest_of, licence_in, with_shards
from core.networks.transformer import TransformerSpec
from core.settings import Settings

CHUNK = 2**20
"""Bytes to copy at once."""

MAX_NAME = 100
SLACK = 2**26
"""Bytes of the disk that stay free."""


class Bringing:
    """One network on its way into the library."""

    def __init__(
        self,
        settings: Settings,
        what: str,
        progress: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Args:
        settings: the home folder.
        what: subject of error messages, as in ``The folder minilm``.
        progress: called with the fraction that is done, 0 to 1.
        stop: once set, bringing ends at the next piece.
        """
        self._settings = settings
        self._what = what
        self._progress = progress or (lambda share: None)
        self._stop = stop or threading.Event()

    def check_stopped(self) -> None:
        """Raises: NetworkFileError: it is to be stopped."""
        if self._stop.is_set():
            raise NetworkFileError(f"{self._what} was not brought: it was stopped.")

    def from_folder(self, folder: Path, name: str, origin: str, revision: str = "") -> NetworkCard:
        """Copy, check and keep the files of a folder.

        Raises:
            NetworkFileError: a file is missing, damaged or too large, or it was stopped.
            StorageFullError: there is no room for it.
        """
        try:
            names = {entry.name for entry in os.scandir(folder) if entry.is_file()}
        except OSError as error:
            raise NetworkFileError(f"{self._what} cannot be read: {error.strerror}.") from error
        files = choose(names, self._what)
        if INDEX in files.texts:
            files = with_shards(files, read_text(folder / INDEX), names, self._what)
        # Before anything is copied: what is wrong with most networks is found without it.
        check_config(read_text(folder / CONFIG), check_headers(folder, files, self._what), self._what)
        sizes = {name: (folder / name).stat().st_size for name in files.all}
        self.check_room(sum(sizes.values()))
        licence = licence_in(read_text(folder / README)) if README in names else ""
        networks = self._settings.networks
        try:
            networks.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=networks, prefix=".brought.", suffix=".part") as place:
                staged = Path(place) / "files"
                staged.mkdir()
                done, total = 0, sum(sizes.values()) or 1
                for file in files.all:
                    done += self._copy(folder / file, staged / file, done, total)
                return self.keep(staged, files, name, origin, revision, licence)
        except OSError as error:
            raise NetworkFileError(f"{self._what} cannot be copied: {error.strerror or error}.") from error

    def check_room(self, size: int) -> None:
        """Check a network of so many bytes against the limits of the family, the home folder and the disk.

        Raises:
            NetworkFileError: it is larger than any network may be.
            StorageFullError: there is no room.
        """
        if size > TransformerSpec.max_bytes:
            raise NetworkFileError(
                f"{self._what} has {size / 1e9:.1f} GB, more than the {TransformerSpec.max_bytes / 1e9:.1f} GB that a "
                "network may have: choose a smaller one."
            )
        folder = next(path for path in (self._settings.networks, *self._settings.networks.parents) if path.exists())
        free = shutil.disk_usage(folder).free - SLACK
        if size > free:
            raise StorageFullError(
                f"{self._what} has {size / 1e9:.2f} GB, but only {max(free, 0) / 1e9:.2f} GB are free on this disk: "
                "make room, then bring it again."
            )

    def keep(
        self, staged: Path, files: NetworkFiles, name: str, origin: str, revision: str, licence: str
    ) -> NetworkCard:
        """Check the files of a folder on the library's disk, and move that folder to its place.

        Raises:
            NetworkFileError: a file is damaged, or the parts do not fit together.
            OSError: the disk is full or not writable.
        """
        found = inspect(staged, files, self._what, self.check_stopped)
        hashes = {file: sha256_of(staged / file) for file in files.all}
        card = NetworkCard(
            digest=digest_of(hashes),
            name=tidy(name),
            revision=revision,
            origin=origin,
            licence=licence,
            bytes=sum((staged / file).stat().st_size for file in files.all),
            files=hashes,
            brought=time.time(),
            **dataclasses.asdict(found),
        )
        self.check_stopped()
        final = self._settings.networks / card.digest
        write_card(staged, card)
        flush(staged)
        if final.exists() and self._is_whole(final, card):
            kept = dataclasses.replace(read_card(final), name=card.name)
            write_card(final, kept)
            self._progress(1.0)
            return kept
        put_in_place(staged, final)
        flush(final.parent)
        self._progress(1.0)
        return card

    def _is_whole(self, folder: Path, card: NetworkCard) -> bool:
        """Whether the library has these files already, unchanged."""
        try:
            return read_card(folder).files == card.files and all(
                sha256_of(folder / file) == sha256 for file, sha256 in card.files.items()
            )
        except (NetworkFileError, OSError):
            return False

    def _copy(self, source: Path, target: Path, before: int, total: int) -> int:
        """Copy one file and flush it; returns its bytes."""
        copied = 0
        with source.open("rb") as file, target.open("xb") as copy:
            while piece := file.read(CHUNK):
                self.check_stopped()
                copy.write(piece)
                copied += len(piece)
                if before + copied > total:
                    raise NetworkFileError(f"{self._what} changed while it was copied: bring it again.")
                self._progress(0.8 * (before + copied) / total)
            copy.flush()
            os.fsync(copy.fileno())
        return copied


def tidy(name: str) -> str:
    """A name as people may give one, without what cannot be printed."""
    return "".join(character for character in name if character.isprintable()).strip()[:MAX_NAME] or "network"


def flush(folder: Path) -> None:
    """Flush a folder, so that the names in it survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(staged: Path, final: Path) -> None:
    """Move a folder to its final name; one that is there already was damaged, unless another process was quicker."""
    try:
        staged.rename(final)
    except OSError:
        if not final.is_dir():
            raise
        final.rename(staged.parent / "before")
        staged.rename(final)
