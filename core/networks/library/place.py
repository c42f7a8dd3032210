"""Where a network is imported from: a folder or a zip on this machine, or a repository (``hub.py``)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.errors import NetworkFileError, os_error_as, printable
from core.networks.library.files import ADAPTER, CONFIG
from core.networks.transformer import TransformerSpec
from core.numbers import listed
from core.zip_file import UntrustedZip, ZipLimits

CHUNK = 2**20
"""Bytes that are copied at once."""

MAX_UPLOAD = 256 * 2**20
"""Maximum size of a zip that is uploaded to a page, which is in memory until the page is closed; the server's limit for
uploads (``maxUploadSize``) is the same. A zip on this machine is read from its file, and is as large as a network may
be."""

MAX_ENTRIES = 1000

MAX_NAMED = 3
"""Folders with a config that are named."""

ZIP = ".zip"

Told = Callable[[int], None]
"""Called with the number of bytes that were copied since the last call; what it raises ends the copy."""


class BrokenOffError(NetworkFileError):
    """Importing was stopped, or the connection was lost; it can be continued."""


@dataclass(frozen=True)
class Place:
    """Files of one network, before they are in the library."""

    what: str
    """Subject of error messages, as in ``The folder minilm``."""
    origin: str
    """Where it is, for the card."""
    sizes: Mapping[str, int]
    """Bytes of every file, by its name."""
    copy: Callable[[str, Path, Told], None]
    """Copies the file of a name to a path. Raises: NetworkFileError: it cannot be read, or is damaged."""
    revision: str = ""
    key: str = ""
    """Name under which a copy that was broken off can be continued; empty if it begins anew."""


def is_zip(path: Path) -> bool:
    """Whether a path is that of a file whose name ends like that of a zip."""
    return path.name.lower().endswith(ZIP) and path.is_file()


def stem_of(file: str) -> str:
    """The name of a file without the ending of a zip, in any case."""
    return file[: -len(ZIP)] if file.lower().endswith(ZIP) else file


def is_place(path: Path) -> bool:
    """Whether a network may be at a path of this machine: a folder or a zip."""
    return path.is_dir() or is_zip(path)


def folder_place(folder: Path, what: str = "", origin: str = "folder", revision: str = "") -> Place:
    """A folder on this machine, or the only one in it that has a config.

    Args:
        folder: with the files.
        what: subject of error messages.
        origin: where the network comes from, for its card.
        revision: version of what it comes from.

    Raises:
        NetworkFileError: it cannot be read, or several folders in it have a config.
    """
    named = what or f"The folder {printable(folder.name, 60)}"
    with os_error_as(NetworkFileError, f"{named} cannot be read"):
        if not any(os.path.isfile(folder / name) for name in (CONFIG, ADAPTER)) and (below := _below(folder)):
            if len(below) > 1:
                shown = listed([printable(str(path.relative_to(folder)), 200) for path in below[:MAX_NAMED]])
                raise NetworkFileError(
                    f"{named} has no {CONFIG}, and {shown} below it have one each: give the path of one of them."
                )
            folder = below[0]
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()}

    def pieces(name: str) -> Iterator[bytes]:
        read = os_error_as(NetworkFileError, f"{named} cannot be read: {name:.80}")
        with read, (folder / name).open("rb") as file:
            while piece := file.read(CHUNK):
                yield piece

    return Place(named, origin, sizes, partial(_copy, pieces), revision)


def _copy(pieces: Callable[[str], Iterator[bytes]], name: str, path: Path, told: Told) -> None:
    with path.open("wb") as target:
        for piece in pieces(name):
            told(len(piece))
            target.write(piece)


def _below(folder: Path) -> list[Path]:
    """The folders nearest below that have a config, at most two levels down."""
    for pattern in (f"*/{CONFIG}", f"*/*/{CONFIG}"):
        if found := [path.parent for path in sorted(folder.glob(pattern))]:
            return found
    return []


@contextmanager
def zip_place(content: bytes | Path, name: str) -> Iterator[Place]:
    """A zip with a network's files, at its top or in one folder, that is open as long as they are copied.

    Args:
        content: the zip, or where it is on this machine.
        name: of the file, for messages.

    Raises:
        NetworkFileError: not a zip, damaged, too large, or unsafe.
    """
    what = f"The zip {printable(name, 60)}"
    with os_error_as(NetworkFileError, f"{what} cannot be read"), ExitStack() as files:
        file = content if isinstance(content, bytes) else files.enter_context(content.open("rb"))
        opened = UntrustedZip(file, ZipLimits(MAX_ENTRIES, TransformerSpec.max_bytes), what, NetworkFileError)
        # The config that is nearest to the top: some people zip the folder, some what is in it.
        paths = [entry.name for entry in opened.entries]
        configs = [path for name in (CONFIG, ADAPTER) for path in paths if path.rpartition("/")[2] == name]
        inside = min(configs, key=lambda path: (path.endswith(ADAPTER), path.count("/"), path), default="")
        folder = inside[: inside.rfind("/") + 1]
        entries = {entry.name.removeprefix(folder): entry for entry in opened.entries if entry.name.startswith(folder)}
        sizes = {name: entry.size for name, entry in entries.items() if "/" not in name}
        yield Place(what, "zip", sizes, partial(_copy, lambda name: opened.chunks(entries[name])))
