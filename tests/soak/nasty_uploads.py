"""Malicious datasets: zip bombs, false sizes, and files that take very long to read."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

from tests.data.bad_uploads import CSV, FOLDERS, LINE, PICTURES, X, Y, member
from tests.data.uploaded import Entry, Make, arrays, folders, noise, npy, npy_header, picture, zipped

SIDE = 4000
"""Side length in pixels of the largest image that is accepted."""


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
        for name, data in PICTURES:
            archive.writestr(name, data)
        archive.filelist[0].file_size = archive.filelist[0].compress_size = size
    return target.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour: int, extra: bytes = b"", rows: int | None = None) -> bytes:
    """An image of zeros whose stream is complete, or longer than its size."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    line = bytes(1 + (width * bits * samples + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(line * 100) for _ in range(-(-(rows or height) // 100))) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    palette = chunk(b"PLTE", bytes(range(6))) + chunk(b"tRNS", b"\0\x80") if colour == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + head + palette + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def large(form: str, mode: str, **how: object) -> bytes:
    """The largest image that is accepted, in this file format."""
    target = io.BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(target, form, **how)
    return target.getvalue()


def among(content: bytes, ending: str = "png") -> bytes:
    """A valid zip of class folders with one additional image."""
    return zipped(*PICTURES, (f"a/9.{ending}", content))


def alone(content: bytes, ending: str = "png") -> bytes:
    """A zip with a class that has only this image."""
    return zipped(*PICTURES, (f"c/9.{ending}", content))


