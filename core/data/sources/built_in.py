"""Datasets that come with LoRA Lab: always available, without a download."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from core.data.dataset import SIDE, ImageDataset, TextDataset
from core.data.sources.published import IdxDataset, find_files, read_parts
from core.data.sources.source import DatasetInfo, Source
from core.errors import DatasetError


class Digits(Source):
    """1,797 handwritten digits (https://archive.ics.uci.edu/dataset/80)."""

    comes_along = True

    def names(self) -> tuple[str, ...]:
        return ("digits",)

    def info(self, name: str) -> DatasetInfo:
        return DatasetInfo(
            name,
            "Digits",
            "1,797 small handwritten digits, 8×8 gray scaled to 28×28; part of scikit-learn, always available.",
            num_classes=10,
            state="ready",
            licence="CC BY 4.0",
            link="https://archive.ics.uci.edu/dataset/80",
            as_source=1,
            as_target=1,
        )

    def load(self, name: str) -> ImageDataset:
        """80 % of each class for training, the rest for testing."""
        # Imported here because scikit-learn takes a second to import.
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        pixels, labels = load_digits(return_X_y=True)
        small = torch.from_numpy(pixels / 16 * 255).float().view(-1, 1, 8, 8)
        large = F.interpolate(small, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        images = large.squeeze(1).round().to(torch.uint8).numpy()
        parts = train_test_split(images, labels.astype(np.int64), test_size=0.2, stratify=labels, random_state=0)
        for part in parts:
            part.flags.writeable = False
        train_images, test_images, train_labels, test_labels = parts
        return ImageDataset(name, train_images, train_labels, test_images, test_labels, tuple("0123456789"))


FOLDER = Path(__file__).parent
"""Has the four files, written by ``python -m tests.data.pack_mnist``, and their licence, ``mnist-16k.LICENSE``."""

MNIST_16K = IdxDataset(
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
        return (MNIST_16K.name,)

    def info(self, name: str) -> DatasetInfo:
        return MNIST_16K

    def load(self, name: str) -> ImageDataset:
        """Both parts in MNIST's order."""
        files = find_files(MNIST_16K, FOLDER)
        if files is None:
            raise DatasetError(f"Files of {MNIST_16K.title} are missing in {FOLDER}: install LoRA Lab again.")
        return ImageDataset(name, *read_parts(MNIST_16K, files), MNIST_16K.class_names)


FILE = FOLDER / "definitions.csv.gz"
"""Columns ``text``, ``label`` and ``part``; the licence is beside it, in ``definitions.LICENSE``."""

CLASS_NAMES = (
    *("act", "animal", "artifact", "body", "communication", "food"),
    *("group", "location", "person", "plant", "state", "substance"),
)


class Definitions(Source):
    """14,400 definitions of nouns from WordNet 3.0, by the kind of thing that they define."""

    kind = "text"
    comes_along = True

    def names(self) -> tuple[str, ...]:
        return ("definitions",)

    def info(self, name: str) -> DatasetInfo:
        return DatasetInfo(
            name,
            "Definitions",
            "14,400 dictionary definitions of nouns from WordNet, 12,000 of them for training, in 12 topics from act "
            "to substance; part of LoRA Lab, always available.",
            num_classes=len(CLASS_NAMES),
            class_names=CLASS_NAMES,
            state="ready",
            kind=self.kind,
            licence="WordNet 3.0",
            link="https://wordnet.princeton.edu/license-and-commercial-use",
            as_source=1,
            as_target=1,
        )

    def load(self, name: str) -> TextDataset:
        """Both parts in the order of the file: 1,000 texts of each class for training, 200 for testing."""
        texts: dict[str, list[str]] = {"train": [], "test": []}
        labels: dict[str, list[int]] = {"train": [], "test": []}
        with gzip.open(FILE, "rt", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                texts[row["part"]].append(row["text"])
                labels[row["part"]].append(CLASS_NAMES.index(row["label"]))
        numbers = {part: np.array(of_part, np.int64) for part, of_part in labels.items()}
        for array in numbers.values():
            array.flags.writeable = False
        return TextDataset(
            name,
            tuple(texts["train"]),
            numbers["train"],
            tuple(texts["test"]),
            numbers["test"],
            CLASS_NAMES,
        )
