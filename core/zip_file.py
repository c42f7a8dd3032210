"""Read untrusted zips within limits, and write reproducible ones.

Nothing is unpacked to disk, so names inside a zip cannot decide where files are written.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from core.errors import LabError

MAX_RATIO = 100
"""Maximum compression ratio of entries larger than ``RATIO_FROM`` bytes."""
RATIO_FROM = 2**20

CHUNK = 2**16
"""Bytes to unpack at once."""

SCANNED = 2**22
"""Bytes to look through at once."""

_CENTRAL_HEADER = b"PK\x01\x02"
_END = b"PK\x05\x06"
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    ArithmeticError,
    LookupError,
)
"""Exceptions that the zipfile module raises for damaged files."""


@dataclass(frozen=True)
class ZipLimits:
    """Limits on the content of a zip."""

    entries: int
    """Maximum number of entries."""
    unpacked: int
    """Maximum total bytes of all entries."""


def write_zip(target: BinaryIO, entries: Iterable[tuple[str, bytes]]) -> None:
    """Write a zip of ``entries``; its bytes depend on nothing else, such as the time or the version of a compressor."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries:
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # Unix, on every platform
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)


MAY_RUN_CODE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
"""Endings of files that may run code when they are read."""


class UntrustedZip:
    """A zip, in memory or in an open file; all entries are checked before any is unpacked."""

    def __init__(self, content: bytes | BinaryIO, limits: ZipLimits, what: str, error: type[LabError]) -> None:
        """Open and check a zip.

        Args:
            content: the zip; a file stays open as long as entries are read.
            limits: limits on its content.
            what: subject of error messages, such as ``The adapter file``.
            error: class of the exceptions to raise.

        Raises:
            error: not a zip, damaged, too large, or with an unsafe entry.
        """
        self._limits, self._what, self._error = limits, what, error
        file = io.BytesIO(content) if isinstance(content, bytes) else content  # shares the bytes
        # Before the zipfile module creates an object for each entry. The tolerance is for chance matches in the data.
        try:
            headers, end = _scanned(file)
        except OSError as damage:
            raise self._damaged() from damage
        if headers > limits.entries + 100:
            raise error(f"{what} has more than {limits.entries} entries: choose another file.")
        try:
            self._archive = zipfile.ZipFile(file)
            infos = self._archive.infolist()
            # The zipfile module does not check this: a damaged length in one header can hide the headers after it.
            file.seek(end + 10)
            (count,) = struct.unpack("<H", file.read(2))
        except _DAMAGE as damage:
            raise self._damaged() from damage
        if count not in (len(infos), 0xFFFF):
            raise self._damaged()
        self._check(infos)
        self.entries = tuple(info for info in infos if not info.is_dir())
        """All entries except folders."""

    def read(self, info: zipfile.ZipInfo) -> bytes:
        """Read one entry and verify its checksum. Raises: the zip's error: it is damaged."""
        content = io.BytesIO()
        for chunk in self.chunks(info):
            content.write(chunk)
        return content.getvalue()  # shares the buffer, so the entry is in memory only once

    def chunks(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield one entry in chunks, never more than its declared size, and verify its checksum at the end.

        Raises:
            The zip's error: it is damaged.
        """
        left = info.file_size
        try:
            with self._archive.open(info) as file:
                # A read without a limit would unpack up to 1 GiB before it checks the declared size.
                while chunk := file.read(min(CHUNK, left + 1)):
                    left -= len(chunk)
                    if left < 0:
                        break
                    yield chunk
        except _DAMAGE as damage:
            raise self._damaged() from damage
        if left:
            raise self._damaged()

    def _damaged(self) -> LabError:
        return self._error(f"{self._what} is not a zip file, or it is damaged: choose another one.")

    def _check(self, infos: list[zipfile.ZipInfo]) -> None:
        """Refuse zips that are unsafe to unpack."""
        if len(infos) > self._limits.entries:
            raise self._error(f"{self._what} has more than {self._limits.entries} entries: choose another file.")
        if len({info.filename for info in infos}) < len(infos):
            raise self._error(f"{self._what} has two entries with the same name: zip it again.")
        if sum(info.file_size for info in infos) > self._limits.unpacked:
            limit = self._limits.unpacked // 2**20
            raise self._error(f"{self._what} unpacks to more than {limit} MiB: choose a smaller one.")
        for info in infos:
            name = info.orig_filename
            if not name or name.startswith("/") or ".." in name.split("/") or any(c in name for c in "\\:\0"):
                raise self._error(f"{self._what} has an entry with an unsafe name: {name[:80]!r}.")
            # From Python 3.12 on, a Unicode Path field (0x7075) becomes the name by which an entry is known.
            if info.filename != name:
                raise self._error(f"{self._what} has an entry with two names, {name[:80]!r} is one: zip it again.")
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise self._error(f"{self._what} has an entry that is a link or a device: {name[:80]!r}.")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
                raise self._error(f"{self._what} is encrypted or uses an unusual compression: zip it again without.")
            if info.file_size > RATIO_FROM and info.file_size > MAX_RATIO * info.compress_size:
                raise self._error(f"{self._what} has an entry with an implausible compression ratio: {name[:80]!r}.")


def _scanned(file: BinaryIO) -> tuple[int, int]:
    """The number of central headers in a file, and the place of the last end of a zip, -1 if there is none."""
    headers, end, place, before = 0, -1, 0, b""
    file.seek(0)
    while piece := file.read(SCANNED):
        part = before + piece
        headers += part.count(_CENTRAL_HEADER)
        found = part.rfind(_END)
        end = place - len(before) + found if found >= 0 else end
        place += len(piece)
        before = part[-(len(_END) - 1) :]  # a mark may lie across two pieces
    return headers, end
