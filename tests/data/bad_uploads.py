"""Uploads that are sound, and all that could be wrong with one: its name, the file, and a word of the sentence."""

from __future__ import annotations

import gzip
import io
import pickle
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest

from core.data.uploads import limits
from core.errors import DatasetError
from tests.data.uploaded import Make, arrays, digits, entry, folders, noise, npy, npy_header, picture, table, zipped

T = TypeVar("T")

X, Y = digits()
NPZ = arrays(x_train=X, y_train=Y, x_test=X[:8], y_test=Y[:8])
FOLDERS = zipped(*folders({"cat": 6, "dog": 7}))
CSV = table(X[:20, :4, :4], Y[:20])
GOOD = {"npz": NPZ, "folders": FOLDERS, "csv": CSV}


def lying(content: bytes, old: int, new: int) -> bytes:
    changed = content.replace(old.to_bytes(4, "little"), new.to_bytes(4, "little"))
    assert changed != content
    return changed


def header_of(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def named(name: str) -> bytes:
    return zipped(("x" * len(name), b"1"), *PICTURES).replace(b"x" * len(name), name.encode())


def member(name: str, content: bytes) -> bytes:
    """NPZ with one member in another's place."""
    with zipfile.ZipFile(io.BytesIO(NPZ)) as archive:
        members = {key: archive.read(key) for key in archive.namelist()}
    return zipped(*(members | {f"{name}.npy": content}).items())


PICTURES = folders({"a": 5, "b": 5})
ONE = picture(noise(1))
FLOATS = X.astype(np.float32)


def but(values: np.ndarray, value: float) -> np.ndarray:
    changed = values.copy()
    changed.flat[5] = value
    return changed


BAD_FILES: dict[str, tuple[Make, str]] = {
    "empty": (lambda: b"", "is empty"),
    "too large": (lambda: bytes(limits.MAX_BYTES + 1), "larger than 16 MiB"),
    "pickle": (lambda: pickle.dumps({"x_train": X}), "pickle"),
    "pickle of protocol 0": (lambda: pickle.dumps({"a": [1]}, protocol=0), "cell|pixels|CSV"),
    "npy": (lambda: npy(npy_header("|u1", (2, 2)), bytes(4)), "single array"),
    "gzip": (lambda: gzip.compress(CSV), "unpack it first"),
    "png": (lambda: ONE, "single image"),
    "jpeg": (lambda: picture(noise(1), "JPEG"), "single image"),
    "rar": (lambda: b"Rar!\x1a\x07\x01\x00", "RAR"),
    "7z": (lambda: b"7z\xbc\xaf\x27\x1c" + bytes(20), "7z"),
    "zeros": (lambda: bytes(1000), "not a zip, npz or CSV"),
    "latin-1": (lambda: "näme,1,2,3,4".encode("latin-1"), "not text in UTF-8"),
    "executable": (lambda: b"\x7fELF\x02\x01\x01" + bytes(90), "not a zip, npz or CSV"),
}

BAD_ZIPS: dict[str, tuple[Make, str]] = {
    "no entries": (lambda: zipped(), "no images"),
    "no images": (lambda: zipped(("a/1.txt", b"1")), "no images"),
    "beginning only": (lambda: b"PK\x03\x04" + bytes(60), "not a zip file, or it is damaged"),
    "images in no folder": (lambda: zipped(*((f"{i}.png", ONE) for i in range(9))), "in no class folder"),
    "one image in no folder": (lambda: zipped(*PICTURES, ("1.png", ONE)), "in no class folder"),
    "folders too deep": (lambda: zipped(*PICTURES, ("a/b/1.png", ONE)), "in no class folder"),
    "an unknown part": (
        lambda: zipped(*folders({f"{p}/{c}": 5 for p in ("train", "test", "extra") for c in "ab"})),
        "The folder 'extra' beside train",
    ),
    "one class": (lambda: zipped(*folders({"a": 9})), "has 1 class:"),
    "one class in train": (lambda: zipped(*folders({"train/a": 9, "test/a": 9})), "has 1 class:"),
    "a tiny class": (lambda: zipped(*folders({"a": 9, "b": 4})), "'b' has 4 images"),
    "a tiny class to train on": (
        lambda: zipped(*folders({"train/a": 9, "train/b": 3, "test/a": 1, "test/b": 1})),
        "'b' has 3",
    ),
    "a class to test only": (
        lambda: zipped(*folders({"train/a": 9, "test/a": 1, "test/b": 9})),
        "'b' has 0 training images",
    ),
    "a class to train only": (
        lambda: zipped(*folders({"train/a": 9, "train/b": 9, "test/a": 1})),
        "no images in the test",
    ),
    "1001 classes": (lambda: zipped(*((f"{i}/1.png", ONE) for i in range(1001))), "has 1001 classes"),
    "a long name": (lambda: zipped(*folders({"a": 5, "b" * 65: 5})), "no usable name"),
    "a name with a control": (lambda: zipped(*folders({"a": 5, "b\u202e": 5})), "no usable name"),
    "a nested zip": (lambda: zipped(*PICTURES, ("a/more.zip", FOLDERS)), "another archive"),
    "a nested tar": (lambda: zipped(*PICTURES, ("a/more.tar.gz", b"x")), "another archive"),
    "a zip called png": (lambda: zipped(*PICTURES, ("a/9.png", FOLDERS)), "not an image that can be read"),
    "a pickle beside": (lambda: zipped(*PICTURES, ("a/model.pkl", b"\x80\x04.")), "run code"),
    "a torch file beside": (lambda: zipped(*PICTURES, ("a/MODEL.PT", b"x")), "run code"),
    "an array beside": (lambda: zipped(*PICTURES, ("a/x.npy", b"x")), "run code"),
    "parent folder": (lambda: zipped(*PICTURES, ("../evil.png", ONE)), "unsafe name"),
    "inner parent": (lambda: zipped(*PICTURES, ("a/../../evil.png", ONE)), "unsafe name"),
    "absolute": (lambda: named("/etc/evil.png"), "unsafe name"),
    "backslash": (lambda: named("..\\evil.png"), "unsafe name"),
    "drive": (lambda: zipped(*PICTURES, ("c:evil.png", ONE)), "unsafe name"),
    "null": (lambda: named("a/evil\0.png"), "unsafe name"),
    "symbolic link": (
        lambda: zipped(*PICTURES, (entry("a/l.png", stat.S_IFLNK | 0o777), b"/etc/passwd")),
        "link or a device",
    ),
    "device": (lambda: zipped(*PICTURES, (entry("a/null", stat.S_IFCHR | 0o666), b"")), "link or a device"),
    "bzip2": (lambda: zipped(*PICTURES, how=zipfile.ZIP_BZIP2), "uses an unusual compression"),
    "lzma": (lambda: zipped(*PICTURES, how=zipfile.ZIP_LZMA), "uses an unusual compression"),
    "encrypted": (
        lambda: FOLDERS.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"),
        "encrypted",
    ),
    "bomb": (lambda: zipped(*PICTURES, ("a/b.png", bytes(2**26))), "implausible compression ratio"),
    "bombs": (lambda: zipped(*((f"a/{i}.png", bytes(2**26)) for i in range(5))), "unpacks to more than 256 MiB"),
    "lying bomb": (lambda: lying(zipped(("a/b.png", bytes(2**26 + 77))), 2**26 + 77, 1000), "damaged|not an image"),
    "many entries": (
        lambda: zipped(*((f"{i}", b"") for i in range(limits.MAX_ENTRIES + 1))),
        "more than 50000 entries",
    ),
    "very many entries": (lambda: zipped(*((f"{i}", b"") for i in range(80_000))), "more than 50000 entries"),
    "1 × 1": (lambda: zipped(*folders({"a": 5, "b": 5}, (1, 1))), "1 × 1 pixels"),
    "3 × 90": (lambda: zipped(*folders({"a": 5, "b": 5}, (90, 3))), "3 × 90 pixels"),
    "20,000 × 20,000": (lambda: zipped(*PICTURES, ("a/9.png", header_of(20_000, 20_000))), "16 million pixels"),
    "5,000 × 5,000": (lambda: zipped(*PICTURES, ("a/9.png", header_of(5_000, 5_000))), "16 million pixels"),
    "2³¹ × 1": (lambda: zipped(*PICTURES, ("a/9.png", header_of(2**31 - 1, 1))), "16 million pixels|not an image"),
    "0 × 0": (lambda: zipped(*PICTURES, ("a/9.png", header_of(0, 0))), "pixels|not an image"),
    "a header and no pixels": (lambda: zipped(*PICTURES, ("a/9.png", header_of(100, 100))), "not an image"),
    "an empty image": (lambda: zipped(*PICTURES, ("a/9.png", b"")), "not an image"),
    "text called png": (lambda: zipped(*PICTURES, ("a/9.png", b"<svg/>")), "not an image"),
    "postscript called jpg": (lambda: zipped(*PICTURES, ("a/9.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n")), "not an image"),
}

BAD_ARRAYS: dict[str, tuple[Make, str]] = {
    "only x": (lambda: arrays(x_train=X), "must contain x_train and y_train"),
    "only a test part": (lambda: arrays(x_test=X, y_test=Y), "must contain x_train"),
    "half a test part": (lambda: arrays(x_train=X, y_train=Y, y_test=Y), "must contain x_train"),
    "half a test part, the other": (lambda: arrays(x_train=X, y_train=Y, x_test=X), "must contain x_train"),
    "a stranger": (lambda: arrays(x_train=X, y_train=Y, weights=X), "array 'weights'"),
    "objects": (lambda: arrays(x_train=np.array([{}] * 40), y_train=Y), "run code"),
    "objects for labels": (lambda: arrays(x_train=X, y_train=np.array([None] * 40)), "run code"),
    "text": (lambda: arrays(x_train=np.full((40, 28, 28), "x"), y_train=Y), "text or other values"),
    "bytes": (lambda: arrays(x_train=np.full((40, 28, 28), b"x"), y_train=Y), "text or other values"),
    "complex": (lambda: arrays(x_train=X.astype(complex), y_train=Y), "text or other values"),
    "dates": (lambda: arrays(x_train=X, y_train=Y.astype("M8[s]")), "plain numbers|other values"),
    "records": (lambda: arrays(x_train=np.zeros(40, [("a", "f4")]), y_train=Y), "not numbers"),
    "NaN": (lambda: arrays(x_train=but(FLOATS, np.nan), y_train=Y), "not finite"),
    "infinity": (lambda: arrays(x_train=but(FLOATS, np.inf), y_train=Y), "not finite"),
    "NaN in the test part": (
        lambda: arrays(x_train=X, y_train=Y, x_test=but(FLOATS, np.nan)[:8], y_test=Y[:8]),
        "x_test has values that are not finite",
    ),
    "negative pixel": (lambda: arrays(x_train=but(FLOATS, -1), y_train=Y), "value -1"),
    "bright pixel": (lambda: arrays(x_train=but(FLOATS, 256), y_train=Y), "value 256"),
    "negative label": (lambda: arrays(x_train=X, y_train=but(Y, -1)), "label -1"),
    "large label": (lambda: arrays(x_train=X, y_train=but(Y, 1000)), "label 1000"),
    "very large label": (lambda: arrays(x_train=X, y_train=but(Y.astype(np.uint64), 2**64 - 1)), "from 0 to 999"),
    "half a label": (lambda: arrays(x_train=X, y_train=but(Y.astype(float), 0.5)), "whole numbers"),
    "NaN for a label": (lambda: arrays(x_train=X, y_train=but(Y.astype(float), np.nan)), "whole numbers"),
    "infinite label": (lambda: arrays(x_train=X, y_train=but(Y.astype(float), np.inf)), "whole numbers"),
    "words for labels": (lambda: arrays(x_train=X, y_train=np.array(["cat"] * 40)), "text or other values"),
    "one class": (lambda: arrays(x_train=X, y_train=np.zeros(40, int)), "has 1 class:"),
    "tiny class": (lambda: arrays(x_train=X, y_train=np.repeat([0, 1], [37, 3])), "'1' has 3 images"),
    "a label that is only tested": (
        lambda: arrays(x_train=X, y_train=Y, x_test=X[:1], y_test=[9]),
        "'9' has 0 training",
    ),
    "a label that is not tested": (
        lambda: arrays(x_train=X, y_train=Y, x_test=X[:1], y_test=[1]),
        "no images in the test",
    ),
    "fewer labels": (lambda: arrays(x_train=X, y_train=Y[:-1]), "one label for each"),
    "one-hot labels": (lambda: arrays(x_train=X, y_train=np.eye(4)[Y]), "one label for each"),
    "no images": (lambda: arrays(x_train=X[:0], y_train=Y[:0]), "is empty"),
    "no pixels": (lambda: arrays(x_train=X[:, :0], y_train=Y), "is empty"),
    "a scalar": (lambda: arrays(x_train=np.float32(1), y_train=Y), "is empty"),
    "flat": (lambda: arrays(x_train=X.ravel(), y_train=Y), "shape \\(31360,\\)"),
    "colour": (lambda: arrays(x_train=np.zeros((40, 8, 8, 3), "u1"), y_train=Y), "shape"),
    "not a square": (lambda: arrays(x_train=X.reshape(40, -1)[:, :783], y_train=Y), "783 pixels"),
    "1 × 1": (lambda: arrays(x_train=X[:, :1, :1], y_train=Y), "1 × 1 pixels"),
    "20,000 × 20,000": (lambda: member("x_train", npy(npy_header("|u1", (1, 20_000, 20_000)))), "damaged"),
    "10 GB": (lambda: member("x_train", npy(npy_header("<f8", (1_600_000, 784)), bytes(9))), "damaged"),
    "10 GB of labels": (lambda: member("y_train", npy(npy_header("<i8", (1_250_000_000,)))), "damaged"),
    "2⁶⁴ bytes": (lambda: member("x_train", npy(npy_header("|u1", (2**32, 2**32)))), "damaged"),
    "very many dimensions": (
        lambda: member("x_train", npy(npy_header("|u1", (1,) * 999))),
        "plain numbers|damaged|shape",
    ),
    "one byte less": (
        lambda: member("x_train", npy(npy_header("|u1", (40, 28, 28)), bytes(31359))),
        "damaged",
    ),
    "one byte more": (
        lambda: member("x_train", npy(npy_header("|u1", (40, 28, 28)), bytes(31361))),
        "longer than its header says",
    ),
    "no magic": (lambda: member("x_train", b"NUMPY" + bytes(200)), "not an array"),
    "an empty member": (lambda: member("x_train", b""), "not an array"),
    "version 9": (lambda: member("x_train", npy("{}", version=b"\x09\x00")), "not an array"),
    "a long header": (lambda: member("x_train", npy(" " * 60_000)), "x_train is not an array .* damaged"),
    "a header of 4 GB": (
        lambda: member("x_train", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}"),
        "x_train is not an array .* damaged",
    ),
    "a header with code": (lambda: member("x_train", npy("__import__('os').system('id')")), "plain numbers"),
    "a nested header": (lambda: member("x_train", npy("[" * 4000)), "plain numbers"),
    "a negative shape": (lambda: member("x_train", npy(npy_header("|u1", (-40, 28, 28)), bytes(9))), "plain numbers"),
    "a pickle for an array": (lambda: member("x_train", pickle.dumps(X)), "not an array"),
    "an unknown number": (lambda: member("x_train", npy(npy_header("<f3", (4, 16)), bytes(192))), "plain numbers"),
    "a bomb": (
        lambda: member("x_train", npy(npy_header("|u1", (200_000, 28, 28)), bytes(156_800_000))),
        "implausible compression ratio",
    ),
    "200,001 images": (
        lambda: arrays(x_train=np.tile(noise(3, (3, 4, 4)), (66_667, 1, 1)), y_train=np.arange(200_001) % 2),
        "200,001 images|implausible",
    ),
}

LINE = b"1" + b",7" * 16
BAD_TABLES: dict[str, tuple[Make, str]] = {
    "a blank line": (lambda: b"\n", "is empty"),
    "blank lines": (lambda: b"\n\n,,\n", "is empty"),
    "headings only": (lambda: b"label" + b",p" * 16, "no images"),
    "words only": (lambda: b"hello world, this is no table", "holds no images: line 1 has 2 cells,"),
    "html": (lambda: b"<!doctype html>\n<html>", "holds no images: line 1 has 1 cell,"),
    "sentences": (lambda: b"text,label\nI like it,good\nI do not,bad", "holds no images: line 1 has 2 cells,"),
    "people": (lambda: b"\nname,age,city,label,x\nAda,36,London,1,2", "holds no images: line 2 has 5 cells,"),
    "text in a pixel": (lambda: CSV + b"\n" + LINE.replace(b",7", b",x", 1), "Line 21 has text where a pixel"),
    "an empty pixel": (lambda: CSV + b"\n" + LINE.replace(b",7", b",", 1), "Line 21 has text where a pixel"),
    "hex in a pixel": (lambda: CSV + b"\n" + LINE.replace(b",7", b",0x1f", 1), "Line 21 has text"),
    "a formula in a pixel": (lambda: CSV + b"\n" + LINE.replace(b",7", b",=1+1", 1), "Line 21 has text"),
    "NaN": (lambda: CSV + b"\n" + LINE.replace(b",7", b",nan", 1), "Line 21 has values that are not finite"),
    "infinity": (lambda: CSV + b"\n" + LINE.replace(b",7", b",1e999", 1), "Line 21 has values that are not finite"),
    "a negative pixel": (lambda: CSV + b"\n" + LINE.replace(b",7", b",-7", 1), "value -7"),
    "a bright pixel": (lambda: CSV + b"\n" + LINE.replace(b",7", b",256", 1), "value 256"),
    "a short line": (lambda: CSV + b"\n1,2,3", "Line 21 has 3 cells, but the first line has 17"),
    "a long line": (lambda: CSV + b"\n" + LINE + b",7", "Line 21 has 18 cells"),
    "not a square": (lambda: b"1" + b",7" * 17, "holds no images: line 1 has 18 cells,"),
    "one pixel": (lambda: b"1,7\n2,8", "holds no images: line 1 has 2 cells,"),
    "a line without end": (lambda: b"1" + b",7" * 2**20, "has 1 class:"),
    "a quote without end": (lambda: CSV + b'\n"' + b"x" * 200_000, "Line 21 is not a line"),
    "a null": (lambda: CSV + b"\n" + LINE.replace(b"7", b"\0", 1), "not a zip, npz or CSV|Line 21"),
    "old line ends": (lambda: CSV.replace(b"\n", b"\r"), "line|cells|pixels"),
    "negative label": (lambda: CSV + b"\n-1" + LINE[1:], "label -1"),
    "large label": (lambda: CSV + b"\n1000" + LINE[1:], "label 1000"),
    "half a label": (lambda: CSV + b"\n0.5" + LINE[1:], "label '0.5'"),
    "NaN for a label": (lambda: CSV + b"\nnan" + LINE[1:], "label 'nan'"),
    "mixed labels": (lambda: CSV + b"\ncat" + LINE[1:], "mix numbers and words"),
    "one class": (lambda: b"\n".join([LINE] * 20), "has 1 class:"),
    "a tiny class": (lambda: CSV + b"\n9" + LINE[1:], "'9' has 1 image:"),
    "1001 classes": (lambda: b"\n".join(b"c%d" % i + LINE[1:] for i in range(1001)), "1,001 different labels"),
    "an unusable class": (lambda: b"\n".join([LINE] * 5 + [b"\xe2\x80\xae" + LINE] * 5), "mix|usable"),
}

ALL: dict[str, tuple[Make, str]] = {
    f"{kind}: {name}": case
    for kind, cases in {"file": BAD_FILES, "zip": BAD_ZIPS, "npz": BAD_ARRAYS, "csv": BAD_TABLES}.items()
    for name, case in cases.items()
}


def refusal(read: Callable[[], object]) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(DatasetError) as caught:
        read()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert len(sentence) < 400
    return sentence


def or_sentence(ask: Callable[[], T]) -> T | str:
    """What comes of it, or the one sentence that says why nothing does."""
    try:
        return ask()
    except DatasetError as error:
        sentence = str(error)
    assert "\n" not in sentence
    return sentence
