"""Datasets that are published as IDX files: where they come from, and a strict reader of the format.

An IDX file is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian
32-bit number, then the values, last dimension fastest (Y. LeCun, http://yann.lecun.com/exdb/mnist/).
A dataset is four such files, images and labels of a train and a test part, each plain or gzipped.
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
from torchvision import datasets as published

from core.errors import DatasetError

SIDE = 28
"""Pixels along each side of an image."""

UNSIGNED_BYTE = 0x08
"""The one type code that these datasets use."""

MOST_BYTES = 1 << 28
"""Values that a file may claim to hold, 256 MiB; the largest of the datasets below needs 98 MB."""

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """What a published dataset is, where its files are, and how they are read."""

    name: str
    title: str
    line: str
    """What it is, with its size, in one line."""
    class_names: tuple[str, ...]
    folder: str
    """Its folder in torchvision's layout, ``<root>/<folder>/raw``."""
    mirrors: tuple[str, ...]
    """Addresses that a resource's name is put behind; tried in order."""
    resources: tuple[tuple[str, str], ...]
    """Name and MD5 of each file to download; a zip holds all four IDX files under ``gzip/``."""
    download_bytes: int
    """Size of all resources together."""
    parts: tuple[str, str] = ("train", "t10k")
    """How the names of the train and the test files begin."""
    first_label: int = 0
    """The number that the files give to the first class; here it is always 0."""
    transposed: bool = False
    """Whether the files hold columns where others hold rows."""

    @property
    def stems(self) -> tuple[str, str, str, str]:
        """Names of the four files, unpacked: train images and labels, test images and labels."""
        train, test = self.parts
        return (
            f"{train}-images-idx3-ubyte",
            f"{train}-labels-idx1-ubyte",
            f"{test}-images-idx3-ubyte",
            f"{test}-labels-idx1-ubyte",
        )


SOURCES: tuple[Source, ...] = (
    Source(
        name="mnist",
        title="MNIST",
        line="70,000 handwritten digits, 28×28 grey, 60,000 of them to train on.",
        class_names=tuple("0123456789"),
        folder="MNIST",
        mirrors=tuple(published.MNIST.mirrors),
        resources=tuple(published.MNIST.resources),
        download_bytes=11_594_722,
    ),
    Source(
        name="fashion-mnist",
        title="Fashion-MNIST",
        line="70,000 pieces of clothing in ten kinds, 28×28 grey, 60,000 of them to train on.",
        class_names=tuple(published.FashionMNIST.classes),
        folder="FashionMNIST",
        mirrors=tuple(published.FashionMNIST.mirrors),
        resources=tuple(published.FashionMNIST.resources),
        download_bytes=30_878_645,
    ),
    Source(
        name="kmnist",
        title="KMNIST",
        line="70,000 cursive Japanese characters in ten kinds, 28×28 grey, 60,000 of them to train on.",
        class_names=tuple(published.KMNIST.classes),
        folder="KMNIST",
        mirrors=tuple(published.KMNIST.mirrors),
        resources=tuple(published.KMNIST.resources),
        download_bytes=21_240_888,
    ),
    Source(
        name="emnist-letters",
        title="EMNIST letters",
        line="145,600 handwritten letters, 28×28 grey, 124,800 of them to train on.",
        class_names=tuple(published.EMNIST.classes_split_dict["letters"][1:]),
        folder="EMNIST",
        mirrors=(published.EMNIST.url.removesuffix("gzip.zip"),),
        resources=(("gzip.zip", published.EMNIST.md5),),
        download_bytes=561_753_746,
        parts=("emnist-letters-train", "emnist-letters-test"),
        first_label=1,
        transposed=True,
    ),
)
"""What torchvision knows how to download; addresses and checksums are torchvision's own."""


def find_files(source: Source, folder: Path) -> tuple[Path, ...] | None:
    """The four files of a dataset in ``folder``, the unpacked one of two; None where one is missing."""
    found = []
    for stem in source.stems:
        # os.path.isfile is also False for a folder that must not be entered.
        path = next((p for p in (folder / stem, folder / f"{stem}.gz") if os.path.isfile(p)), None)
        if path is None:
            return None
        found.append(path)
    return tuple(found)


def read_parts(source: Source, files: tuple[Path, ...]) -> tuple[Images, Labels, Images, Labels]:
    """Train images and labels, then test images and labels; none of the arrays can be written to.

    Args:
        source: what the files are.
        files: as :func:`find_files` gives them.

    Returns:
        Images of shape (n, 28, 28), labels of shape (n,) from 0.

    Raises:
        DatasetError: a file is damaged or does not fit the others; the message names it.
    """
    train_images, train_labels, test_images, test_labels = files
    return (
        *_read_part(source, train_images, train_labels),
        *_read_part(source, test_images, test_labels),
    )


def _read_part(source: Source, images_file: Path, labels_file: Path) -> tuple[Images, Labels]:
    images = read_idx(images_file, dimensions=3)
    labels = read_idx(labels_file, dimensions=1)
    if images.shape[1:] != (SIDE, SIDE):
        raise DatasetError(f"{images_file} holds images of {images.shape[1]}×{images.shape[2]} pixels, not 28×28.")
    if len(images) != len(labels):
        raise DatasetError(f"{labels_file} holds {len(labels)} labels for {len(images)} images; get both files again.")
    first, last = source.first_label, source.first_label + len(source.class_names) - 1
    if labels.min() < first or labels.max() > last:
        raise DatasetError(f"{labels_file} holds labels outside {first} to {last}: it is not a file of {source.title}.")
    if source.transposed:
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    numbers = labels.astype(np.int64) - first
    images.flags.writeable = numbers.flags.writeable = False
    return images, numbers


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The values of an IDX file of unsigned bytes, plain or gzipped by its name.

    Never more is unpacked than the header announces, and never more than :data:`MOST_BYTES`.

    Args:
        path: the file.
        dimensions: how many the file must have.

    Raises:
        DatasetError: not such a file, empty, too large, cut short, too long or not readable.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * dimensions)
            if header[:4] != bytes([0, 0, UNSIGNED_BYTE, dimensions]) or len(header) != 4 + 4 * dimensions:
                raise DatasetError(f"{path} is not an IDX file of bytes in {dimensions} dimensions; get it again.")
            shape = tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))
            count = math.prod(shape)
            if not 0 < count <= MOST_BYTES:
                raise DatasetError(f"{path} claims to hold {count} bytes, which no dataset here does; get it again.")
            # One byte more than announced shows a file that is too long, and has gzip check its checksum.
            values = file.read(count + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DatasetError(f"{path} cannot be read ({reason}); get it again.") from error
    if len(values) != count:
        state = "cut short" if len(values) < count else "too long"
        raise DatasetError(f"{path} is {state}: its header announces {count} bytes; get it again.")
    return np.frombuffer(values, np.uint8).reshape(shape)
