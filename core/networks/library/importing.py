"""Importing one network: its files are copied to a temporary folder, checked, and moved into place as a whole."""

from __future__ import annotations

import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from core.errors import NetworkFileError, StorageFullError, os_error_as, printable
from core.files import flush, put_in_place, sha256_of
from core.memory import free_bytes
from core.networks.library.card import MAX_NAME, NetworkCard, read_card, write_card
from core.networks.library.check import inspect
from core.networks.library.config import check_kind, name_in
from core.networks.library.files import (
    CONFIG,
    INDEX,
    README,
    NetworkFiles,
    check_tokenizer,
    choose,
    digest_of,
    licence_in,
    max_bytes_of,
    with_shards,
)
from core.networks.library.partial import BrokenOffError, arriving, clean
from core.networks.library.place import Place
from core.networks.transformer import TransformerSpec
from core.settings import Settings

SLACK = 2**26
"""Bytes of the disk that stay free."""

COPIED = 0.9
"""Share of the progress that copying takes; the rest is for the checks."""


class Importing:
    """One network on its way into the library."""

    def __init__(
        self,
        settings: Settings,
        place: Place,
        check_room: Callable[[int], None],
        progress: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Args:
        settings: the home folder.
        place: where the network is.
        check_room: called with the network's bytes; raises StorageFullError if the home folder has no room for them.
        progress: called with the fraction that is done, 0 to 1.
        stop: once set, bringing ends at the next piece.
        """
        self._settings = settings
        self._place = place
        self._check_room = check_room
        self._progress = progress or (lambda share: None)
        self._stop = stop or threading.Event()

    def run(self, name: str) -> NetworkCard:
        """Copy, check and keep the files, completely or not at all.

        Args:
            name: of the network; empty for one by its config. One that is in the library already keeps its own.

        Raises:
            NetworkFileError: a file is missing, damaged or too large; or it was stopped, or the connection was lost.
            StorageFullError: there is no room for it.
        """
        place = self._place
        sizes = place.sizes()
        files = choose(sizes.keys(), place.what)
        # The cheap checks come before anything is copied: they find what is wrong with most networks. What reads no
        # texts has no tokenizer either, so its kind comes first.
        config = check_kind(place.read(CONFIG), place.what)
        check_tokenizer(files, place.what)
        if INDEX in files.texts:
            files = with_shards(files, place.read(INDEX), sizes.keys(), place.what)
        self._check_sizes({file: sizes[file] for file in files.kept}, files)
        licence = licence_in(place.read(README)) if README in sizes else ""
        clean(self._settings.networks)
        with (
            os_error_as(NetworkFileError, f"{place.what} could not be saved", "Free some space, then import it again."),
            arriving(self._settings.networks, place.key, place.what) as folder,
        ):
            self._copy(folder, files, sizes)
            return self._keep(folder, files, name or name_in(config), licence or place.licence)

    def _check_sizes(self, sizes: Mapping[str, int], files: NetworkFiles) -> None:
        """Check the network against the limits of the family, of memory, of the home folder and of the disk.

        Raises:
            NetworkFileError: it is larger than any network may be, or than the memory that is free.
            StorageFullError: there is no room.
        """
        what, size = self._place.what, sum(sizes.values())
        if size > TransformerSpec.max_bytes:
            raise NetworkFileError(
                f"{what} has {size / 1e9:.1f} GB, more than the {TransformerSpec.max_bytes / 1e9:.1f} GB that a "
                "network may have: choose a smaller one."
            )
        for file in (*files.texts, *files.beside):
            if sizes[file] > max_bytes_of(file):
                raise NetworkFileError(
                    f"{what} has a {file} of more than {max_bytes_of(file) // 2**20} MiB: choose another network."
                )
        weights, memory = sum(sizes[file] for file in files.weights), free_bytes(torch.device("cpu"))
        if weights > memory:
            raise NetworkFileError(
                f"{what} has {weights / 1e9:.1f} GB of weights, but {memory / 1e9:.1f} GB of memory are free on this "
                "machine: choose a smaller network."
            )
        self._check_room(size)
        folder = next(path for path in (self._settings.networks, *self._settings.networks.parents) if path.exists())
        free = shutil.disk_usage(folder).free - SLACK
        if size > free:
            raise StorageFullError(
                f"{what} has {size / 1e9:.2f} GB, but {max(free, 0) / 1e9:.2f} GB are free on the disk of LoRA Lab: "
                "make room, then import it again."
            )

    def _copy(self, folder: Path, files: NetworkFiles, sizes: Mapping[str, int]) -> None:
        """Copy all files into a folder, from where an earlier copy was broken off."""
        for path in folder.iterdir():
            if path.is_dir():  # of a process that was killed when it moved the files into place
                shutil.rmtree(path)
            elif path.name not in files.kept:  # of another revision
                path.unlink()
        done, total = 0, sum(sizes[file] for file in files.kept) or 1
        for file in files.kept:
            path, size = folder / file, sizes[file]
            start = path.stat().st_size if path.exists() else 0
            if start > size:
                path.unlink()
                start = 0
            copied = start
            with path.open("ab") as copy:
                # Also asked for when nothing is left, so that the copy is checked.
                for piece in self._place.pieces(file, start) if start < size else ():
                    self._check_stopped()
                    copied += len(piece)
                    if copied > size:
                        raise NetworkFileError(f"{self._place.what} sends more of {file:.80} than it has: try again.")
                    copy.write(piece)
                    self._progress(COPIED * (done + copied) / total)
                copy.flush()
                os.fsync(copy.fileno())
            if copied < size:
                raise NetworkFileError(f"{self._place.what} became smaller while it was copied: import it again.")
            self._place.check_copy(file, path)
            done += size

    def _keep(self, folder: Path, files: NetworkFiles, name: str, licence: str) -> NetworkCard:
        """Check the files in a folder of the library's disk, and move them to their place.

        Raises:
            NetworkFileError: a file is damaged, or the parts do not fit together.
            OSError: the disk is full or not writable.
        """
        found = inspect(folder, files, self._place.what, self._check_stopped)
        hashes = {file: sha256_of(folder / file) for file in files.all}
        card = NetworkCard(
            digest=digest_of(hashes),
            name=printable(name, MAX_NAME) or "network",
            revision=self._place.revision,
            origin=self._place.origin,
            licence=licence,
            bytes=sum((folder / file).stat().st_size for file in files.all),
            files=hashes,
            brought=time.time(),
            **dataclasses.asdict(found),
        )
        self._check_stopped()
        final = self._settings.networks / card.digest
        if is_whole(final, card):
            card = read_card(final)
            for file in files.beside:
                (folder / file).replace(final / file)
        else:
            staged = folder / card.digest
            staged.mkdir()
            for file in files.kept:
                (folder / file).rename(staged / file)
            write_card(staged, card)
            flush(staged)
            put_in_place(staged, final)
            flush(final.parent)
        self._progress(1.0)
        return card

    def _check_stopped(self) -> None:
        """Raises: BrokenOffError: it is to be stopped."""
        if self._stop.is_set():
            raise BrokenOffError(f"{self._place.what} was not imported: it was stopped.")


def is_whole(folder: Path, card: NetworkCard) -> bool:
    """Whether the library has these files already, unchanged."""
    try:
        return read_card(folder).files == card.files and all(
            sha256_of(folder / file) == sha256 for file, sha256 in card.files.items()
        )
    except (NetworkFileError, OSError):
        return False
