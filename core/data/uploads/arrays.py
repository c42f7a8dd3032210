"""Read an ``.npz`` file of ``x_train``, ``y_train`` and optionally ``x_test``, ``y_test``."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import SIDE, ImageDataset, Images
from core.data.uploads.draft import Draft
from core.data.uploads.image_draft import Part, make_draft, numbered
from core.data.uploads.images import check_size, resized
from core.data.uploads.limits import MAX_IMAGES
from core.data.uploads.pixels import Range, square_side, to_pixels
from core.errors import DatasetError
from core.zip_file import UntrustedZip

NAMES = ("x_train", "y_train", "x_test", "y_test")

STEP = 2**20
"""Pixels converted at once, approximately."""

Arrays = dict[str, NDArray[np.generic]]


def is_arrays(archive: UntrustedZip) -> bool:
    """Whether a zip looks like the output of ``numpy.savez``."""
    return bool(archive.entries) and all(entry.name.endswith(".npy") for entry in archive.entries)


def read_arrays(archive: UntrustedZip) -> Draft[ImageDataset]:
    """Read the dataset in an ``.npz``: x of shape (n, h, w), (n, h, w, 1) or (n, side²), y of shape (n,) or (n, 1).

    Raises:
        DatasetError: an array is missing, has a wrong shape, is not numeric, or does not match the others.
    """
    arrays = _members(archive)
    parts = ("train", "test") if "x_test" in arrays else ("train",)
    if set(arrays) != {f"{axis}_{part}" for axis in "xy" for part in parts}:
        raise DatasetError("The file must contain x_train and y_train, and both or neither of x_test and y_test.")
    sizes = {part: _size(arrays[f"x_{part}"], f"x_{part}") for part in parts}
    count = sum(arrays[f"x_{part}"].shape[0] for part in parts)
    if count > MAX_IMAGES:
        raise DatasetError(f"The file has {count:,} images: the limit is {MAX_IMAGES:,}.")
    raw = [_labels(arrays[f"y_{part}"], f"y_{part}", len(arrays[f"x_{part}"])) for part in parts]
    names, labels = numbered(raw)
    seen = Range()
    for part in parts:
        seen.take(arrays[f"x_{part}"], f"x_{part}")
    made = [
        Part(_images(arrays[f"x_{part}"], *sizes[part], seen.factor), own)
        for part, own in zip(parts, labels, strict=True)
    ]
    return make_draft(names, made[0], made[1] if len(made) == 2 else None)


def _members(archive: UntrustedZip) -> Arrays:
    arrays: Arrays = {}
    for entry in archive.entries:
        name = entry.name.removesuffix(".npy")
        if name not in NAMES:
            raise DatasetError(f"The file contains an array {name[:80]!r}: only {', '.join(NAMES)} are accepted.")
        arrays[name] = _array(archive.read(entry), name)
    return arrays


def _array(content: bytes, name: str) -> NDArray[np.generic]:
    """The array in a member. Raises: DatasetError: it is damaged, empty, or has no numbers."""
    file = io.BytesIO(content)
    try:
        array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # NumPy raises exceptions of many kinds for damaged files
        if "Object arrays" in str(error):
            raise DatasetError(
                f"{name} contains Python objects, which can run code when they are read: save it as plain numbers."
            ) from error
        raise DatasetError(f"{name} is not an array of plain numbers, or it is damaged: save it again.") from error
    if file.read(1):
        raise DatasetError(f"{name} is longer than its header says: save it again.")
    if array.dtype.kind not in "buif":
        raise DatasetError(f"{name} contains text or other values that are not numbers: save it as uint8 or float32.")
    if not array.size or not array.ndim:
        raise DatasetError(f"{name} is empty: it has the shape {array.shape}.")
    return array


def _size(x: NDArray[np.generic], name: str) -> tuple[int, int]:
    """Height and width of the images in an array."""
    shape = x.shape[1:-1] if len(x.shape) == 4 and x.shape[-1] == 1 else x.shape[1:]
    if len(shape) == 1:
        side = square_side(shape[0], name)
        return side, side
    if len(shape) != 2:
        raise DatasetError(f"{name} has the shape {x.shape}: gray images have (n, 28, 28) or (n, 784).")
    check_size(shape[0], shape[1], f"An image of {name}")
    return shape[0], shape[1]


def _labels(y: NDArray[np.generic], name: str, count: int) -> NDArray[np.int64]:
    """Labels of ``count`` images, as whole numbers."""
    if y.shape not in ((count,), (count, 1)):
        raise DatasetError(f"{name} has the shape {y.shape}: it needs one label for each of {count:,} images.")
    # float64 represents every valid label exactly, and keeps invalid ones out of range.
    numbers = y.reshape(-1).astype(np.float64)
    whole = np.isfinite(numbers) & (np.floor(numbers) == numbers)
    if not whole.all():
        raise DatasetError(f"{name} contains {numbers[~whole][0]}: labels are whole numbers.")
    return numbers.clip(-(2**31), 2**31).astype(np.int64)


def _images(x: NDArray[np.generic], height: int, width: int, factor: int) -> Images:
    out = np.empty((len(x), SIDE, SIDE), np.uint8)
    step = max(1, STEP // (height * width))
    for start in range(0, len(x), step):
        part = x[start : start + step]
        out[start : start + step] = resized(to_pixels(part, factor).reshape(len(part), height, width))
    return out
