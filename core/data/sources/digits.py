"""The digits that come with scikit-learn: always available."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from core.data.dataset import SIDE, ImageDataset
from core.data.sources.source import DatasetInfo, Source


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
