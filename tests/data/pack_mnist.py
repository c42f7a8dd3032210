"""Pack ``mnist-16k``: ``LORA_LAB_DATA=FOLDER python -m tests.data.pack_mnist``, where FOLDER has MNIST's four files."""

from __future__ import annotations

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from core.data.dataset import ImageDataset
from core.data.sources import built_in
from core.data.sources.catalog import Catalog
from core.settings import Settings
from tests.data.idx_files import Files, idx

TRAIN = np.arange(12_000)
TEST = np.concatenate([np.arange(2_000), np.arange(5_000, 7_000)])
"""Some of both halves of MNIST's test part, which have different writers."""


def files_of(mnist: ImageDataset) -> Files:
    """Uncompressed files of the packed part of MNIST, by name."""
    contents = (
        idx(mnist.train_images[TRAIN]),
        idx(mnist.train_labels[TRAIN]),
        idx(mnist.test_images[TEST]),
        idx(mnist.test_labels[TEST]),
    )
    return dict(zip(built_in.MNIST_16K.stems, contents, strict=True))


def full_mnist(home: Path) -> ImageDataset:
    """Read all of MNIST from the folder that LORA_LAB_DATA names."""
    mnist = Catalog(Settings(home, data_folder=Settings.from_environment().data_folder)).load("mnist")
    assert isinstance(mnist, ImageDataset)
    return mnist


if __name__ == "__main__":
    with TemporaryDirectory() as home:
        for name, content in files_of(full_mnist(Path(home))).items():
            (built_in.FOLDER / f"{name}.gz").write_bytes(gzip.compress(content, 9, mtime=0))
