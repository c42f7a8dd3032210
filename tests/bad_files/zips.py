"""What can be wrong with a zip, whatever it is taken for."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from typing import Protocol

import numpy as np

from tests.bad_files.catalog import Table
from tests.data.uploaded import Entry, entry, noise, zipped
from tests.two_names import with_second_name

DEFLATED = zipfile.ZIP_DEFLATED


class Beside(Protocol):
    """Puts entries behind those of a sound zip."""

    def __call__(self, *entries: tuple[Entry, bytes]) -> bytes: ...


def dull(size: int) -> bytes:
    """Bytes that deflate compresses about 40 to 1, which is an inconspicuous ratio."""
    content = np.zeros((size // 4000, 4000), np.uint8)
    content[:, :64] = noise(8, (len(content), 64))
    return content.tobytes()


def overlapping(count: int, unpacked: int) -> bytes:
    """A zip whose entries share one compressed kernel: each contains the local header of the next in its own stream.

    David Fifield, "A better zip bomb", WOOT 2019, section 4.
    """

    def header(name: bytes, stream: bytes, content_crc: int, size: int, central: bool, offset: int = 0) -> bytes:
        common = struct.pack("<HHHHIIIHH", 0, 8, 0, 0x21, content_crc, len(stream), size, len(name), 0)
        if not central:
            return b"PK\x03\x04" + struct.pack("<H", 20) + common + name
        return b"PK\x01\x02" + struct.pack("<HH", 20, 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, offset) + name

    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = bytes(unpacked)
    stream = packer.compress(content) + packer.flush()
    files, quoted = [], b""
    for number in reversed(range(count)):
        name = b"%s/%05d.png" % (b"ab"[number % 2 : number % 2 + 1], number)
        if quoted:
            size = len(quoted)
            stream = b"\x00" + struct.pack("<HH", size, size ^ 0xFFFF) + quoted + stream
            content = quoted + content
        files.append((name, stream, zlib.crc32(content), len(content)))
        quoted = header(*files[-1], central=False)
    body = header(*files[-1], central=False) + files[-1][1]
    directory = b"".join(
        header(*file, central=True, offset=len(body) - len(file[1]) - len(header(*file, central=False)))
        for file in reversed(files)
    )
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + end


def declaring(size: int) -> bytes:
    """A zip that declares ``size`` bytes for one of its entries, in the 64-bit field if necessary."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a/1.png", b"1")
        archive.filelist[0].file_size = archive.filelist[0].compress_size = size
    return target.getvalue()


def lying(content: bytes, size: int) -> bytes:
    """A zip that declares 1,000 bytes where ``size`` are."""
    changed = content.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert changed != content
    return changed


def named(beside: Beside, name: str) -> bytes:
    """A zip whose last entry has a name that the zip module itself would not write."""
    return beside(("x" * len(name), b"1")).replace(b"x" * len(name), name.encode())


def nameless(beside: Beside) -> bytes:
    target = io.BytesIO(beside())
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(zipfile.ZipInfo(""), b"")
    return target.getvalue()


def encrypted(content: bytes) -> bytes:
    """The zip with the encryption flag set in its directory."""
    at = content.index(b"PK\x01\x02") + 8
    return content[:at] + bytes([content[at] | 1]) + content[at + 1 :]


def many(count: int) -> bytes:
    return zipped(*((f"{number}", b"") for number in range(count)), how=zipfile.ZIP_STORED)


def hidden(content: bytes) -> bytes:
    """The zip with one bit changed, so that the comment of an entry hides all that follow it in the directory."""
    changed = bytearray(content)
    changed[content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4) + 33] ^= 1  # the comment's length, plus 256
    return bytes(changed)


UNSAFE, PACKED = "unsafe name", "is encrypted or uses an unusual compression"


def unsafe(beside: Beside, entries: int = 200) -> Table:
    """All that can be wrong with a zip of any kind.

    Args:
        beside: puts entries behind those of a sound one.
        entries: no more than a zip of this kind may have.
    """
    return {
        "beginning only": (lambda: b"PK\x03\x04" + bytes(60), "not a zip file"),
        "half of it": (lambda: beside()[: len(beside()) // 2], "not a zip file, or it is damaged"),
        "an entry that hides others": (lambda: hidden(beside()), "not a zip file, or it is damaged"),
        "parent folder": (lambda: beside(("../evil.png", b"1")), UNSAFE),
        "inner parent": (lambda: beside(("a/../../evil.png", b"1")), UNSAFE),
        "absolute": (lambda: named(beside, "/etc/evil.png"), UNSAFE),
        "backslash": (lambda: named(beside, "..\\evil.png"), UNSAFE),
        "drive": (lambda: beside(("c:evil.png", b"1")), UNSAFE),
        "null": (lambda: named(beside, "a/evil\0.png"), UNSAFE),
        "no name": (lambda: nameless(beside), UNSAFE),
        "a name with a terminal's commands": (lambda: beside(("../\x1b[2J\r\n", b"x")), UNSAFE),
        "an entry with two names": (lambda: with_second_name("a/1.png", "../.bashrc"), ""),
        "symbolic link": (lambda: beside((entry("a/l.png", stat.S_IFLNK | 0o777), b"/etc/passwd")), "link or a device"),
        "device": (lambda: beside((entry("a/null", stat.S_IFCHR | 0o666), b"")), "link or a device"),
        "bzip2": (lambda: beside((entry("note.png", how=zipfile.ZIP_BZIP2), b"1")), PACKED),
        "lzma": (lambda: beside((entry("note.png", how=zipfile.ZIP_LZMA), b"1")), PACKED),
        "encrypted": (lambda: encrypted(beside()), PACKED),
        "entries that overlap": (lambda: overlapping(entries, 2**20), ""),
        "many entries that overlap": (lambda: overlapping(3000, 2**16), ""),
        "10 GB declared by an entry": (lambda: declaring(10 * 2**30), ""),
        "2⁶⁴ - 1 bytes declared by an entry": (lambda: declaring(2**64 - 1), ""),
    }
