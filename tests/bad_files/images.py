"""Bad datasets of images: files of other kinds, and zips of class folders."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zlib
from functools import partial

from PIL import Image

from core.data.uploads import limits
from tests.bad_files.catalog import BadFile, Make, Table, marked, of_kind
from tests.bad_files.zips import dull, lying, many, unsafe
from tests.data.uploaded import CSV, FOLDERS, Entry, X, folders, noise, npy, npy_header, picture, zipped

SIDE = 4000
"""Side length in pixels of the largest image that is accepted."""

PICTURES = folders({"a": 5, "b": 5})
ONE = picture(noise(1))

beside = partial(zipped, *PICTURES)
"""A sound zip of class folders with more entries."""


def among(content: bytes, ending: str = "png") -> bytes:
    """A sound zip of class folders with one more image."""
    return beside((f"a/9.{ending}", content))


def alone(content: bytes, ending: str = "png") -> bytes:
    """The same where the image is the only one of its class."""
    return beside((f"c/9.{ending}", content))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, color: int, extra: bytes = b"", rows: int | None = None) -> bytes:
    """An image of zeros. Args: extra: more chunks; rows: how many lines there are, if not as many as declared."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    packer = zlib.compressobj(9)
    if rows == 0:
        data = packer.compress(b"\0")
    else:
        line = bytes(1 + (width * bits * samples + 7) // 8)
        data = b"".join(packer.compress(line * 100) for _ in range(-(-(rows or height) // 100)))
    data += packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    palette = chunk(b"PLTE", bytes(range(6))) + chunk(b"tRNS", b"\0\x80") if color == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + head + palette + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def header_of(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds next to nothing."""
    return png(width, height, 8, 0, rows=0)


def large(form: str, mode: str, **how: object) -> bytes:
    """The largest image that is accepted, in this file format."""
    target = io.BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(target, form, **how)
    return target.getvalue()


def animation(count: int, side: int = 8) -> bytes:
    target = io.BytesIO()
    frames = [Image.fromarray(noise(place, (side, side))) for place in range(max(1, count))]
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:])
    return target.getvalue()


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG whose header declares a wrong size."""
    content = picture(noise(1), "JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def called(name: str) -> bytes:
    """A zip of two classes, of which one has this name."""
    entries: list[tuple[Entry, bytes]] = [(f"{each}/{number}.png", ONE) for each in (name, "c") for number in range(6)]
    return zipped(*entries)


UNPACKING = zlib.compress(bytes(2**26), 9)

FILES: Table = {
    "empty": (lambda: b"", "is empty"),
    "too large": (lambda: bytes(limits.MAX_BYTES + 1), "larger than 16 MiB"),
    "pickle": (lambda: pickle.dumps({"x_train": X}), "pickle"),
    "pickle of protocol 0": (lambda: pickle.dumps({"a": [1]}, protocol=0), "cell|pixels|CSV"),
    "npy": (lambda: npy(npy_header("|u1", (2, 2)), bytes(4)), "single array"),
    "gzip": (lambda: gzip.compress(CSV), "packed with gzip"),
    "png": (lambda: ONE, "single image"),
    "jpeg": (lambda: picture(noise(1), "JPEG"), "single image"),
    "rar": (lambda: b"Rar!\x1a\x07\x01\x00", "RAR"),
    "7z": (lambda: b"7z\xbc\xaf\x27\x1c" + bytes(20), "7z"),
    "parquet": (lambda: b"PAR1" + bytes(20), "a Parquet table, not images"),
    "json lines": (lambda: b'{"text": "a, b"}\n', "JSON, not images"),
    "a list of objects": (lambda: b'[{"text": "a, b"}]', "JSON, not images"),
    "zeros": (lambda: bytes(1000), "is not a CSV"),
    "noise": lambda: noise(4, (2**24 - 1,)).tobytes(),
    "latin-1": (lambda: "näme,1,2,3,4".encode("latin-1"), "holds no images"),
    "executable": (lambda: b"\x7fELF\x02\x01\x01" + bytes(90), "is not a CSV"),
}

ONE_CLASS, TOO_LARGE, NO_IMAGE = "has 1 class:", "16 million pixels", "not an image"

ZIPS: Table = {
    "no entries": (lambda: zipped(), "no images"),
    "no images": (lambda: zipped(("a/1.txt", b"1")), "no images"),
    "a network": (
        lambda: zipped(("m/config.json", b"1")),
        "a network or an adapter, not data: the Library has a tab for each",
    ),
    "several damaged images": (
        lambda: beside(("a/8.png", b"x"), ("a/9.png", b"x")),
        "'a/8.png' is .* 1 more cannot be",
    ),
    "mostly damaged images": (lambda: beside(*((f"a/x{n}.png", b"x") for n in range(11))), "10 more cannot be used"),
    "images in no folder": (lambda: zipped(*((f"{i}.png", ONE) for i in range(9))), "in no class folder"),
    "one image in no folder": (lambda: beside(("1.png", ONE)), "in no class folder"),
    "folders too deep": (lambda: beside(("a/b/1.png", ONE)), "in no class folder"),
    "folders a thousand deep": lambda: beside(("a/" * 1000 + "1.png", ONE)),
    "an unknown part": (
        lambda: zipped(*folders({f"{p}/{c}": 5 for p in ("train", "test", "extra") for c in "ab"})),
        "The folder 'extra' beside train",
    ),
    "one class": (lambda: zipped(*folders({"a": 9})), ONE_CLASS),
    "one class in train": (lambda: zipped(*folders({"train/a": 9, "test/a": 9})), ONE_CLASS),
    "a tiny class": (lambda: zipped(*folders({"a": 9, "b": 4})), "'b' has 4 images"),
    "a tiny class to train on": (
        lambda: zipped(*folders({"train/a": 9, "train/b": 3, "test/a": 1, "test/b": 1})),
        "'b' has 3",
    ),
    "a class to test only": (lambda: zipped(*folders({"train/a": 9, "test/a": 1, "test/b": 9})), "'b' has 0 training"),
    "a class to train only": (lambda: zipped(*folders({"train/a": 9, "train/b": 9, "test/a": 1})), "no images in the "),
    "1001 classes": (lambda: zipped(*((f"{i}/1.png", ONE) for i in range(1001))), "has 1001 classes"),
    "a long name": (lambda: called("b" * 65), "no usable name"),
    "a very long name": lambda: called("x" * 30_000),
    "a name of control characters": (lambda: called("\x1b[31mred"), "no usable name"),
    "a name with a line break": (lambda: called("a\nb"), "no usable name"),
    "a name from right to left": (lambda: called("b\u202e"), "no usable name"),
    "a name of one zero-width space": lambda: called("\u200b"),
    "a class without a name": lambda: beside(("a//1.png", ONE)),
    "a nested zip": (lambda: beside(("a/more.zip", FOLDERS)), "more.zip', an archive"),
    "a nested tar": (lambda: beside(("a/more.tar.gz", b"x")), "an archive"),
    "a zip called png": (lambda: among(FOLDERS), "not an image that can be read"),
    "a pickle beside": (lambda: beside(("a/model.pkl", b"\x80\x04.")), "run code"),
    "a torch file beside": (lambda: beside(("a/MODEL.PT", b"x")), "run code"),
    "a name as long as can be": lambda: beside(("é" * 32_000 + ".bin", b"x")),
    "an array beside": (lambda: beside(("a/x.npy", b"x")), "run code"),
    "bombs": (lambda: zipped(*((f"a/{i}.png", bytes(2**26)) for i in range(5))), "unpacks to more than 256 MiB"),
    "lying bomb": (lambda: lying(zipped(("a/b.png", bytes(2**26 + 77))), 2**26 + 77), "damaged|not an image"),
    "many entries": (lambda: many(limits.MAX_ENTRIES + 1), "more than 50000 entries"),
    "very many entries": (lambda: many(80_000), "more than 50000 entries"),
    "1 × 1": (lambda: zipped(*folders({"a": 5, "b": 5}, (1, 1))), "1 × 1 pixels"),
    "3 × 90": (lambda: zipped(*folders({"a": 5, "b": 5}, (90, 3))), "3 × 90 pixels"),
    "20,000 × 20,000": (lambda: among(header_of(20_000, 20_000)), TOO_LARGE),
    "20,000 × 20,000 pixels, all there": (lambda: among(png(20_000, 20_000, 1, 0)), TOO_LARGE),
    "5,000 × 5,000": (lambda: among(header_of(5_000, 5_000)), TOO_LARGE),
    "2³¹ × 1": (lambda: among(header_of(2**31 - 1, 1)), f"{TOO_LARGE}|{NO_IMAGE}"),
    "0 × 0": (lambda: among(header_of(0, 0)), f"pixels|{NO_IMAGE}"),
    "a JPEG of 65,500 × 65,500": lambda: among(jpeg_of(65_500, 65_500), "jpg"),
    "a JPEG of 0 × 0": lambda: among(jpeg_of(0, 0), "jpg"),
    "a header and no pixels": (lambda: among(header_of(100, 100)), NO_IMAGE),
    "an empty image": (lambda: among(b""), NO_IMAGE),
    "text called png": (lambda: among(b"<svg/>"), NO_IMAGE),
    "postscript called jpg": (lambda: among(b"%!PS-Adobe-3.0 EPSF-3.0\n", "jpg"), NO_IMAGE),
    "200 MB called a picture": lambda: among(dull(200_000_000)),
    "a readme of 200 MB": lambda: zipped(*folders({"a": 5}), ("a/readme.txt", dull(200_000_000))),
    "pixels beyond the size of the picture": lambda: among(png(100, 100, 8, 0, rows=200_000)),
    "a zip in the middle of a zip": lambda: FOLDERS[: len(FOLDERS) // 2] + FOLDERS,
}

LONELY: dict[str, Make] = {
    "a text in a picture that unpacks to 64 MB": lambda: png(28, 28, 8, 0, chunk(b"zTXt", b"a\0\0" + UNPACKING)),
    "a color profile that unpacks to 64 MB": lambda: png(28, 28, 8, 0, chunk(b"iCCP", b"a\0\0" + UNPACKING)),
    "a large picture with alpha": lambda: png(SIDE, SIDE, 8, 6),
    "a large picture of 16 bits": lambda: png(SIDE, SIDE, 16, 0),
    "a large picture of 16 bits in color": lambda: png(SIDE, SIDE, 16, 6),
    "a large picture of grey and alpha": lambda: png(SIDE, SIDE, 8, 4),
    "a large picture with a clear palette": lambda: png(SIDE, SIDE, 8, 3),
    "a large JPEG, progressive": lambda: large("JPEG", "CMYK", progressive=True),
    "a large GIF": lambda: large("GIF", "P"),
    "a large WebP": lambda: large("WEBP", "RGBA", lossless=True, method=0),
    "a large BMP": lambda: large("BMP", "RGB"),
    "two large strips": lambda: png(1_000_000, 16, 8, 6),
    "an animation of 3,000 pictures": lambda: animation(3000),
}
"""Pictures that cost much to open, and are the only one of their class."""

LONG = (
    *(name for name in LONELY if name.startswith("a large") and name != "a large picture of grey and alpha"),
    *("two large strips", "an animation of 3,000 pictures", "200 MB called a picture"),
    *("a readme of 200 MB", "bombs", "very many entries"),
)
VALID = (
    "pixels beyond the size of the picture",  # the excess is never unpacked
    "a zip in the middle of a zip",  # its directory is at the end, and all entries exist
)


def ending_of(name: str) -> str:
    """The ending of a picture of :data:`LONELY`, which says what it is."""
    return next((form.lower() for form in ("JPEG", "GIF", "WebP", "BMP") if form in name), "png")


def bad_files() -> list[BadFile]:
    lonely: Table = {name: (lambda n=name, m=make: alone(m(), ending_of(n)), "") for name, make in LONELY.items()}
    found = of_kind("images", FILES | ZIPS) + of_kind("images", unsafe(beside) | lonely, is_hostile=True)
    return marked(marked(found, LONG, is_long=True, is_hostile=True), VALID, is_valid=True)
