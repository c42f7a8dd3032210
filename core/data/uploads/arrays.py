"""Read an ``.npz`` file of ``x_train``, ``y_train`` and optionally ``x_test``, ``y_test``, without NumPy's loader.

A member is an NPY file: a magic string, a version, the length of a header, the header as a Python dictionary of type,
order and shape, then the values (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). The header is
parsed with a regular expression, so nothing in it is evaluated, and compared with the size in the zip before any memory
is allocated. Values are unpacked in chunks, so that only one byte per pixel is ever held in memory.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import SIDE, Images
from core.data.uploads.draft import Draft, Part, make_draft, numbered
from core.data.uploads.images import check_size, resized
from core.data.uploads.limits import MAX_IMAGES, MAX_UNPACKED
from core.data.uploads.pixels import Range, square_side, to_pixels
from core.errors import DatasetError
from core.zip_file import UntrustedZip

NAMES = ("x_train", "y_train", "x_test", "y_test")

MAGIC = b"\x93NUMPY"
MAX_HEADER = 4096
"""Bytes of an NPY header; that of a plain array has 118."""

STEP = 2**20
"""Bytes converted to pixels at once, approximately."""

_HEADER = re.compile(
    r"\{'descr': '(?P<type>[<>|=]?(?P<kind>[a-zA-Z])\d{0,4})', 'fortran_order': (?P<columns>True|False), "
    r"'shape': \((?P<shape>(?:\d{1,18}, ?)*(?:\d{1,18},?)?)\),? ?\}\s*"
)
_NUMBERS = "buif"


@dataclass(frozen=True)
class _Array:
    """One member, as its header describes it; the size was compared with the zip's."""

    name: str
    archive: UntrustedZip
    info: zipfile.ZipInfo
    start: int
    """Bytes before the first value."""
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    def values(self) -> Iterator[NDArray[np.generic]]:
        """Yield all values in order, as arrays of shape (k,)."""
        size = self.dtype.itemsize
        held, skip = bytearray(), self.start
        for chunk in self.archive.chunks(self.info):
            held += chunk[skip:]
            skip = max(0, skip - len(chunk))
            if len(held) >= STEP:
                whole = len(held) // size * size
                yield np.frombuffer(bytes(held[:whole]), self.dtype)
                del held[:whole]
        if held:
            yield np.frombuffer(bytes(held), self.dtype)


def is_arrays(archive: UntrustedZip) -> bool:
    """Whether a zip looks like the output of ``numpy.savez``."""
    return bool(archive.entries) and all(info.filename.endswith(".npy") for info in archive.entries)


def read_arrays(archive: UntrustedZip) -> Draft:
    """Read the dataset in an ``.npz``: x of shape (n, h, w), (n, h, w, 1) or (n, side²), y of shape (n,) or (n, 1).

    Raises:
        DatasetError: an array is missing, has a wrong shape, is not numeric, or does not match the others.
    """
    arrays = _members(archive)
    parts = ("train", "test") if "x_test" in arrays else ("train",)
    if set(arrays) != {f"{axis}_{part}" for axis in "xy" for part in parts}:
        raise DatasetError("The file must contain x_train and y_train, and both or neither of x_test and y_test.")
    sizes = {part: _size(arrays[f"x_{part}"]) for part in parts}
    count = sum(arrays[f"x_{part}"].shape[0] for part in parts)
    if count > MAX_IMAGES:
        raise DatasetError(f"The file has {count:,} images: the limit is {MAX_IMAGES:,}.")
    raw = [_labels(arrays[f"y_{part}"], arrays[f"x_{part}"].shape[0]) for part in parts]
    names, labels = numbered(raw)
    seen = Range()
    for part in parts:
        for values in arrays[f"x_{part}"].values():
            seen.take(values, f"x_{part}")
    made = [
        Part(_images(arrays[f"x_{part}"], *sizes[part], seen.factor), own)
        for part, own in zip(parts, labels, strict=True)
    ]
    return make_draft(names, made[0], made[1] if len(made) == 2 else None)


def _members(archive: UntrustedZip) -> dict[str, _Array]:
    arrays = {}
    for info in archive.entries:
        name = info.filename.removesuffix(".npy")
        if name not in NAMES:
            raise DatasetError(f"The file contains an array {name[:80]!r}: only {', '.join(NAMES)} are accepted.")
        arrays[name] = _array(archive, info, name)
    return arrays


