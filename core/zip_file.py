"""Zips from outside: opened within bounds and without trust.

Nothing is ever unpacked to disk, so no name inside a zip decides where a file goes.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import LabError

RATIO = 100
"""Times that an entry may grow when unpacked, once it is larger than ``RATIO_FROM``."""
RATIO_FROM = 2**20

PIECE = 2**16
"""Bytes that are unpacked at once."""

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
"""What the zip module raises on one damage or another."""


@dataclass(frozen=True)
class ZipLimits:
    """How much a zip may hold."""

    entries: int
    unpacked: int
    """Bytes of all entries together."""


class UntrustedZip:
    """A zip in memory; every entry was checked before any is unpacked."""

    def __init__(self, content: bytes, limits: ZipLimits, what: str, error: type[LabError]) -> None:
        """Open and check.

        Args:
            content: the zip.
            limits: how much it may hold.
            what: begins the sentences of errors, as in ``The adapter file``.
            error: what is raised; its text is one sentence.

        Raises:
            error: not a zip, damaged, too large, or with an entry that is unsafe.
        """
        self._limits, self._what, self._error = limits, what, error
        # Counted before the zip module builds an object for each; a few may be chance.
        if content.count(_CENTRAL_HEADER) > limits.entries + 100:
            raise error(f"{what} has more than {limits.entries} entries: choose another file.")
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
        except _DAMAGE as damage:
            raise self._damaged() from damage
        infos = self._archive.infolist()
        # The zip module does not compare: a damaged length in one entry's header may swallow the headers after it.
        (count,) = struct.unpack_from("<H", content, content.rfind(_END) + 10)
        if count not in (len(infos), 0xFFFF):
            raise self._damaged()
        self._check(infos)
        self.entries = tuple(info for info in infos if not info.is_dir())
        """All entries but folders."""

    def read(self, info: zipfile.ZipInfo) -> bytes:
        """One entry, its checksum compared. Raises: the zip's error: it is damaged."""
        content = io.BytesIO()
        for piece in self.pieces(info):
            content.write(piece)
        return content.getvalue()  # which shares the buffer: the entry stands in memory once

    def pieces(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """One entry, piece by piece, its checksum compared at the end; never more than its declared size.

        Raises:
            The zip's error: it is damaged.
        """
        left = info.file_size
        try:
            with self._archive.open(info) as file:
                # A read without a limit would unpack up to 1 GiB before it looks at the declared size.
                while piece := file.read(min(PIECE, left + 1)):
                    left -= len(piece)
                    if left < 0:
                        break
                    yield piece
        except _DAMAGE as damage:
            raise self._damaged() from damage
        if left:
            raise self._damaged()

    def _damaged(self) -> LabError:
        return self._error(f"{self._what} is not a zip file, or it is damaged: choose another one.")

    def _check(self, infos: list[zipfile.ZipInfo]) -> None:
        """Refuse what must not even be unpacked."""
        if len(infos) > self._limits.entries:
            raise self._error(f"{self._what} has more than {self._limits.entries} entries: choose another file.")
        if len({info.filename for info in infos}) < len(infos):
            raise self._error(f"{self._what} holds two entries of one name: zip it again.")
        if sum(info.file_size for info in infos) > self._limits.unpacked:
            most = self._limits.unpacked // 2**20
            raise self._error(f"{self._what} unpacks to more than {most} MiB: choose a smaller one.")
        for info in infos:
            name = info.orig_filename
            if not name or name.startswith("/") or ".." in name.split("/") or any(c in name for c in "\\:\0"):
                raise self._error(f"{self._what} has an entry with an unsafe name: {name[:80]!r}.")
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise self._error(f"{self._what} has an entry that is a link or a device: {name[:80]!r}.")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
                raise self._error(f"{self._what} is encrypted or packed in an unusual way: zip it plainly.")
            if info.file_size > RATIO_FROM and info.file_size > RATIO * info.compress_size:
                raise self._error(f"{self._what} has an entry that unpacks to far more than it is: {name[:80]!r}.")
