"""A network in a zip file, read within bounds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from core.errors import NetworkFileError, printable
from core.networks.library.files import ADAPTER, CONFIG
from core.networks.library.place import Place
from core.networks.transformer import TransformerSpec
from core.zip_file import UntrustedZip, ZipEntry, ZipLimits

MAX_UPLOAD = 256 * 2**20
"""Maximum size of a zip that is uploaded to a page, which is in memory until the page is closed; the server's limit for
uploads (``maxUploadSize``) is the same. A zip on this machine is read from its file, and is as large as a network may
be."""

MAX_FRAME = 2**24
"""Bytes that a zip may have besides the files in it."""

MAX_ENTRIES = 1000

ZIP = ".zip"


def is_zip(path: Path) -> bool:
    """Whether a path is that of a file whose name ends like that of a zip."""
    return path.name.lower().endswith(ZIP) and path.is_file()


def stem_of(file: str) -> str:
    """The name of a file without the ending of a zip, in any case."""
    return file[: -len(ZIP)] if file.lower().endswith(ZIP) else file


def is_place(path: Path) -> bool:
    """Whether a network may be at a path of this machine: a folder or a zip."""
    return path.is_dir() or is_zip(path)


class ZipPlace(Place):
    """A zip with a network's files, at its top or in one folder."""

    origin = "zip"

    def __init__(self, content: bytes | BinaryIO, name: str) -> None:
        """Args:
        content: the zip, or an open file with it.
        name: of the file, for messages.

        Raises:
            NetworkFileError: not a zip, damaged, too large, or unsafe.
        """
        self.what = f"The zip {printable(name, 60)}"
        size = len(content) if isinstance(content, bytes) else content.seek(0, os.SEEK_END)
        if size > TransformerSpec.max_bytes + MAX_FRAME:
            raise NetworkFileError(
                f"{self.what} has {size / 1e9:.1f} GB, more than the {TransformerSpec.max_bytes / 1e9:.1f} GB that a "
                "network may have: choose a smaller one."
            )
        limits = ZipLimits(MAX_ENTRIES, TransformerSpec.max_bytes)
        self._zip = UntrustedZip(content, limits, self.what, NetworkFileError)
        # The config that is nearest to the top: some people zip the folder, some what is in it.
        names = [entry.name for entry in self._zip.entries]
        configs = [name for name in names if name.rpartition("/")[2] == CONFIG]
        configs = configs or [name for name in names if name.rpartition("/")[2] == ADAPTER]
        folder = min(configs, key=lambda path: (path.count("/"), path), default="").rpartition("/")[0]
        inside = f"{folder}/" if folder else ""
        self._entries: dict[str, ZipEntry] = {
            entry.name.removeprefix(inside): entry for entry in self._zip.entries if entry.name.startswith(inside)
        }

    def sizes(self) -> Mapping[str, int]:
        return {name: entry.size for name, entry in self._entries.items() if "/" not in name}

    def pieces(self, name: str, start: int = 0) -> Iterator[bytes]:
        skipped = 0
        for chunk in self._zip.chunks(self._entries[name]):
            yield chunk[max(0, start - skipped) :]
            skipped += len(chunk)
