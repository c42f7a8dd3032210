"""Zips with an index: JSON that says what the zip is, with the SHA-256 of each other entry."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import JobFileError, JsonError, LabError
from core.files import written_atomically
from core.reader.json_text import json_value
from core.zip_file import UntrustedZip, ZipLimits, write_zip

ENTRIES = 2**17
"""Maximum number of entries; a run has up to three, so that more runs fit than an experiment may have."""

MIN_UNPACKED = 2**30
"""Bytes to which a small file may unpack."""
MAX_GROWTH = 4
"""Size to which a larger one may unpack, in sizes of the file. Our own are not compressed; weights hardly can be."""

MAX_INDEX = 2**27
"""Bytes of an index, and of the values in it the maximum number: of a thousand runs with 200 epochs."""
MAX_VALUES = 2_000_000


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
        limits = ZipLimits(ENTRIES, max(MIN_UNPACKED, MAX_GROWTH * size))
        self._archive = UntrustedZip(content, limits, f"The {what}", JobFileError)
        self._what = what
        self._entries = {entry.name: entry for entry in self._archive.entries}
        if name not in self._entries:
            raise JobFileError(f"This is not a {what}: `python -m core {maker}` writes them.")
        index = self._entries.pop(name)
        if index.size > MAX_INDEX:
            raise JobFileError(f"The index of this {what} has more than {MAX_INDEX // 2**20} MiB: write it again.")
        try:
            self.index: dict[str, Any] = json_value(self._archive.read(index), MAX_VALUES)
            found = self.index["format"]
            self._hashes: dict[str, object] = dict(self.index.get("sha256", {}))
        except JsonError as error:
            raise JobFileError(f"The index of this {what} is {error}.") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise self.damaged() from error
        if found != form:
            raise JobFileError(f"This {what} has the format {found!r:.80}, not {form!r}.")

    @property
    def names(self) -> list[str]:
        """Names of the other entries."""
        return list(self._entries)

    def entries(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents of the other entries. Raises: JobFileError: one is not what was written."""
        return ((name, b"".join(self.pieces(name))) for name in self._entries)

    def pieces(self, name: str) -> Iterator[bytes]:
        """The content of an entry. Raises: JobFileError: it is not what was written, which may be found at its end."""
        digest = hashlib.sha256()
        for piece in self._archive.chunks(self._entries[name]):
            digest.update(piece)
            yield piece
        if digest.hexdigest() != self._hashes.get(name):
            raise JobFileError(f"This {self._what} is damaged: {name[:80]!r} is not what was written.")

    def damaged(self) -> JobFileError:
        """The error for an index that does not say what it should."""
        return JobFileError(f"This {self._what} is damaged, or of another version of LoRA Lab.")
