"""Part of MNIST that comes with LoRA Lab: enough images for a first answer, without a download."""

from __future__ import annotations

from pathlib import Path

from core.data.dataset import ImageDataset
from core.data.sources.idx import IdxDataset, find_files, read_parts
from core.data.sources.source import DatasetInfo, Source
from core.errors import DatasetError

FOLDER = Path(__file__).parent
"""Has the four files, written by ``python -m tests.data.pack_mnist``, and their licence, ``mnist-16k.LICENSE``."""

DATASET = IdxDataset(
    name="mnist-16k",
    title="MNIST-16k",
    line="16,000 handwritten digits of MNIST, 28×28 gray, 12,000 of them for training; part of LoRA Lab, always "
    "available.",
    num_classes=10,
    class_names=tuple("0123456789"),
    state="ready",
    parts=("mnist-16k-train", "mnist-16k-test"),
    licence="CC BY-SA 3.0",
    link="https://keras.io/api/datasets/mnist/",
    as_source=2,
    as_target=1,
)


class Mnist16k(Source):
    """MNIST's training images 0 to 11,999, and its test images 0 to 1,999 and 5,000 to 6,999.

    The two halves of the test part have different writers, and a linear model makes fewer errors on the second one.
    """

    comes_along = True

    def names(self) -> tuple[str, ...]:
        return (DATASET.name,)

    def info(self, name: str) -> DatasetInfo:
        return DATASET

    def load(self, name: str) -> ImageDataset:
        """Both parts in MNIST's order."""
        files = find_files(DATASET, FOLDER)
        if files is None:
            raise DatasetError(f"Files of {DATASET.title} are missing in {FOLDER}: install LoRA Lab again.")
        return ImageDataset(name, *read_parts(DATASET, files), DATASET.class_names)