def dull(size: int) -> bytes:
    """Bytes that deflate compresses about 40 to 1, which is an inconspicuous ratio."""
    content = np.zeros((size // 4000, 4000), np.uint8)
    content[:, :64] = noise(8, (len(content), 64))
    return content.tobytes()


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG whose header declares a wrong size."""
    content = picture(noise(1), "JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def named(*names: str) -> bytes:
    one = picture(noise(1))
    entries: list[tuple[Entry, bytes]] = [(f"{name}/{number}.png", one) for name in names for number in range(6)]
    return zipped(*entries)


def lines(count: int, last: bytes) -> bytes:
    """A table of many valid lines and one additional line."""
    body = b"\n".join(b"%d,%d" % (row % 2, row % 256) + b",7" * 15 for row in range(count))
    return body + b"\n" + last


NASTY_UPLOADS: dict[str, Make] = {
    "entries that overlap": lambda: overlapping(200, 2**20),
    "many entries that overlap": lambda: overlapping(3000, 2**16),
    "10 GB declared by an entry": lambda: declaring(10 * 2**30),
    "2⁶⁴ - 1 bytes declared by an entry": lambda: declaring(2**64 - 1),
    "20,000 × 20,000 pixels, all there": lambda: among(png(20_000, 20_000, 1, 0)),
    "pixels beyond the size of the picture": lambda: among(png(100, 100, 8, 0, rows=200_000)),
    "a text in a picture that unpacks to 64 MB": lambda: alone(
        png(28, 28, 8, 0, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26), 9)))
    ),
    "a colour profile that unpacks to 64 MB": lambda: alone(
        png(28, 28, 8, 0, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**26), 9)))
    ),
    "a large picture with alpha": lambda: alone(png(SIDE, SIDE, 8, 6)),
    "a large picture of 16 bits": lambda: alone(png(SIDE, SIDE, 16, 0)),
    "a large picture of 16 bits in colour": lambda: alone(png(SIDE, SIDE, 16, 6)),
    "a large picture of grey and alpha": lambda: alone(png(SIDE, SIDE, 8, 4)),
    "a large picture with a clear palette": lambda: alone(png(SIDE, SIDE, 8, 3)),
    "a large JPEG, progressive": lambda: alone(large("JPEG", "CMYK", progressive=True), "jpg"),
    "a large GIF": lambda: alone(large("GIF", "P"), "gif"),
    "a large WebP": lambda: alone(large("WEBP", "RGBA", lossless=True, method=0), "webp"),
    "a large BMP": lambda: alone(large("BMP", "RGB"), "bmp"),
    "two large strips": lambda: alone(png(1_000_000, 16, 8, 6)),
    "a JPEG of 65,500 × 65,500": lambda: among(jpeg_of(65_500, 65_500), "jpg"),
    "a JPEG of 0 × 0": lambda: among(jpeg_of(0, 0), "jpg"),
    "an animation of 3,000 pictures": lambda: alone(
        _animation([Image.fromarray(noise(i, (8, 8))) for i in range(3000)]), "gif"
    ),
    "200 MB called a picture": lambda: among(dull(200_000_000)),
    "a readme of 200 MB": lambda: zipped(*folders({"a": 5}), ("a/readme.txt", dull(200_000_000))),
    "a class with a line break": lambda: named("a\nb", "c"),
    "a class with control characters": lambda: named("\x1b[31mred", "c"),
    "a class written from right to left": lambda: named("\u202eabc", "c"),
    "a class of one zero-width space": lambda: named("\u200b", "c"),
    "a class with a very long name": lambda: named("x" * 30_000, "c"),
    "folders a thousand deep": lambda: zipped(*PICTURES, ("a/" * 1000 + "1.png", picture(noise(1)))),
    "a class without a name": lambda: zipped(*PICTURES, ("/".join(["a", "", "1.png"]), picture(noise(1)))),
    "two images of 4000 × 4000 doubles": lambda: zipped(
        ("x_train.npy", npy(npy_header("<f8", (2, 4000, 2000)), dull(128_000_000))),
        ("y_train.npy", npy(npy_header("|u1", (2,)), b"\0\1")),
    ),
    "an image of 4000 × 4000 doubles": lambda: zipped(
        ("x_train.npy", npy(npy_header("<f8", (1, 4000, 4000)), dull(128_000_000))),
        ("y_train.npy", npy(npy_header("|u1", (1,)), b"\0")),
    ),
    "200 MB of doubles": lambda: zipped(
        ("x_train.npy", npy(npy_header("<f8", (32_000, 784)), dull(32_000 * 784 * 8 + 4000)[: 32_000 * 784 * 8])),
        ("y_train.npy", npy(npy_header("|u1", (32_000,)), bytes(32_000))),
    ),
    "200,000 images of one class": lambda: zipped(
        ("x_train.npy", npy(npy_header("|u1", (200_000, 28, 28)), dull(156_800_000))),
        ("y_train.npy", npy(npy_header("<i8", (200_000,)), np.arange(200_000).astype("<i8").clip(0, 1).tobytes())),
    ),
    "bytes in another order": lambda: member("x_train", npy(npy_header(">f8", (40, 28, 28)), b"\x7f\xf8" * 125_440)),
    "labels of 2 GB": lambda: zipped(
        ("x_train.npy", npy(npy_header("|u1", (250_000_000, 8, 8)))),
        ("y_train.npy", npy(npy_header("<f8", (250_000_000,)))),
    ),
    "subnormal and huge labels": lambda: arrays(x_train=X, y_train=np.where(Y == 1, 5e-324, 1e308)),
    "16 million empty lines": lambda: b"\n" * (2**24 - 1),
    "8 million lines of one letter": lambda: b"a\n" * (2**23 - 1),
    "16 million commas": lambda: (b"," * (2**20 - 2) + b"\n") * 15,
    "800,000 headings": lambda: b",".join([b"a"] * 500_000),
    "190,000 lines and a wrong one": lambda: lines(190_000, LINE + b",7"),
    "190,000 lines and a lonely class": lambda: lines(190_000, b"5" + LINE[1:]),
    "text of four bytes a letter": lambda: (CSV + b"\n" + "🙂".encode() + LINE[1:] + b"\n") * 13_000,
    "very long labels": lambda: b"\n".join(b"%05d" % row + b"x" * 100_000 + b",7" * 16 for row in range(140)),
    "a label of two lines": lambda: b"\n".join(b'"a\nb"' + b",7" * 16 for _ in range(20)) + b"\n" + CSV,
    "UTF-16": lambda: CSV.decode().encode("utf-16"),
    "a zip in the middle of a zip": lambda: FOLDERS[: len(FOLDERS) // 2] + FOLDERS,
    "a table called npz": lambda: CSV[:-3] + b",x",
    "noise": lambda: noise(4, (2**24 - 1,)).tobytes(),
}


def _animation(frames: list[Image.Image]) -> bytes:
    target = io.BytesIO()
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:])
    return target.getvalue()
