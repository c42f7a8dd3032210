"""Zips with an index: JSON that says what the zip is, with the SHA-256 of each other entry."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import JobFileError, LabError
from core.files import written_atomically
from core.zip_file import UntrustedZip, ZipLimits, write_zip

ENTRIES = 2**17
"""Maximum number of entries; a run has up to three, so that more runs fit than an experiment may have."""

UNPACKED = 2**34
"""Bytes to which a file that somebody has compressed may unpack. Our own are not, so that none is refused."""


def indexed(
    entries: Iterable[tuple[str, bytes]], name: str, index: Callable[[], dict[str, Any]]
) -> Iterator[tuple[str, bytes]]:
    """Pass entries on, and then their index.

    Args:
        entries: names and contents.
        name: of the index.
        index: what it says, ``format`` among it; asked when all entries have been passed on.
    """
    hashes = {}
    for entry, content in entries:
        hashes[entry] = hashlib.sha256(content).hexdigest()
        yield entry, content
    yield name, json.dumps(index() | {"sha256": hashes}, indent=1).encode()


def write_file(path: Path, entries: Iterable[tuple[str, bytes]]) -> None:
    """Write such a zip, whole or not at all. Raises: JobFileError: it cannot be written."""
    try:
        with written_atomically(path) as file:
            write_zip(file, entries)
    except LabError:
        raise
    except OSError as error:
        raise JobFileError(f"{path} cannot be written: {error.strerror or error}.") from error


class HashedZip:
    """A zip that :func:`indexed` made, from outside."""

    def __init__(self, content: bytes | BinaryIO, name: str, form: str, what: str, maker: str) -> None:
        """Open it and read its index.

        Args:
            content: the file; one that is open stays so as long as entries are read.
            name: of the index.
            form: the format that the index must name.
            what: what it is, as in ``file of jobs``.
            maker: the command that writes such files.

        Raises:
            JobFileError: it is not such a file, is damaged, or is of another version.
        """
        size = len(content) if isinstance(content, bytes) else content.seek(0, os.SEEK_END)
        limits = ZipLimits(ENTRIES, max(UNPACKED, size))
        self._archive = UntrustedZip(content, limits, f"The {what}", JobFileError)
        self._what = what
        self._infos = {info.filename: info for info in self._archive.entries}
        if name not in self._infos:
            raise JobFileError(f"This is not a {what}: `python -m core {maker}` writes them.")
        try:
            self.index: dict[str, Any] = json.loads(self._archive.read(self._infos.pop(name)))
            found = self.index["format"]
            self._hashes: dict[str, object] = dict(self.index.get("sha256", {}))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise self.damaged() from error
        if found != form:
            raise JobFileError(f"This {what} has the format {found!r:.80}, not {form!r}.")

    def entries(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents of the other entries. Raises: JobFileError: one is not what was written."""
        for name, info in self._infos.items():
            content = self._archive.read(info)
            if hashlib.sha256(content).hexdigest() != self._hashes.get(name):
                raise JobFileError(f"This {self._what} is damaged: {name} is not what was written.")
            yield name, content

    def damaged(self) -> JobFileError:
        """The error for an index that does not say what it should."""
        return JobFileError(f"This {self._what} is damaged, or of another version of LoRA Lab.")
