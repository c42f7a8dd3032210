"""Read untrusted zips within limits, and write reproducible ones.

The directory of a zip is read in the reader, entries as they are wanted by whoever has the file. Nothing is unpacked to
disk, so names inside a zip cannot decide where files are written.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from core.errors import LabError
from core.reader import Limits, in_reader, reads_here

CHUNK = 2**16
"""Bytes to unpack at once."""

_LOCAL = struct.Struct("<4s22xHH")
"""Header before an entry's content: a mark, and the lengths of the name and of the other fields behind it."""
_LOCAL_MARK = b"PK\x03\x04"

_END = struct.Struct("<10xH10x")
"""End of a zip, of which only the number of entries matters here."""


@dataclass(frozen=True)
class ZipLimits:
    """Limits on the content of a zip."""

    entries: int
    """Maximum number of entries."""
    unpacked: int
    """Maximum total bytes of all entries."""


@dataclass(frozen=True)
class ZipEntry:
    """One file in a zip, as the directory describes it."""

    name: str
    size: int
    """Bytes when unpacked."""
    start: int
    """Place of the header before its content."""
    packed: int
    """Bytes in the zip."""
    crc: int
    is_deflated: bool
    """Whether it is compressed; otherwise it is stored as it is."""


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

_CHECKPOINT = re.compile(
    r"(optimizer|scheduler|scaler|training_args)\.(pt|bin)|rng_state(_\d+)?\.pth|trainer_state\.json|tokenizer\.json|"
    r"added_tokens\.json|vocab\.(json|txt)|merges\.txt"
)


def is_beside_weights(path: str) -> bool:
    """Whether a file is one that the Trainer of transformers puts beside weights, most of them pickles."""
    return _CHECKPOINT.fullmatch(path.rpartition("/")[2]) is not None


class UntrustedZip:
    """A zip, in memory or in an open file; all entries are checked before any is unpacked."""

    def __init__(self, content: bytes | BinaryIO, limits: ZipLimits, what: str, error: type[LabError]) -> None:
        """Open and check a zip.

        Args:
            content: the zip; a file, which has a path, stays open as long as entries are read.
            limits: limits on its content.
            what: subject of error messages, such as ``The adapter file``.
            error: class of the exceptions to raise.

        Raises:
            error: not a zip, damaged, too large, or with an unsafe entry.
        """
        self._what, self._error = what, error
        self._file = io.BytesIO(content) if isinstance(content, bytes) else content  # shares the bytes
        if reads_here():
            self.entries = _entries(self._file, limits, what, error)
        else:
            with _path_of(content) as path:
                self.entries = directory(path, limits, what, error)
        """All entries except folders."""

    def read(self, entry: ZipEntry) -> bytes:
        """Read one entry and verify its checksum. Raises: the zip's error: it is damaged."""
        content = io.BytesIO()
        for chunk in self.chunks(entry):
            content.write(chunk)
        return content.getvalue()  # shares the buffer, so the entry is in memory only once

    def chunks(self, entry: ZipEntry) -> Iterator[bytes]:
        """Yield one entry in chunks, never more than its declared size, and verify its checksum at the end.

        Raises:
            The zip's error: it is damaged.
        """
        file, crc, size = self._file, 0, 0
        try:
            file.seek(entry.start)
            mark, name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
            place = entry.start + _LOCAL.size + name + extra
            packed = _pieces(file, place, entry.packed)
            for chunk in _inflated(packed) if entry.is_deflated else packed:
                crc, size = zlib.crc32(chunk, crc), size + len(chunk)
                if size > entry.size:
                    break
                yield chunk
        except (OSError, ValueError, ArithmeticError, struct.error, zlib.error) as damage:
            raise _damaged(self._what, self._error) from damage
        if mark != _LOCAL_MARK or size != entry.size or crc != entry.crc:
            raise _damaged(self._what, self._error)


