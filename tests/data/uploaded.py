"""Files that people might upload, made small, and what a draft of one holds."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import fields

import numpy as np
from PIL import Image

from core.data.dataset import Dataset, ImageDataset
from core.data.uploads import Draft
from core.lab import Lab

Entry = str | zipfile.ZipInfo

Make = Callable[[], bytes]
"""Makes the bytes of a file when a test needs them: all bad ones together take seconds, in every process of a run."""


def zipped(*entries: tuple[Entry, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", how) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return target.getvalue()


def entries_of(content: bytes) -> dict[str, bytes]:
    """What is in a zip, by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def entry(name: str, mode: int = stat.S_IFREG | 0o644, how: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = how
    return info


def picture(values: np.ndarray, form: str = "PNG", mode: str | None = None) -> bytes:
    target = io.BytesIO()
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(target, form)
    return target.getvalue()


def noise(seed: int, shape: tuple[int, ...] = (28, 28)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def keep_noise(lab: Lab) -> None:
    """Keep a dataset of images in three classes, called ``mine``."""
    images, labels = noise(1, (60, 28, 28)), np.arange(60) % 3
    lab.catalog.keep(ImageDataset("upload", images, labels, images, labels, ("a", "b", "c")), "mine")


def folders(
    classes: Mapping[str, int], shape: tuple[int, ...] = (28, 28), form: str = "PNG", start: int = 0
) -> list[tuple[Entry, bytes]]:
    """Pictures of noise: how many of each class, the class being a folder."""
    paths = [f"{name}/{number}.{form.lower()}" for name, count in classes.items() for number in range(count)]
    return [(path, picture(noise(start + place, shape), form)) for place, path in enumerate(paths)]


def arrays(**values: np.ndarray) -> bytes:
    target = io.BytesIO()
    np.savez_compressed(target, allow_pickle=True, **values)
    return target.getvalue()


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode("latin-1")
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text + data


def npy_header(descr: str, shape: tuple[int, ...], columns: bool = False) -> str:
    return f"{{'descr': '{descr}', 'fortran_order': {columns}, 'shape': {shape}, }}\n"


def digits(count: int = 40, classes: int = 4, side: int = 28, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return noise(seed, (count, side, side)), np.arange(count) % classes


def table(x: np.ndarray, y: object, heading: str = "", parted: str = ",") -> bytes:
    lines = [parted.join(map(str, [label, *row])) for label, row in zip(y, x.reshape(len(x), -1), strict=True)]  # type: ignore[call-overload]
    return "\n".join([*([heading] if heading else []), *lines]).encode()


def flat(draft: Draft[ImageDataset]) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels, train part first."""
    data = draft.dataset
    return (
        np.concatenate([data.train_images, data.test_images]),
        np.concatenate([data.train_labels, data.test_labels]),
    )


def check_same(kept: Dataset, wanted: Dataset) -> None:
    """Two datasets differ in their names at most, and nobody can write to the arrays of the first one."""
    assert type(kept) is type(wanted)
    for name in {field.name for field in fields(wanted)} - {"name"}:
        one, two = getattr(kept, name), getattr(wanted, name)
        if isinstance(two, np.ndarray):
            np.testing.assert_array_equal(one, two, strict=True)
            assert not one.flags.writeable
        else:
            assert one == two


def held(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
    return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


X, Y = digits()
NPZ = arrays(x_train=X, y_train=Y, x_test=X[:8], y_test=Y[:8])
FOLDERS = zipped(*folders({"cat": 6, "dog": 7}))
CSV = table(X[:20, :4, :4], Y[:20])
GOOD = {"npz": NPZ, "folders": FOLDERS, "csv": CSV}
"""Sound datasets of images, one of each kind of file."""
