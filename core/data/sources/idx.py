"""Datasets in IDX files, and a strict reader of the format.

An IDX file is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian 32-bit number, then
the values, last dimension fastest (Y. LeCun, http://yann.lecun.com/exdb/mnist/). A dataset is four such files: images
and labels of a train and a test part, each plain or gzipped.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import SIDE, Images, Labels
from core.data.sources.source import DatasetInfo
from core.errors import DatasetError

UNSIGNED_BYTE = 0x08
"""The only type code that these datasets use."""

MAX_BYTES = 1 << 28
"""Maximum number of values (bytes) in a file, 256 MiB; the largest published dataset needs 98 MB."""


@dataclass(frozen=True)
class IdxDataset(DatasetInfo):
    """A dataset in IDX files: what is known without reading it, where its files are, and how to read them."""

    folder: str = ""
    """Its folder in torchvision's layout, ``<root>/<folder>/raw``."""
    url: str = ""
    """Prefix of the addresses of its resources."""
    resources: tuple[tuple[str, str], ...] = ()
    """Name and MD5 of each file to download; a zip contains all four IDX files under ``gzip/``."""
    parts: tuple[str, str] = ("train", "t10k")
    """Prefixes of the names of the train and the test files."""
    first_label: int = 0
    """Number of the first class in the files; in :class:`core.data.dataset.ImageDataset` it is always 0."""
    transposed: bool = False
    """Whether the files store images transposed."""

    @property
    def stems(self) -> list[str]:
        """Names of the four uncompressed files: train images and labels, test images and labels."""
        return [f"{part}-{what}-ubyte" for part in self.parts for what in ("images-idx3", "labels-idx1")]


def find_files(dataset: IdxDataset, folder: Path) -> tuple[Path, ...] | None:
    """The four files of a dataset in ``folder``, uncompressed ones first; None if one is missing."""
    found = []
    for stem in dataset.stems:
        # os.path.isfile, because it returns False in a folder without permission, where Path.is_file raises.
        path = next((p for p in (folder / stem, folder / f"{stem}.gz") if os.path.isfile(p)), None)
        if path is None:
            return None
        found.append(path)
    return tuple(found)


def read_parts(dataset: IdxDataset, files: tuple[Path, ...]) -> tuple[Images, Labels, Images, Labels]:
    """Read train images and labels, then test images and labels, as read-only arrays.

    Args:
        dataset: the dataset.
        files: the result of :func:`find_files`.

    Returns:
        Images of shape (n, 28, 28), labels of shape (n,) from 0.

    Raises:
        DatasetError: a file is damaged or does not match the others; the message names it.
    """
    train_images, train_labels, test_images, test_labels = files
    return *_read_part(dataset, train_images, train_labels), *_read_part(dataset, test_images, test_labels)


def _read_part(dataset: IdxDataset, images_file: Path, labels_file: Path) -> tuple[Images, Labels]:
    images = read_idx(images_file, dimensions=3)
    labels = read_idx(labels_file, dimensions=1)
    if images.shape[1:] != (SIDE, SIDE):
        raise DatasetError(f"{images_file} contains images of {images.shape[1]}×{images.shape[2]} pixels, not 28×28.")
    if len(images) != len(labels):
        raise DatasetError(f"{labels_file} has {len(labels)} labels for {len(images)} images; get both files again.")
    first, last = dataset.first_label, dataset.first_label + len(dataset.class_names) - 1
    if labels.min() < first or labels.max() > last:
        raise DatasetError(f"{labels_file} has labels outside {first} to {last}: it is not a file of {dataset.title}.")
    if dataset.transposed:
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    numbers = labels.astype(np.int64) - first
    images.flags.writeable = numbers.flags.writeable = False
    return images, numbers


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes; a name that ends in ``.gz`` means that it is gzipped.

    Never decompresses more than the header declares, nor more than :data:`MAX_BYTES`.

    Args:
        path: the file.
        dimensions: the required number of dimensions.

    Raises:
        DatasetError: not such a file, empty, too large, truncated, too long or not readable.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * dimensions)
            if header[:4] != bytes([0, 0, UNSIGNED_BYTE, dimensions]) or len(header) != 4 + 4 * dimensions:
                raise DatasetError(f"{path} is not an IDX file of bytes in {dimensions} dimensions; get it again.")
            shape = tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))
            count = math.prod(shape)
            if not 0 < count <= MAX_BYTES:
                raise DatasetError(f"{path} declares {count} bytes, which no dataset here has; get it again.")
            # Reading one byte more detects a file that is too long, and makes gzip verify its checksum.
            values = file.read(count + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DatasetError(f"{path} cannot be read ({reason}); get it again.") from error
    if len(values) != count:
        state = "truncated" if len(values) < count else "too long"
        raise DatasetError(f"{path} is {state}: its header declares {count} bytes; get it again.")
    return np.frombuffer(values, np.uint8).reshape(shape)
