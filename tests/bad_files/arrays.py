"""Bad datasets of images as arrays in an npz and as tables of pixels in a CSV."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from tests.bad_files.catalog import BadFile, Table, marked, of_kind
from tests.bad_files.zips import dull
from tests.data.uploaded import CSV, NPZ, X, Y, arrays, entries_of, noise, npy, npy_header, zipped

FLOATS = X.astype(np.float32)


def npz(x: Any = X, y: Any = Y, **more: Any) -> bytes:
    """A sound npz with other arrays to train on, or more of them."""
    return arrays(x_train=x, y_train=y, **more)


def member(name: str, content: bytes) -> bytes:
    """A sound npz with one member in another's place."""
    return zipped(*(entries_of(NPZ) | {f"{name}.npy": content}).items())


def array(kind: str, shape: tuple[int, ...], data: bytes = b"") -> bytes:
    """A sound npz whose images have this header and these bytes."""
    return member("x_train", npy(npy_header(kind, shape), data))


def two(x: tuple[str, tuple[int, ...], bytes], y: tuple[str, tuple[int, ...], bytes]) -> bytes:
    """An npz of images and labels, each as kind, shape and bytes."""
    parts = {"x_train.npy": x, "y_train.npy": y}
    return zipped(*((name, npy(npy_header(kind, shape), data)) for name, (kind, shape, data) in parts.items()))


def but(values: np.ndarray, value: float) -> np.ndarray:
    changed = values.copy()
    changed.flat[5] = value
    return changed


NOT_NUMBERS, DAMAGED, NO_ARRAY = "text or other values", "damaged", "not an array"
REAL, MUST = Y.astype(float), "must contain x_train"

