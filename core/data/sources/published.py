"""Datasets that torchvision can download, in IDX files, which pooch downloads and checks; and a strict reader of these.

An IDX file is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian 32-bit number, then
the values, last dimension fastest (Y. LeCun, http://yann.lecun.com/exdb/mnist/). A dataset is four such files: images
and labels of a train and a test part, each plain or gzipped.
"""

from __future__ import annotations

import gzip
import math
import os
import shutil
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import SIDE, ImageDataset, Images, Labels
from core.data.sources.source import DatasetInfo, Source
from core.errors import DatasetError, DownloadError
from core.files import put_in_place
from core.settings import Settings

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


CHUNK = 2**16
"""Bytes that are received at once."""

NAMES = tuple(f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))
"""The four files of most of them."""


def _files(*digests: str) -> tuple[tuple[str, str], ...]:
    """Names and MD5 sums of the four files."""
    return tuple(zip(NAMES, digests, strict=True))


PUBLISHED: tuple[IdxDataset, ...] = (
    IdxDataset(
        name="mnist",
        title="MNIST",
        line="70,000 handwritten digits, 28×28 gray, 60,000 of them for training.",
        num_classes=10,
        class_names=tuple("0123456789"),
        state="absent",
        folder="MNIST",
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
        resources=_files(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        download_bytes=11_594_722,
        licence="CC BY-SA 3.0",
        link="http://yann.lecun.com/exdb/mnist/",
        as_source=5,
        as_target=4,
    ),
    IdxDataset(
        name="fashion-mnist",
        title="Fashion-MNIST",
        line="70,000 pieces of clothing in ten classes, 28×28 gray, 60,000 of them for training.",
        num_classes=10,
        class_names=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        state="absent",
        folder="FashionMNIST",
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        resources=_files(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        download_bytes=30_878_645,
        licence="MIT",
        link="https://github.com/zalandoresearch/fashion-mnist",
        as_source=4,
        as_target=5,
    ),
    IdxDataset(
        name="kmnist",
        title="KMNIST",
        line="70,000 cursive Japanese characters in ten classes, 28×28 gray, 60,000 of them for training.",
        num_classes=10,
        class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        state="absent",
        folder="KMNIST",
        url="http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        resources=_files(
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
        download_bytes=21_240_888,
        licence="CC BY-SA 4.0",
        link="http://codh.rois.ac.jp/kmnist/",
        as_source=3,
        as_target=3,
    ),
    IdxDataset(
        name="emnist-letters",
        title="EMNIST letters",
        line="145,600 handwritten letters, 28×28 gray, 124,800 of them for training.",
        num_classes=26,
        class_names=tuple(ascii_lowercase),
        state="absent",
        folder="EMNIST",
        url="https://biometrics.nist.gov/cs_links/EMNIST/",
        resources=(("gzip.zip", "58c8d27c78d21e728a6bc7b3cc06412e"),),
        download_bytes=561_753_746,
        parts=("emnist-letters-train", "emnist-letters-test"),
        first_label=1,
        transposed=True,
        link="https://www.nist.gov/itl/products-and-services/emnist-dataset",
        as_target=2,
    ),
)
"""Addresses and checksums are those of torchvision, which takes a second to import and is not needed for anything else
here; a test compares them."""


class Published(Source):
    """Published datasets, each downloaded once or found in a folder that has it."""

    def __init__(self, settings: Settings, datasets: tuple[IdxDataset, ...] = PUBLISHED, timeout: float = 15.0) -> None:
        """Args:
        settings: the folders to read from and to download to.
        datasets: descriptions of the datasets.
        timeout: seconds to wait for a server that sends nothing.
        """
        self._settings = settings
        self._datasets = {dataset.name: dataset for dataset in datasets}
        self._timeout = timeout
        self._downloading = {dataset.name: threading.Lock() for dataset in datasets}

    def names(self) -> tuple[str, ...]:
        return tuple(self._datasets)

    def info(self, name: str) -> DatasetInfo:
        dataset = self._datasets[name]
        return dataset if self._files(dataset) is None else replace(dataset, state="ready")

    def load(self, name: str) -> ImageDataset:
        dataset = self._datasets[name]
        files = self._files(dataset)
        if files is None:
            raise DatasetError(
                f"{dataset.title} is not on this machine: download it, or set LORA_LAB_DATA to a folder that has it."
            )
        return ImageDataset(name, *read_parts(dataset, files), dataset.class_names)

    def download(
        self, name: str, progress: Callable[[float], None] | None = None, stop: threading.Event | None = None
    ) -> None:
        """Download a dataset into the datasets folder and check it; on failure that folder is left unchanged."""
        dataset = self._datasets[name]
        if not self._downloading[name].acquire(blocking=False):
            raise DownloadError(f"{dataset.title} is already being downloaded; wait until that has finished.")
        part = self._settings.datasets / f".{name}.part"
        final = self._settings.datasets / dataset.folder / "raw"
        try:
            files = _fetched(dataset, part / "raw", progress or (lambda share: None), stop, self._timeout)
            final.parent.mkdir(exist_ok=True)
            put_in_place(files, final)
        except (OSError, ValueError) as error:
            if isinstance(error, DownloadError):
                raise
            raise DownloadError(
                f"Could not download {dataset.title}: {_reason(error)}. Check the connection, or put the IDX files "
                f"into {final}."
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
            self._downloading[name].release()

    def _files(self, dataset: IdxDataset) -> tuple[Path, ...] | None:
        """The dataset's files, in the first folder that has all four."""
        folders = dict.fromkeys((dataset.folder, dataset.name, dataset.folder.lower()))
        for root in (self._settings.data_folder, self._settings.datasets):
            for folder in folders:
                for inner in ("raw", ""):
                    files = None if root is None else find_files(dataset, root / folder / inner)
                    if files is not None:
                        return files
        return None


def _fetched(
    dataset: IdxDataset, folder: Path, progress: Callable[[float], None], stop: threading.Event | None, timeout: float
) -> Path:
    """Download the resources of a dataset, unless a process that was killed has left them, and check them.

    Returns:
        The folder with the IDX files.

    Raises:
        ValueError: a file is not the published one.
        OSError: a server refuses or is lost, or sends too much; or the disk is full or cannot be written to.
        DownloadError: it was stopped.
    """
    import pooch  # together they take a quarter of a second to import
    import requests

    received = 0

    def receive(url: str, path: str, _: object) -> None:
        nonlocal received
        with requests.get(url, stream=True, timeout=timeout) as answer, Path(path).open("wb") as file:
            answer.raise_for_status()
            for piece in answer.iter_content(CHUNK):
                if stop and stop.is_set():
                    raise DownloadError(f"The download of {dataset.title} was stopped; nothing was changed.")
                received += len(piece)
                if received > 2 * dataset.download_bytes:
                    raise OSError("the server sends more data than the dataset has")
                file.write(piece)
                progress(min(1.0, received / dataset.download_bytes))

    for half in folder.glob("tmp*"):
        half.unlink()
    pooch.get_logger().setLevel("WARNING")
    # torchvision publishes MD5 only, which detects damage but not forgery.
    registry = {name: f"md5:{md5}" for name, md5 in dataset.resources}
    files = pooch.create(path=folder, base_url=dataset.url, registry=registry)
    for name in registry:
        files.fetch(name, downloader=receive)
    progress(1.0)
    if not dataset.resources[0][0].endswith(".zip"):
        return folder
    members = [f"gzip/{stem}.gz" for stem in dataset.stems]
    files.fetch(name, processor=pooch.Unzip(members=members, extract_dir="."))
    return folder / "gzip"


def _reason(error: Exception) -> str:
    """Why a download failed, as a clause."""
    from requests import RequestException

    if isinstance(error, RequestException):
        answer = error.response
        return "the connection failed" if answer is None else f"the server answered {answer.status_code}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "a file is not the published one (its MD5 differs)"
