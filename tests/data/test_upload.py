"""Uploads: what is sound comes through pixel by pixel; all else is one sentence, in bounded memory, leaving nothing."""

from __future__ import annotations

import gzip
import io
import pickle
import re
import stat
import struct
import sys
import threading
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.data import own
from core.data.catalog import Catalog
from core.data.dataset import ImageDataset
from core.data.tasks import Tasks, make_task
from core.data.uploads import Draft, limits, read_upload
from core.data.uploads import table as uploaded_table
from core.data.uploads.draft import samples
from core.data.uploads.images import decode
from core.errors import DatasetError
from core.settings import Settings
from core.spec import TaskSpec
from tests.data.uploaded import arrays, digits, entry, folders, noise, npy, npy_header, picture, table, zipped

T = TypeVar("T")

X, Y = digits()
NPZ = arrays(x_train=X, y_train=Y, x_test=X[:8], y_test=Y[:8])
FOLDERS = zipped(*folders({"cat": 6, "dog": 7}))
CSV = table(X[:20, :4, :4], Y[:20])
GOOD = {"npz": NPZ, "folders": FOLDERS, "csv": CSV}


def flat(draft: Draft) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels, train part first."""
    data = draft.dataset
    return (
        np.concatenate([data.train_images, data.test_images]),
        np.concatenate([data.train_labels, data.test_labels]),
    )


def held(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
    return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


# What is sound


@pytest.mark.parametrize("dtype", ["u1", "<i4", ">u2", "<i8", "<f4", ">f8", "<f2"])
@pytest.mark.parametrize("shape", [(40, 28, 28), (40, 784), (40, 28, 28, 1)])
def test_arrays_of_any_numbers_come_through_pixel_by_pixel(dtype: str, shape: tuple[int, ...]) -> None:
    y = Y.reshape(-1, 1) if len(shape) == 4 else Y
    draft = read_upload(arrays(x_train=X.reshape(shape).astype(dtype), y_train=y, x_test=X[:8], y_test=Y[:8]))
    np.testing.assert_array_equal(draft.dataset.train_images, X)
    np.testing.assert_array_equal(draft.dataset.train_labels, Y)
    np.testing.assert_array_equal(draft.dataset.test_images, X[:8])
    assert draft.train_counts == (10,) * 4
    assert draft.dataset.class_names == tuple("0123")


@pytest.mark.parametrize("kind", ["<f4", "<f8", "|b1", "u1"])
def test_shares_from_0_to_1_become_0_to_255(kind: str) -> None:
    x = X > 127 if kind in ("|b1", "u1") else X / 255
    draft = read_upload(arrays(x_train=x.astype(kind), y_train=Y))
    wanted = (X > 127) * 255 if kind in ("|b1", "u1") else X
    assert held(*flat(draft)) == held(wanted.astype(np.uint8), Y)


def test_one_scale_serves_both_parts() -> None:
    dark = np.ones((8, 28, 28), np.uint8)
    draft = read_upload(arrays(x_train=X, y_train=Y, x_test=dark, y_test=Y[:8]))
    assert draft.dataset.test_images.max() == 1


@pytest.mark.parametrize("parted", [",", ";", "\t"])
@pytest.mark.parametrize("heading", ["", "label,pixel0,pixel1", "\ufeffclass"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\n\n"])
def test_a_table_comes_through_pixel_by_pixel(parted: str, heading: str, ends: str) -> None:
    names = [*heading.split(","), *(f"p{i}" for i in range(784))][:785] if heading else []
    text = table(X, Y, parted.join(names), parted).decode().replace("\n", ends) + ends
    draft = read_upload(text.encode())
    assert held(*flat(draft)) == held(X, Y)


def test_a_heading_says_where_the_labels_are_and_words_are_classes() -> None:
    words = ["pear", "apple", "fig", "kiwi"]
    lines = [",".join([*map(str, image.ravel()), words[label]]) for image, label in zip(X, Y, strict=True)]
    draft = read_upload("\n".join([",".join([*(f"p{i}" for i in range(784)), "Class"]), *lines]).encode())
    assert draft.dataset.class_names == ("apple", "fig", "kiwi", "pear")
    assert held(*flat(draft)) == held(X, np.array([3, 0, 1, 2])[Y])


@pytest.mark.parametrize(
    ("prefix", "has_test"),
    [("", False), ("my set/", False), ("a/b/c/", False), ("train/", False), ("train/", True), ("x/Training/", True)],
)
def test_class_folders_are_found_under_whatever_is_around_them(prefix: str, has_test: bool) -> None:
    train = folders({f"{prefix}10": 6, f"{prefix}9": 7, f"{prefix}ä b": 5})
    other = prefix.replace("Training", "Testing").replace("train", "test")
    test = folders({f"{other}10": 1, f"{other}9": 2, f"{other}ä b": 3}, start=50) if has_test else []
    junk = [("__MACOSX/._1.png", b"x"), (f"{prefix}9/.DS_Store", b"x"), (f"{prefix}9/", b"")]
    draft = read_upload(zipped(*train, *test, *junk))
    assert draft.dataset.class_names == ("9", "10", "ä b")
    wanted = [noise(i) for i in range(18)] + ([noise(50 + i) for i in range(6)] if has_test else [])
    labels = [1] * 6 + [0] * 7 + [2] * 5 + ([1, 0, 0, 2, 2, 2] if has_test else [])
    assert held(*flat(draft)) == held(np.array(wanted), np.array(labels))
    if has_test:
        assert draft.test_counts == (2, 1, 3)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
@pytest.mark.parametrize("shape", [(4, 4), (64, 64), (9, 90), (90, 9), (300, 200, 3)])
def test_pictures_of_any_kind_and_size_become_28_by_28(form: str, shape: tuple[int, ...]) -> None:
    draft = read_upload(zipped(*folders({"a": 5, "b": 5}, shape, form)))
    assert flat(draft)[0].shape == (10, 28, 28)
    assert flat(draft)[0].std() > 10


def test_a_strip_keeps_its_shape_and_gets_the_colour_of_its_corners() -> None:
    strip = np.full((14, 56), 200, np.uint8)
    strip[4:10, 8:48] = 0
    square, pixels = decode(picture(strip), "x")
    assert pixels == 14 * 56
    assert set(square[:10].ravel()) | set(square[18:].ravel()) == {200}
    assert square[14, 14] < 50


def test_what_is_transparent_is_white_and_16_bits_are_greys_too() -> None:
    clear = np.zeros((8, 8, 4), np.uint8)
    assert decode(picture(clear), "x")[0].min() == 255
    deep = np.tile(np.arange(28, dtype=np.uint16) * 2000, (28, 1))
    np.testing.assert_array_equal(decode(picture(deep), "x")[0], deep >> 8)


@settings(deadline=None)
@given(st.lists(st.integers(5, 40), min_size=2, max_size=6), st.integers(0, 2**32 - 1))
def test_the_split_is_stratified_exhaustive_and_always_the_same(counts: list[int], seed: int) -> None:
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    x = np.arange(len(y) * 784, dtype=np.uint32).view(np.uint8).reshape(-1, 28, 28)[: len(y)]
    content = arrays(x_train=x, y_train=y)
    one, two = read_upload(content), read_upload(content)
    np.testing.assert_array_equal(one.dataset.test_images, two.dataset.test_images)
    assert held(*flat(one)) == held(x, y)
    assert [a + b for a, b in zip(one.train_counts, one.test_counts, strict=True)] == counts
    assert one.test_counts == tuple(max(1, round(0.2 * count)) for count in counts)
    assert not any(part.flags.writeable for part in (one.dataset.train_images, one.dataset.test_labels))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0, 3, 500, 999]), min_size=2, max_size=4, unique=True),
    st.floats(0.02, 0.5),
    st.booleans(),
)
def test_every_draft_gives_a_task_at_every_validation_share(labels: list[int], share: float, has_test: bool) -> None:
    y = np.repeat(labels, 4 if has_test else 5)
    test = {"x_test": X[: len(labels)], "y_test": np.array(labels)} if has_test else {}
    draft = read_upload(arrays(x_train=noise(1, (len(y), 28, 28)), y_train=y, **test))
    task = make_task(TaskSpec.of(dataset="upload", validation=share), draft.dataset)
    assert task.classes == tuple(range(len(labels)))
    assert draft.dataset.class_names == tuple(str(label) for label in sorted(labels))


def test_samples_are_the_first_of_a_class_side_by_side() -> None:
    data = read_upload(NPZ).dataset
    strip = samples(data, 1, 3)
    np.testing.assert_array_equal(strip, np.concatenate([X[1], X[5], X[9]], 1))
    assert samples(data, 1, 99).shape == (28, 280)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (arrays(x_train=noise(1, (110, 28, 28)), y_train=np.repeat([0, 1], [100, 10])), "uneven: '0' has 80"),
        (arrays(x_train=noise(1, (60, 28, 28)), y_train=np.repeat([0, 1], [10, 50])), "1 of 2 classes have fewer"),
        (NPZ, "8 of 8 test images are in the training part"),
        (arrays(x_train=np.tile(noise(1), (50, 1, 1)), y_train=np.arange(50) % 2), "10 of 10 test images"),
        (arrays(x_train=np.zeros((50, 28, 28)), y_train=np.arange(50) % 2), "50 of 50 images are of one colour"),
        (arrays(x_train=noise(1, (50, 28, 28)) // 16, y_train=np.arange(50) % 2), "brightest pixel is 15"),
        (zipped(*folders({"a": 25, "b": 25}), ("a/readme.txt", b"hi")), "1 file that is no image was passed over"),
    ],
)
def test_what_should_give_pause_is_said(content: bytes, sentence: str) -> None:
    assert any(sentence in warning for warning in read_upload(content).warnings)


def test_a_sound_dataset_gives_no_warning() -> None:
    assert read_upload(arrays(x_train=noise(1, (60, 28, 28)), y_train=np.arange(60) % 2)).warnings == ()


# What is not


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


def with_pixel(value: object) -> bytes:
    return CSV.replace(b",", f",{value},".encode(), 1).replace(CSV.split(b",")[1] + b",", b"", 1)


PICTURES = folders({"a": 5, "b": 5})
ONE = picture(noise(1))
FLOATS = X.astype(np.float32)


def but(values: np.ndarray, value: float) -> np.ndarray:
    changed = values.copy()
    changed.flat[5] = value
    return changed


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "too large": (bytes(limits.MOST_BYTES + 1), "larger than 16 MiB"),
    "pickle": (pickle.dumps({"x_train": X}), "pickle"),
    "pickle of protocol 0": (pickle.dumps({"a": [1]}, protocol=0), "cell|pixels|CSV"),
    "npy": (npy(npy_header("|u1", (2, 2)), bytes(4)), "single array"),
    "gzip": (gzip.compress(CSV), "unpack it first"),
    "png": (ONE, "single image"),
    "jpeg": (picture(noise(1), "JPEG"), "single image"),
    "rar": (b"Rar!\x1a\x07\x01\x00", "RAR"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(20), "7z"),
    "zeros": (bytes(1000), "no zip, npz or CSV"),
    "latin-1": ("näme,1,2,3,4".encode("latin-1"), "not text in UTF-8"),
    "executable": (b"\x7fELF\x02\x01\x01" + bytes(90), "no zip, npz or CSV"),
}

BAD_ZIPS: dict[str, tuple[bytes, str]] = {
    "no entries": (zipped(), "no images"),
    "no images": (zipped(("a/1.txt", b"1")), "no images"),
    "beginning only": (b"PK\x03\x04" + bytes(60), "not a zip file, or it is damaged"),
    "images in no folder": (zipped(*((f"{i}.png", ONE) for i in range(9))), "in no class folder"),
    "one image in no folder": (zipped(*PICTURES, ("1.png", ONE)), "in no class folder"),
    "folders too deep": (zipped(*PICTURES, ("a/b/1.png", ONE)), "in no class folder"),
    "a valid part": (zipped(*folders({f"{p}/{c}": 5 for p in ("train", "test", "valid") for c in "a"})), "in no class"),
    "one class": (zipped(*folders({"a": 9})), "has 1 class:"),
    "one class in train": (zipped(*folders({"train/a": 9, "test/a": 9})), "has 1 class:"),
    "a tiny class": (zipped(*folders({"a": 9, "b": 4})), "'b' has 4 images"),
    "a tiny class to train on": (zipped(*folders({"train/a": 9, "train/b": 3, "test/a": 1, "test/b": 1})), "'b' has 3"),
    "a class to test only": (zipped(*folders({"train/a": 9, "test/a": 1, "test/b": 9})), "'b' has 0 training images"),
    "a class to train only": (zipped(*folders({"train/a": 9, "train/b": 9, "test/a": 1})), "no images in the test"),
    "1001 classes": (zipped(*((f"{i}/1.png", ONE) for i in range(1001))), "has 1001 classes"),
    "a long name": (zipped(*folders({"a": 5, "b" * 65: 5})), "no usable name"),
    "a name with a control": (zipped(*folders({"a": 5, "b\u202e": 5})), "no usable name"),
    "a nested zip": (zipped(*PICTURES, ("a/more.zip", FOLDERS)), "another archive"),
    "a nested tar": (zipped(*PICTURES, ("a/more.tar.gz", b"x")), "another archive"),
    "a zip called png": (zipped(*PICTURES, ("a/9.png", FOLDERS)), "not an image that can be read"),
    "a pickle beside": (zipped(*PICTURES, ("a/model.pkl", b"\x80\x04.")), "run code"),
    "a torch file beside": (zipped(*PICTURES, ("a/MODEL.PT", b"x")), "run code"),
    "an array beside": (zipped(*PICTURES, ("a/x.npy", b"x")), "run code"),
    "parent folder": (zipped(*PICTURES, ("../evil.png", ONE)), "unsafe name"),
    "inner parent": (zipped(*PICTURES, ("a/../../evil.png", ONE)), "unsafe name"),
    "absolute": (named("/etc/evil.png"), "unsafe name"),
    "backslash": (named("..\\evil.png"), "unsafe name"),
    "drive": (zipped(*PICTURES, ("c:evil.png", ONE)), "unsafe name"),
    "null": (named("a/evil\0.png"), "unsafe name"),
    "symbolic link": (zipped(*PICTURES, (entry("a/l.png", stat.S_IFLNK | 0o777), b"/etc/passwd")), "link or a device"),
    "device": (zipped(*PICTURES, (entry("a/null", stat.S_IFCHR | 0o666), b"")), "link or a device"),
    "bzip2": (zipped(*PICTURES, how=zipfile.ZIP_BZIP2), "packed in an unusual way"),
    "lzma": (zipped(*PICTURES, how=zipfile.ZIP_LZMA), "packed in an unusual way"),
    "encrypted": (FOLDERS.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"), "encrypted"),
    "bomb": (zipped(*PICTURES, ("a/b.png", bytes(2**26))), "unpacks to far more than it is"),
    "bombs": (zipped(*((f"a/{i}.png", bytes(2**26)) for i in range(5))), "unpacks to more than 256 MiB"),
    "lying bomb": (lying(zipped(("a/b.png", bytes(2**26 + 77))), 2**26 + 77, 1000), "damaged|not an image"),
    "many entries": (zipped(*((f"{i}", b"") for i in range(limits.MOST_ENTRIES + 1))), "more than 50000 entries"),
    "very many entries": (zipped(*((f"{i}", b"") for i in range(80_000))), "more than 50000 entries"),
    "1 × 1": (zipped(*folders({"a": 5, "b": 5}, (1, 1))), "1 × 1 pixels"),
    "3 × 90": (zipped(*folders({"a": 5, "b": 5}, (90, 3))), "3 × 90 pixels"),
    "20,000 × 20,000": (zipped(*PICTURES, ("a/9.png", header_of(20_000, 20_000))), "16 million pixels"),
    "5,000 × 5,000": (zipped(*PICTURES, ("a/9.png", header_of(5_000, 5_000))), "16 million pixels"),
    "2³¹ × 1": (zipped(*PICTURES, ("a/9.png", header_of(2**31 - 1, 1))), "16 million pixels|not an image"),
    "0 × 0": (zipped(*PICTURES, ("a/9.png", header_of(0, 0))), "pixels|not an image"),
    "a header and no pixels": (zipped(*PICTURES, ("a/9.png", header_of(100, 100))), "not an image"),
    "an empty image": (zipped(*PICTURES, ("a/9.png", b"")), "not an image"),
    "text called png": (zipped(*PICTURES, ("a/9.png", b"<svg/>")), "not an image"),
    "postscript called jpg": (zipped(*PICTURES, ("a/9.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n")), "not an image"),
}  # fmt: skip

BAD_ARRAYS: dict[str, tuple[bytes, str]] = {
    "only x": (arrays(x_train=X), "must hold x_train and y_train"),
    "only a test part": (arrays(x_test=X, y_test=Y), "must hold x_train"),
    "half a test part": (arrays(x_train=X, y_train=Y, y_test=Y), "must hold x_train"),
    "half a test part, the other": (arrays(x_train=X, y_train=Y, x_test=X), "must hold x_train"),
    "a stranger": (arrays(x_train=X, y_train=Y, weights=X), "array 'weights'"),
    "objects": (arrays(x_train=np.array([{}] * 40), y_train=Y), "run code"),
    "objects for labels": (arrays(x_train=X, y_train=np.array([None] * 40)), "run code"),
    "text": (arrays(x_train=np.full((40, 28, 28), "x"), y_train=Y), "text or another kind"),
    "bytes": (arrays(x_train=np.full((40, 28, 28), b"x"), y_train=Y), "text or another kind"),
    "complex": (arrays(x_train=X.astype(complex), y_train=Y), "another kind"),
    "dates": (arrays(x_train=X, y_train=Y.astype("M8[s]")), "plain numbers|another kind"),
    "records": (arrays(x_train=np.zeros(40, [("a", "f4")]), y_train=Y), "plain numbers"),
    "NaN": (arrays(x_train=but(FLOATS, np.nan), y_train=Y), "not finite"),
    "infinity": (arrays(x_train=but(FLOATS, np.inf), y_train=Y), "not finite"),
    "NaN in the test part": (
        arrays(x_train=X, y_train=Y, x_test=but(FLOATS, np.nan)[:8], y_test=Y[:8]),
        "x_test holds values that are not finite",
    ),
    "negative pixel": (arrays(x_train=but(FLOATS, -1), y_train=Y), "value -1"),
    "bright pixel": (arrays(x_train=but(FLOATS, 256), y_train=Y), "value 256"),
    "negative label": (arrays(x_train=X, y_train=but(Y, -1)), "label -1"),
    "large label": (arrays(x_train=X, y_train=but(Y, 1000)), "label 1000"),
    "very large label": (arrays(x_train=X, y_train=but(Y.astype(np.uint64), 2**64 - 1)), "from 0 to 999"),
    "half a label": (arrays(x_train=X, y_train=but(Y.astype(float), 0.5)), "whole numbers"),
    "NaN for a label": (arrays(x_train=X, y_train=but(Y.astype(float), np.nan)), "whole numbers"),
    "infinite label": (arrays(x_train=X, y_train=but(Y.astype(float), np.inf)), "whole numbers"),
    "words for labels": (arrays(x_train=X, y_train=np.array(["cat"] * 40)), "text or another kind"),
    "one class": (arrays(x_train=X, y_train=np.zeros(40, int)), "has 1 class:"),
    "tiny class": (arrays(x_train=X, y_train=np.repeat([0, 1], [37, 3])), "'1' has 3 images"),
    "a label that is only tested": (arrays(x_train=X, y_train=Y, x_test=X[:1], y_test=[9]), "'9' has 0 training"),
    "a label that is not tested": (arrays(x_train=X, y_train=Y, x_test=X[:1], y_test=[1]), "no images in the test"),
    "fewer labels": (arrays(x_train=X, y_train=Y[:-1]), "one label for each"),
    "one-hot labels": (arrays(x_train=X, y_train=np.eye(4)[Y]), "one label for each"),
    "no images": (arrays(x_train=X[:0], y_train=Y[:0]), "is empty"),
    "no pixels": (arrays(x_train=X[:, :0], y_train=Y), "is empty"),
    "a scalar": (arrays(x_train=np.float32(1), y_train=Y), "is empty"),
    "flat": (arrays(x_train=X.ravel(), y_train=Y), "shape \\(31360,\\)"),
    "colour": (arrays(x_train=np.zeros((40, 8, 8, 3), "u1"), y_train=Y), "shape"),
    "no square": (arrays(x_train=X.reshape(40, -1)[:, :783], y_train=Y), "783 pixels"),
    "1 × 1": (arrays(x_train=X[:, :1, :1], y_train=Y), "1 × 1 pixels"),
    "20,000 × 20,000": (member("x_train", npy(npy_header("|u1", (1, 20_000, 20_000)))), "claims to hold 400,000,000"),
    "10 GB": (member("x_train", npy(npy_header("<f8", (1_600_000, 784)), bytes(9))), "claims to hold 10,035,200,000"),
    "10 GB of labels": (member("y_train", npy(npy_header("<i8", (1_250_000_000,)))), "claims to hold 10,000,000,000"),
    "2⁶⁴ bytes": (member("x_train", npy(npy_header("|u1", (2**32, 2**32)))), "claims to hold 18,446,744"),
    "very many dimensions": (member("x_train", npy(npy_header("|u1", (1,) * 999))), "plain numbers|cut short|shape"),
    "one byte less": (member("x_train", npy(npy_header("|u1", (40, 28, 28)), bytes(31359))), "cut short or too long"),
    "one byte more": (member("x_train", npy(npy_header("|u1", (40, 28, 28)), bytes(31361))), "cut short or too long"),
    "column by column": (member("x_train", npy(npy_header("|u1", (40, 28, 28), True), bytes(31360))), "ascontiguous"),
    "no magic": (member("x_train", b"NUMPY" + bytes(200)), "not an array"),
    "an empty member": (member("x_train", b""), "not an array"),
    "version 9": (member("x_train", npy("{}", version=b"\x09\x00")), "not an array"),
    "a long header": (member("x_train", npy(" " * 60_000)), "header of x_train is damaged"),
    "a header of 4 GB": (member("x_train", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}"), "header of x_train is damaged"),
    "a header with code": (member("x_train", npy("__import__('os').system('id')")), "plain numbers"),
    "a nested header": (member("x_train", npy("[" * 4000)), "plain numbers"),
    "a negative shape": (member("x_train", npy(npy_header("|u1", (-40, 28, 28)), bytes(9))), "plain numbers"),
    "a pickle for an array": (member("x_train", pickle.dumps(X)), "not an array"),
    "an unknown number": (member("x_train", npy(npy_header("<f3", (4, 16)), bytes(192))), "unknown type"),
    "a bomb": (member("x_train", npy(npy_header("|u1", (200_000, 28, 28)), bytes(156_800_000))), "far more than it is"),
    "200,001 images": (
        arrays(x_train=np.tile(noise(3, (3, 4, 4)), (66_667, 1, 1)), y_train=np.arange(200_001) % 2),
        "200,001 images|far more",
    ),
}  # fmt: skip

LINE = b"1" + b",7" * 16
BAD_TABLES: dict[str, tuple[bytes, str]] = {
    "a blank line": (b"\n", "is empty"),
    "blank lines": (b"\n\n,,\n", "is empty"),
    "headings only": (b"label" + b",p" * 16, "no images"),
    "words only": (b"hello world, this is no table", "no square|1 × 1"),
    "html": (b"<!doctype html>\n<html>", "0 pixels"),
    "text in a pixel": (CSV + b"\n" + LINE.replace(b",7", b",x", 1), "Line 21 has text where a pixel"),
    "an empty pixel": (CSV + b"\n" + LINE.replace(b",7", b",", 1), "Line 21 has text where a pixel"),
    "hex in a pixel": (CSV + b"\n" + LINE.replace(b",7", b",0x1f", 1), "Line 21 has text"),
    "a formula in a pixel": (CSV + b"\n" + LINE.replace(b",7", b",=1+1", 1), "Line 21 has text"),
    "a very long number": (CSV + b"\n" + LINE.replace(b",7", b"," + b"0" * 5000, 1), "Line 21 has text"),
    "NaN": (CSV + b"\n" + LINE.replace(b",7", b",nan", 1), "Line 21 holds values that are not finite"),
    "infinity": (CSV + b"\n" + LINE.replace(b",7", b",1e999", 1), "Line 21 holds values that are not finite"),
    "a negative pixel": (CSV + b"\n" + LINE.replace(b",7", b",-7", 1), "value -7"),
    "a bright pixel": (CSV + b"\n" + LINE.replace(b",7", b",256", 1), "value 256"),
    "a short line": (CSV + b"\n1,2,3", "Line 21 has 3 cells: the first line has 17"),
    "a long line": (CSV + b"\n" + LINE + b",7", "Line 21 has 18 cells"),
    "no square": (b"1" + b",7" * 17, "17 pixels"),
    "one pixel": (b"1,7\n2,8", "1 × 1 pixels"),
    "a line without end": (b"1" + b",7" * 2**20, "Line 1 has more than 1,048,576 characters"),
    "a quote without end": (CSV + b'\n"' + b"x" * 200_000, "Line 21 is not a line"),
    "a null": (CSV + b"\n" + LINE.replace(b"7", b"\0", 1), "no zip, npz or CSV|Line 21"),
    "old line ends": (CSV.replace(b"\n", b"\r"), "line|cells|pixels"),
    "negative label": (CSV + b"\n-1" + LINE[1:], "label -1"),
    "large label": (CSV + b"\n1000" + LINE[1:], "label 1000"),
    "half a label": (CSV + b"\n0.5" + LINE[1:], "label '0.5'"),
    "NaN for a label": (CSV + b"\nnan" + LINE[1:], "label 'nan'"),
    "mixed labels": (CSV + b"\ncat" + LINE[1:], "mix numbers and words"),
    "one class": (b"\n".join([LINE] * 20), "has 1 class:"),
    "a tiny class": (CSV + b"\n9" + LINE[1:], "'9' has 1 images"),
    "1001 classes": (b"\n".join(b"c%d" % i + LINE[1:] for i in range(1001)), "1,001 different labels"),
    "an unusable class": (b"\n".join([LINE] * 5 + [b"\xe2\x80\xae" + LINE] * 5), "mix|usable"),
}

ALL = {
    f"{kind}: {name}": case
    for kind, cases in {"file": BAD_FILES, "zip": BAD_ZIPS, "npz": BAD_ARRAYS, "csv": BAD_TABLES}.items()
    for name, case in cases.items()
}


def refused(content: bytes) -> str:
    """The sentence with which a file is refused."""
    with pytest.raises(DatasetError) as caught:
        read_upload(content)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert len(sentence) < 400
    return sentence


@pytest.mark.parametrize(("content", "sentence"), ALL.values(), ids=ALL.keys())
def test_a_bad_file_is_one_sentence_in_bounded_memory_and_leaves_nothing(
    content: bytes, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened: list[str] = []
    _watch(opened)
    tracemalloc.start()
    try:
        said = refused(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        _watch(None)
    assert re.search(sentence, said), said
    # A zip of very many small files costs what the zip module takes for each; 200,000 lines are 50 MB of arrays.
    assert peak < (96 if len(content) > 2**20 else 24) * 2**20
    assert opened == []
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_too_many_images_is_refused_at_the_first_that_is_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploaded_table, "MOST_IMAGES", 19)
    assert refused(CSV + b"\nno line") == "The file has more than 19 images: take some out."


def test_there_are_enough_bad_files() -> None:
    assert len(ALL) > 140


_opened: list[str] | None = None


def _watch(into: list[str] | None) -> None:
    global _opened
    _opened = into


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    """Take down every file that is opened to be written."""
    if _opened is not None and event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o3:
        _opened.append(str(arguments[0]))


sys.addaudithook(_audit)


def test_unpacking_a_full_size_upload_never_holds_its_floats() -> None:
    """20,000 images of float32 are 63 MB; only their bytes, 16 MB, and one piece at a time stand in memory."""
    x = np.repeat(noise(5, (200, 28, 28)), 100, axis=0)
    content = zipped(*_members(x_train=x.astype(np.float32), y_train=np.arange(20_000) % 10))
    del x
    if len(content) > limits.MOST_BYTES:
        raise AssertionError("the example must fit into an upload")
    tracemalloc.start()
    try:
        assert sum(read_upload(content).train_counts) == 16_000
        assert tracemalloc.get_traced_memory()[1] < 72 * 2**20
    finally:
        tracemalloc.stop()


def _members(**values: np.ndarray) -> Iterator[tuple[str, bytes]]:
    for name, value in values.items():
        target = io.BytesIO()
        np.save(target, value)
        yield f"{name}.npy", target.getvalue()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_a_truncated_file_gives_a_sentence_or_fewer_lines(kind: str, data: st.DataObject) -> None:
    content = GOOD[kind][: data.draw(st.integers(0, len(GOOD[kind]) - 1))]
    if kind != "csv":
        refused(content)
    else:
        _read_or_refuse(content)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_flipped_bits_change_nothing_or_give_a_sentence(kind: str, data: st.DataObject) -> None:
    content = bytearray(GOOD[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1) | st.integers(max(0, len(content) - 400), len(content) - 1))
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    draft = _read_or_refuse(bytes(content))
    if draft is not None and kind == "npz":
        # A checksum guards every value.
        assert held(*flat(draft)) == held(*flat(read_upload(NPZ)))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP"]), st.data())
def test_a_damaged_picture_gives_a_picture_or_a_sentence(form: str, data: st.DataObject) -> None:
    content = bytearray(picture(noise(3, (40, 30)), form))
    for _ in range(data.draw(st.integers(1, 3))):
        near_the_start = st.integers(0, min(60, len(content) - 1))
        content[data.draw(st.integers(0, len(content) - 1) | near_the_start)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    found = _or_sentence(lambda: decode(bytes(content[:cut]), "x"))
    assert isinstance(found, str) or found[0].shape == (28, 28)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | st.text(alphabet="0123456789,;\t\n\"'.-eElabn", max_size=300).map(str.encode))
@example(b"\xef\xbb\xbf")
@example(b'"')
def test_any_bytes_give_a_sentence(content: bytes) -> None:
    _read_or_refuse(content)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200), st.binary(max_size=50), st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00"]))
@example("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", b"12345678", b"\x01\x00")
@example("{'descr': '|u1', 'fortran_order': False, 'shape': (,), }", b"", b"\x01\x00")
def test_any_header_of_an_array_gives_a_sentence(header: str, data: bytes, version: bytes) -> None:
    refused(member("x_train", npy(header.encode("latin-1", "replace").decode("latin-1"), data, version)))


def _read_or_refuse(content: bytes) -> Draft | None:
    found = _or_sentence(lambda: read_upload(content))
    return None if isinstance(found, str) else found


def _or_sentence(ask: Callable[[], T]) -> T | str:
    """What comes of it, or the one sentence that says why nothing does."""
    try:
        return ask()
    except DatasetError as error:
        sentence = str(error)
    assert "\n" not in sentence
    return sentence


# Keeping


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(Settings(tmp_path))


DRAFT = read_upload(NPZ).dataset
OTHER = read_upload(arrays(x_train=255 - X, y_train=Y)).dataset


def test_a_kept_dataset_is_like_any_other(catalog: Catalog, tmp_path: Path) -> None:
    catalog.keep(DRAFT, "my-cats-2")
    for one in (catalog, Catalog(Settings(tmp_path))):
        info = one.info("my-cats-2")
        assert (info.state, info.num_classes, info.is_own, info.download_bytes) == ("ready", 4, True, 0)
        assert info in one.list()
        _same(one.load("my-cats-2"), DRAFT)
        assert Tasks(one).get(TaskSpec.of(dataset="my-cats-2")).num_train == 36
    assert {path.name for path in (tmp_path / "datasets/own").iterdir()} == {
        ".lock", "my-cats-2.safetensors", "my-cats-2.sha256",
    }  # fmt: skip


def _same(one: ImageDataset, two: ImageDataset) -> None:
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(one, part), getattr(two, part))
        assert not getattr(one, part).flags.writeable
    assert one.class_names == two.class_names


@pytest.mark.parametrize(
    "name", ["", "A", "a b", "a/b", "../a", "-a", "a" * 65, "a.b", "mnist", "digits", "ä", "a\n", "a\0", "CON"]
)
def test_a_name_that_cannot_be_had_is_a_sentence_and_writes_nothing(
    name: str, catalog: Catalog, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"letters, digits and hyphens|taken by a known dataset"):
        catalog.keep(DRAFT, name)
    with pytest.raises(DatasetError, match="no dataset of your own"):
        catalog.remove(name)
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_taken_once_and_stands_for_one_dataset_for_good(catalog: Catalog) -> None:
    catalog.keep(DRAFT, "a")
    with pytest.raises(DatasetError, match="already"):
        catalog.keep(OTHER, "a")
    _same(catalog.load("a"), DRAFT)
    tasks = Tasks(catalog)
    task = tasks.get(TaskSpec.of(dataset="a"))
    catalog.remove("a")
    catalog.remove("a")
    assert [info.name for info in catalog.list() if info.is_own] == []
    for gone in (lambda: catalog.load("a"), lambda: catalog.info("a"), lambda: tasks.get(task.spec)):
        with pytest.raises(DatasetError, match="no dataset 'a'"):
            gone()
    with pytest.raises(DatasetError, match="stood for another dataset before"):
        catalog.keep(OTHER, "a")
    assert [info.name for info in catalog.list() if info.is_own] == []
    catalog.keep(DRAFT, "a")
    _same(catalog.load("a"), DRAFT)


def test_two_tabs_that_keep_and_remove_at_once_leave_one_whole_dataset(catalog: Catalog, tmp_path: Path) -> None:
    catalogs = [catalog, Catalog(Settings(tmp_path))]

    def keep(turn: int) -> str:
        try:
            catalogs[turn % 2].keep(DRAFT if turn % 4 < 2 else OTHER, "a")
        except DatasetError as error:
            return str(error)
        return "kept"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(keep, range(16)))
    assert said.count("kept") == 1
    assert all("already" in sentence for sentence in said if sentence != "kept")
    assert catalog.load("a").num_classes == 4
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda turn: catalogs[turn % 2].remove("a"), range(8)))
    assert [path.name for path in (tmp_path / "datasets/own").glob("*.safetensors")] == []


def test_the_total_of_all_own_datasets_is_bounded(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.keep(DRAFT, "a")
    monkeypatch.setattr(own, "MOST_BYTES", 60_000)
    with pytest.raises(DatasetError, match="delete one first"):
        catalog.keep(OTHER, "b")
    catalog.remove("a")
    catalog.keep(OTHER, "b")
    monkeypatch.setattr(own, "MOST_DATASETS", 1)
    with pytest.raises(DatasetError, match="1 files are the most"):
        catalog.keep(DRAFT, "a")
    assert [info.name for info in catalog.list() if info.is_own] == ["b"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_on_disk_is_a_sentence_on_load_and_never_breaks_the_list(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    catalog = Catalog(Settings(tmp_path_factory.getbasetemp() / "damaged"))
    if "a" not in [info.name for info in catalog.list()]:
        catalog.keep(DRAFT, "a")
        catalog.keep(OTHER, "b")
    path = tmp_path_factory.getbasetemp() / "damaged/datasets/own/a.safetensors"
    whole = own._content(DRAFT)
    changed = bytearray(whole)
    at = data.draw(st.integers(0, 600) | st.integers(0, len(whole) - 1))
    changed[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(changed[: data.draw(st.just(len(changed)) | st.integers(0, len(changed)))])
    listed = {info.name: info for info in catalog.list()}
    assert listed["b"].state == "ready"
    found = _or_sentence(lambda: catalog.load("a"))
    if isinstance(found, str):
        assert re.fullmatch(r"The file of your dataset a is damaged: .*\.", found)
    else:
        _same(found, DRAFT)
    path.write_bytes(whole)
    _same(catalog.load("a"), DRAFT)


def test_a_damaged_dataset_can_be_removed_and_uploaded_again(catalog: Catalog, tmp_path: Path) -> None:
    catalog.keep(DRAFT, "a")
    (tmp_path / "datasets/own/a.safetensors").write_bytes(b"damaged")
    assert catalog.info("a").state == "damaged"
    catalog.remove("a")
    catalog.keep(DRAFT, "a")
    _same(catalog.load("a"), DRAFT)


def test_strange_files_in_the_folder_are_no_datasets(catalog: Catalog, tmp_path: Path) -> None:
    catalog.keep(DRAFT, "a")
    for name in ("mnist", "A b", ".hidden"):
        (tmp_path / f"datasets/own/{name}.safetensors").write_bytes(b"x")
    (tmp_path / "datasets/own/folder.safetensors").mkdir()
    assert [info.name for info in catalog.list() if info.is_own] == ["a"]
    assert catalog.info("mnist").state == "absent"


def test_a_failed_write_leaves_what_was_there(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.keep(DRAFT, "a")
    before = {path.name for path in (tmp_path / "datasets/own").iterdir()}
    full: Callable[..., str] = own.write_atomically

    def write(failing: str, path: Path, content: bytes) -> str:
        if path.suffix == failing:
            raise OSError(28, "No space left on device")
        return full(path, content)

    for failing in (".safetensors", ".sha256"):
        monkeypatch.setattr(own, "write_atomically", partial(write, failing))
        with pytest.raises(DatasetError, match="b could not be kept: No space left on device"):
            catalog.keep(OTHER, "b")
        assert {path.name for path in (tmp_path / "datasets/own").iterdir()} == before
    monkeypatch.undo()
    (tmp_path / "datasets/own/.c.safetensors.abc.part").write_bytes(b"half")
    catalog.keep(OTHER, "b")
    assert not list((tmp_path / "datasets/own").glob(".*.part"))


def test_uploads_are_unpacked_one_at_a_time() -> None:
    with ThreadPoolExecutor(6) as pool:
        drafts = list(pool.map(read_upload, [NPZ, FOLDERS, CSV] * 4))
    assert [draft.dataset.num_classes for draft in drafts] == [4, 2, 4] * 4
    assert threading.active_count() < 30


def test_the_name_in_a_draft_is_that_of_no_file(catalog: Catalog) -> None:
    catalog.keep(replace(DRAFT, name="../../evil"), "a")
    assert catalog.load("a").name == "a"
