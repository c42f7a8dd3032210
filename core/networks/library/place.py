"""Where a network is imported from: something with named files that can be read in pieces."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from core.errors import NetworkFileError, os_error_as, printable
from core.networks.library.files import ADAPTER, CONFIG, max_bytes_of
from core.numbers import listed

CHUNK = 2**20
"""Bytes per piece."""

LEVELS = 4
"""Levels of folders in which a config is looked for below one without it."""

MAX_LOOKED = 1000
"""Folders that are looked into for it."""

MAX_NAMED = 3
"""Folders with a config that are named."""


class Place(ABC):
    """Files of one network, before they are in the library."""

    what: str
    """Subject of error messages, as in ``The folder minilm``."""
    origin: str
    """Where it is, for the card."""
    revision: str = ""
    licence: str = ""
    """Where it states one beside the README."""
    key: str | None = None
    """Name under which a copy that was broken off can be continued; None if it begins anew."""

    @abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """Bytes of every file, by its name. Raises: NetworkFileError: the place cannot be read."""

    @abstractmethod
    def pieces(self, name: str, start: int = 0) -> Iterator[bytes]:
        """The content of a file, from a byte on. Raises: NetworkFileError: it cannot be read."""

    def read(self, name: str) -> bytes:
        """A file beside the weights as a whole. Raises: NetworkFileError: it is too large, or cannot be read."""
        limit, content = max_bytes_of(name), bytearray()
        for piece in self.pieces(name):
            content += piece
            if len(content) > limit:
                raise NetworkFileError(f"{self.what} has a {name:.80} of more than {limit // 2**20} MiB.")
        return bytes(content)

    def check_copy(self, name: str, path: Path) -> None:  # noqa: B027 - not every place states something
        """Compare a copy with what the place states of the file; by default it states nothing.

        Raises:
            NetworkFileError: they differ.
        """


class FolderPlace(Place):
    """A folder on this machine, or the only one below it that has a config."""

    def __init__(self, folder: Path, what: str = "", origin: str = "folder", revision: str = "") -> None:
        """Args:
        folder: with the files, at its top or in one folder.
        what: subject of error messages.
        origin: where the network comes from, for its card.
        revision: version of what it comes from.
        """
        self.folder, inside = folder, Path()
        if not any(os.path.isfile(folder / name) for name in (CONFIG, ADAPTER)):
            below, is_all = self._below()
            if is_all and len(below) == 1:
                inside = below[0]
        self.folder = folder / inside
        self.what = what or f"The folder {printable(str(folder.name / inside), 60)}"
        self.origin = origin
        self.revision = revision

    def sizes(self) -> Mapping[str, int]:
        with os_error_as(NetworkFileError, f"{self.what} cannot be read"), os.scandir(self.folder) as entries:
            found = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        if not {CONFIG, ADAPTER} & found.keys() and (below := self._below()[0]):
            named = [printable(str(inside), 200) for inside in below[:MAX_NAMED]]
            raise NetworkFileError(
                f"{self.what} has no {CONFIG}, and {listed(named)} below it "
                + (
                    "has one: give the path of it."
                    if len(below) == 1
                    else "have one each: give the path of one of them."
                )
            )
        return found

    def _below(self) -> tuple[list[Path], bool]:
        """The folders below that have a config, by their paths from here, the nearest first; and whether none was left
        out for lack of time.
        """
        found, walked = [], os.walk(self.folder)
        for path, folders, files in islice(walked, MAX_LOOKED):
            inside = Path(path).relative_to(self.folder)
            if CONFIG in files:
                found.append(inside)
            folders[:] = [] if CONFIG in files or len(inside.parts) == LEVELS else sorted(folders)
        return sorted(found, key=lambda inside: (len(inside.parts), inside)), next(walked, None) is None

    def pieces(self, name: str, start: int = 0) -> Iterator[bytes]:
        read = os_error_as(NetworkFileError, f"{self.what} cannot be read: {name:.80}")
        with read, (self.folder / name).open("rb") as file:
            file.seek(start)
            while piece := file.read(CHUNK):
                yield piece