ARRAYS: Table = {
    "only x": (lambda: arrays(x_train=X), "must contain x_train and y_train"),
    "only a test part": (lambda: arrays(x_test=X, y_test=Y), MUST),
    "half a test part": (lambda: npz(y_test=Y), MUST),
    "half a test part, the other": (lambda: npz(x_test=X), MUST),
    "a stranger": (lambda: npz(weights=X), "must contain x_train and y_train"),
    "objects": (lambda: npz(np.array([{}] * 40)), "is not an array of plain numbers"),
    "objects for labels": (lambda: npz(y=np.array([None] * 40)), "is not an array of plain numbers"),
    "text": (lambda: npz(np.full((40, 28, 28), "x")), NOT_NUMBERS),
    "bytes": (lambda: npz(np.full((40, 28, 28), b"x")), NOT_NUMBERS),
    "complex": (lambda: npz(X.astype(complex)), NOT_NUMBERS),
    "dates": (lambda: npz(y=Y.astype("M8[s]")), "plain numbers|other values"),
    "records": (lambda: npz(np.zeros(40, [("a", "f4")])), "not numbers"),
    "NaN": (lambda: npz(but(FLOATS, np.nan)), "not finite"),
    "infinity": (lambda: npz(but(FLOATS, np.inf)), "not finite"),
    "NaN in the test part": (lambda: npz(x_test=but(FLOATS, np.nan)[:8], y_test=Y[:8]), "x_test has values that are"),
    "negative pixel": (lambda: npz(but(FLOATS, -1)), "value -1"),
    "bright pixel": (lambda: npz(but(FLOATS, 256)), "value 256"),
    "negative label": (lambda: npz(y=but(Y, -1)), "class '-1' has 1"),
    "large label": (lambda: npz(y=but(Y, 1000)), "class '1000' has 1"),
    "very large label": (lambda: npz(y=but(Y.astype(np.uint64), 2**64 - 1)), "class '18446744073709551616' has 1"),
    "half a label": (lambda: npz(y=but(REAL, 0.5)), "whole numbers"),
    "NaN for a label": (lambda: npz(y=but(REAL, np.nan)), "whole numbers"),
    "infinite label": (lambda: npz(y=but(REAL, np.inf)), "whole numbers"),
    "subnormal and huge labels": lambda: npz(y=np.where(Y == 1, 5e-324, 1e308)),
    "words for labels": (lambda: npz(y=np.array(["cat"] * 40)), NOT_NUMBERS),
    "one class": (lambda: npz(y=np.zeros(40, int)), "has 1 class:"),
    "tiny class": (lambda: npz(y=np.repeat([0, 1], [37, 3])), "'1' has 3 images"),
    "a label that is only tested": (lambda: npz(x_test=X[:1], y_test=[9]), "'9' has 0 training"),
    "a label that is not tested": (lambda: npz(x_test=X[:1], y_test=[1]), "no images in the test"),
    "fewer labels": (lambda: npz(y=Y[:-1]), "one label for each"),
    "one-hot labels": (lambda: npz(y=np.eye(4)[Y]), "one label for each"),
    "no images": (lambda: npz(X[:0], Y[:0]), "is empty"),
    "no pixels": (lambda: npz(X[:, :0]), "is empty"),
    "a scalar": (lambda: npz(np.float32(1)), "is empty"),
    "flat": (lambda: npz(X.ravel()), "shape \\(31360,\\)"),
    "color": (lambda: npz(np.zeros((40, 8, 8, 3), "u1")), "shape"),
    "not a square": (lambda: npz(X.reshape(40, -1)[:, :783]), "783 pixels"),
    "1 × 1": (lambda: npz(X[:, :1, :1]), "1 × 1 pixels"),
    "20,000 × 20,000": (lambda: array("|u1", (1, 20_000, 20_000)), DAMAGED),
    "10 GB": (lambda: array("<f8", (1_600_000, 784), bytes(9)), DAMAGED),
    "10 GB of labels": (lambda: member("y_train", npy(npy_header("<i8", (1_250_000_000,)))), DAMAGED),
    "2⁶⁴ bytes": (lambda: array("|u1", (2**32, 2**32)), DAMAGED),
    "very many dimensions": (lambda: array("|u1", (1,) * 999), "plain numbers|damaged|shape"),
    "one byte less": (lambda: array("|u1", (40, 28, 28), bytes(31359)), DAMAGED),
    "one byte more": (lambda: array("|u1", (40, 28, 28), bytes(31361)), "longer than its header says"),
    "no magic": (lambda: member("x_train", b"NUMPY" + bytes(200)), NO_ARRAY),
    "an empty member": (lambda: member("x_train", b""), NO_ARRAY),
    "version 9": (lambda: member("x_train", npy("{}", version=b"\x09\x00")), NO_ARRAY),
    "a long header": (lambda: member("x_train", npy(" " * 60_000)), "x_train is not an array .* damaged"),
    "a header of 4 GB": (lambda: member("x_train", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}"), "x_train is not an array"),
    "a header with code": (lambda: member("x_train", npy("__import__('os').system('id')")), "plain numbers"),
    "a nested header": (lambda: member("x_train", npy("[" * 4000)), "plain numbers"),
    "a negative shape": (lambda: array("|u1", (-40, 28, 28), bytes(9)), "plain numbers"),
    "a pickle for an array": (lambda: member("x_train", pickle.dumps(X)), NO_ARRAY),
    "an unknown number": (lambda: array("<f3", (4, 16), bytes(192)), "plain numbers"),
    "a bomb": (lambda: array("|u1", (200_000, 28, 28), bytes(156_800_000)), "200,008 images: the limit is"),
    "bytes in another order": lambda: array(">f8", (40, 28, 28), b"\x7f\xf8" * 125_440),
    "200,001 images": (
        lambda: npz(np.tile(noise(3, (3, 4, 4)), (66_667, 1, 1)), np.arange(200_001) % 2),
        "200,001 images",
    ),
    "two images of 4000 × 4000 doubles": (
        lambda: two(("<f8", (2, 4000, 2000), dull(128_000_000)), ("|u1", (2,), b"\0\1")),
        "",
    ),
    "an image of 4000 × 4000 doubles": lambda: two(("<f8", (1, 4000, 4000), dull(128_000_000)), ("|u1", (1,), b"\0")),
    "200 MB of doubles": (
        lambda: two(("<f8", (32_000, 784), dull(200_708_000)[:200_704_000]), ("|u1", (32_000,), bytes(32_000))),
        "",
    ),
    "200,000 images of one class": (
        lambda: two(
            ("|u1", (200_000, 28, 28), dull(156_800_000)),
            ("<i8", (200_000,), np.arange(200_000).astype("<i8").clip(0, 1).tobytes()),
        ),
        "",
    ),
    "labels of 2 GB": lambda: two(("|u1", (250_000_000, 8, 8), b""), ("<f8", (250_000_000,), b"")),
}

LINE = b"1" + b",7" * 16
NO_IMAGES, NO_PIXEL = "holds no images: its first row has", "for pixel 1: pixels are numbers"


def last(line: bytes) -> bytes:
    """A sound table with one more line."""
    return CSV + b"\n" + line


def pixel(cell: bytes) -> bytes:
    """A sound table with one more line, whose first pixel is this."""
    return last(LINE.replace(b",7", b"," + cell, 1))


def lines(count: int, last: bytes) -> bytes:
    """A table of many valid lines and one more."""
    body = b"\n".join(b"%d,%d" % (row % 2, row % 256) + b",7" * 15 for row in range(count))
    return body + b"\n" + last


TABLES: Table = {
    "a blank line": (lambda: b"\n", "holds no images"),
    "blank lines": (lambda: b"\n\n,,\n", "holds no images"),
    "headings only": (lambda: b"label" + b",p" * 16, "no images"),
    "words only": (lambda: b"hello world, this is no table", f"{NO_IMAGES} 2 cells,"),
    "html": (lambda: b"<!doctype html>\n<html>", f"{NO_IMAGES} 1 cell,"),
    "sentences": (lambda: b"text,label\nI like it,good\nI do not,bad", f"{NO_IMAGES} 2 cells,"),
    "people": (lambda: b"\nname,age,city,label,x\nAda,36,London,1,2", f"{NO_IMAGES} 5 cells,"),
    "text in a pixel": (lambda: pixel(b"x"), NO_PIXEL),
    "an empty pixel": (lambda: pixel(b""), NO_PIXEL),
    "hex in a pixel": (lambda: pixel(b"0x1f"), NO_PIXEL),
    "a formula in a pixel": (lambda: pixel(b"=1+1"), NO_PIXEL),
    "NaN in a pixel": (lambda: pixel(b"nan"), NO_PIXEL),
    "infinity in a pixel": (lambda: pixel(b"1e999"), "Row 21 has values that are not finite"),
    "a negative pixel": (lambda: pixel(b"-7"), "value -7"),
    "a bright pixel": (lambda: pixel(b"256"), "value 256"),
    "a short line": (lambda: last(b"1,2,3"), "Row 21 has 3 cells, but the first row has 17"),
    "a long line": (lambda: last(LINE + b",7"), "Row 21 has 18 cells"),
    "no square of pixels": (lambda: b"1" + b",7" * 17, f"{NO_IMAGES} 18 cells,"),
    "one pixel": (lambda: b"1,7\n2,8", f"{NO_IMAGES} 2 cells,"),
    "a line without end": (lambda: b"1" + b",7" * 2**20, "holds no images"),
    "a quote without end": (lambda: last(b'"' + b"x" * 200_000), "Row 21 has a quote"),
    "a null in a line": (lambda: last(LINE.replace(b"7", b"\0", 1)), "is not a CSV"),
    "a negative label": (lambda: last(b"-1" + LINE[1:]), "class '-1' has 1"),
    "a large label": (lambda: last(b"1000" + LINE[1:]), "class '1000' has 1"),
    "half of a label": (lambda: last(b"0.5" + LINE[1:]), "class '0.5' has 1"),
    "NaN in a label": (lambda: last(b"nan" + LINE[1:]), "mix numbers and words"),
    "mixed labels": (lambda: last(b"cat" + LINE[1:]), "mix numbers and words"),
    "lines of one class": (lambda: b"\n".join([LINE] * 20), "has 1 class:"),
    "a class of one line": (lambda: last(b"9" + LINE[1:]), "'9' has 1 image:"),
    "1,001 labels": (lambda: b"\n".join(b"c%d" % i + LINE[1:] for i in range(1001)), "1,001 different labels"),
    "an unusable class": (lambda: b"\n".join([LINE] * 5 + [b"\xe2\x80\xae" + LINE] * 5), "mix|usable"),
    "16 million empty lines": lambda: b"\n" * (2**24 - 1),
    "8 million lines of one letter": lambda: b"a\n" * (2**23 - 1),
    "16 million commas": lambda: (b"," * (2**20 - 2) + b"\n") * 15,
    "200,000 headings": lambda: b",".join([b"a"] * 200_000),
    "190,000 lines and a wrong one": lambda: lines(190_000, LINE + b",7"),
    "190,000 lines and a lonely class": lambda: lines(190_000, b"5" + LINE[1:]),
    "text of four bytes a letter": lambda: (CSV + b"\n" + "🙂".encode() + LINE[1:] + b"\n") * 13_000,
    "very long labels": lambda: b"\n".join(b"%05d" % row + b"x" * 100_000 + b",7" * 16 for row in range(140)),
    "a label of two lines": lambda: b"\n".join(b'"a\nb"' + b",7" * 16 for _ in range(20)) + b"\n" + CSV,
    "an end of an npz": lambda: CSV[:-3] + b",x",
}

LONG = (
    *("npz, two images of 4000 × 4000 doubles", "npz, 200 MB of doubles", "csv, 16 million commas"),
    *("npz, an image of 4000 × 4000 doubles", "npz, a bomb", "csv, a line without end", "csv, 200,000 headings"),
    *(
        "csv, text of four bytes a letter",
        "csv, 190,000 lines and a wrong one",
        "csv, 190,000 lines and a lonely class",
        "csv, 16 million empty lines",
        "csv, very long labels",
        "npz, 200,000 images of one class",
    ),
)


def bad_files() -> list[BadFile]:
    parts = (("npz", ARRAYS), ("csv", TABLES))
    return marked(
        of_kind("images", {f"{n}, {k}": c for n, table in parts for k, c in table.items()}), LONG, is_long=True
    )