def _array(archive: UntrustedZip, info: zipfile.ZipInfo, name: str) -> _Array:
    """Read and check the header of a member.

    Raises:
        DatasetError: not a numeric array, or its size does not match the zip's.
    """
    begin = b""
    for chunk in archive.chunks(info):
        begin += chunk
        if len(begin) >= MAX_HEADER + 12:
            break
    wide = begin[6:7] in (b"\x02", b"\x03")
    first = 12 if wide else 10
    length = int.from_bytes(begin[8:first], "little")
    if begin[:6] != MAGIC or begin[6:7] not in (b"\x01", b"\x02", b"\x03") or len(begin) < first:
        raise DatasetError(f"{name} is not an array that numpy.savez wrote.")
    if length > MAX_HEADER or len(begin) < first + length:
        raise DatasetError(f"The header of {name} is damaged: save the file again.")
    header = begin[first : first + length].decode("latin-1")
    if "'|O'" in header or "'O'" in header:
        raise DatasetError(
            f"{name} contains Python objects, which can run code when they are read: save it as plain numbers."
        )
    match = _HEADER.fullmatch(header)
    if match is None:
        raise DatasetError(f"{name} is not an array of plain numbers: save it as uint8 or float32.")
    if match["kind"] not in _NUMBERS:
        raise DatasetError(f"{name} contains text or other values that are not numbers: save it as uint8 or float32.")
    try:
        dtype = np.dtype(match["type"])
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{name} has the unknown type {match['type']!r}: save it as uint8 or float32.") from error
    shape = tuple(int(size) for size in match["shape"].replace(",", " ").split())
    # Python integers, which cannot overflow.
    declared = math.prod(shape) * dtype.itemsize
    if declared > MAX_UNPACKED:
        raise DatasetError(f"{name} declares {declared:,} bytes: the limit is {MAX_UNPACKED:,}.")
    if not shape or math.prod(shape) == 0:
        raise DatasetError(f"{name} is empty: it has the shape {shape}.")
    if declared != info.file_size - first - length:
        raise DatasetError(f"{name} is truncated or too long: its header declares {declared:,} bytes.")
    if match["columns"] == "True" and len(shape) > 1:
        raise DatasetError(f"{name} is stored column by column: save numpy.ascontiguousarray of it.")
    return _Array(name, archive, info, first + length, dtype, shape)


def _size(x: _Array) -> tuple[int, int]:
    """Height and width of the images in an array."""
    shape = x.shape[1:-1] if len(x.shape) == 4 and x.shape[-1] == 1 else x.shape[1:]
    if len(shape) == 1:
        side = square_side(shape[0], x.name)
        return side, side
    if len(shape) != 2:
        raise DatasetError(f"{x.name} has the shape {x.shape}: grey images have (n, 28, 28) or (n, 784).")
    check_size(shape[0], shape[1], f"An image of {x.name}")
    return shape[0], shape[1]


def _labels(y: _Array, count: int) -> NDArray[np.int64]:
    """Labels of ``count`` images, as whole numbers."""
    if y.shape not in ((count,), (count, 1)):
        raise DatasetError(f"{y.name} has the shape {y.shape}: it needs one label for each of {count:,} images.")
    values = np.concatenate(list(y.values()))
    # float64 represents every valid label exactly, and keeps invalid ones out of range.
    numbers = values.astype(np.float64)
    whole = np.isfinite(numbers) & (np.floor(numbers) == numbers)
    if not whole.all():
        raise DatasetError(f"{y.name} contains {numbers[~whole][0]}: labels are whole numbers.")
    return numbers.clip(-(2**31), 2**31).astype(np.int64)


def _images(x: _Array, height: int, width: int, factor: int) -> Images:
    out = np.empty((x.shape[0], SIDE, SIDE), np.uint8)
    place, size, held = 0, height * width, bytearray()
    for values in x.values():
        held += to_pixels(values, factor).tobytes()
        if count := len(held) // size:
            pixels = np.frombuffer(bytes(held[: count * size]), np.uint8)
            out[place : place + count] = resized(pixels.reshape(count, height, width))
            place += count
            del held[: count * size]
    return out