def _pieces(file: BinaryIO, place: int, size: int) -> Iterator[bytes]:
    """Yield ``size`` bytes of a file, fewer if it ends before; others may read it meanwhile."""
    end = place + size
    while place < end:
        file.seek(place)
        piece = file.read(min(CHUNK, end - place))
        if not piece:
            return
        place += len(piece)
        yield piece


def _inflated(packed: Iterator[bytes]) -> Iterator[bytes]:
    """Yield in chunks what is compressed, without the header and the checksum that zlib has by itself."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    for piece in packed:
        while piece and not unpacker.eof:
            yield unpacker.decompress(piece, CHUNK)
            piece = unpacker.unconsumed_tail
    yield unpacker.flush()


@contextmanager
def _path_of(content: bytes | BinaryIO) -> Iterator[Path]:
    """A path at which another process finds a zip."""
    if not isinstance(content, bytes):
        yield Path(content.name).absolute()
    elif hasattr(os, "memfd_create"):
        number, left = os.memfd_create("zip"), memoryview(content)
        try:
            while left:
                left = left[os.write(number, left) :]
            yield Path(f"/proc/{os.getpid()}/fd/{number}")
        finally:
            os.close(number)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "zip"
            path.write_bytes(content)
            yield path


@in_reader(LabError, "The file", Limits(cpu=20))
def directory(path: Path, limits: ZipLimits, what: str, error: type[LabError]) -> tuple[ZipEntry, ...]:
    """All entries of a zip except folders, once the zip is known to be safe to unpack; see :class:`UntrustedZip`."""
    with path.open("rb") as file:
        return _entries(file, limits, what, error)


def _entries(file: BinaryIO, limits: ZipLimits, what: str, error: type[LabError]) -> tuple[ZipEntry, ...]:
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            # The zipfile module does not check this: a damaged length in one header can hide the headers after it.
            file.seek(-_END.size - len(archive.comment), io.SEEK_END)
            (count,) = _END.unpack(file.read(_END.size))
    except (
        zipfile.BadZipFile,
        struct.error,
        OSError,
        RuntimeError,
        ValueError,
        ArithmeticError,
        LookupError,
    ) as damage:
        raise _damaged(what, error) from damage
    if count not in (len(infos), 0xFFFF):
        raise _damaged(what, error)
    if len(infos) > limits.entries:
        raise error(f"{what} has more than {limits.entries} entries: choose another file.")
    if len({info.filename for info in infos}) < len(infos):
        raise error(f"{what} has two entries with the same name: zip it again.")
    if sum(info.file_size for info in infos) > limits.unpacked:
        raise error(f"{what} unpacks to more than {limits.unpacked // 2**20} MiB: choose a smaller one.")
    return tuple(_entry(info) for info in infos if not _checked(info, what, error).is_dir())


def _damaged(what: str, error: type[LabError]) -> LabError:
    return error(f"{what} is not a zip file, or it is damaged: choose another one.")


def _checked(info: zipfile.ZipInfo, what: str, error: type[LabError]) -> zipfile.ZipInfo:
    """An entry that is safe to unpack. Raises: error: it is not."""
    name = info.orig_filename
    if not name or name.startswith("/") or ".." in name.split("/") or any(c in name for c in "\\:\0"):
        raise error(f"{what} has an entry with an unsafe name: {name[:80]!r}.")
    # From Python 3.12 on, a Unicode Path field (0x7075) becomes the name by which an entry is known.
    if info.filename != name:
        raise error(f"{what} has an entry with two names, {name[:80]!r} is one: zip it again.")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise error(f"{what} has an entry that is a link or a device: {name[:80]!r}.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        raise error(f"{what} is encrypted or uses an unusual compression: zip it again without.")
    return info


def _entry(info: zipfile.ZipInfo) -> ZipEntry:
    is_deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return ZipEntry(info.filename, info.file_size, info.header_offset, info.compress_size, info.CRC, is_deflated)
