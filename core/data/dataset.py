"""A dataset in memory: labelled images and the names of the labels."""

from __future__ import annotations

from dataclasses import dataclass

from core.data.idx import Images, Labels


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled grey images of 28×28 pixels; the arrays are shared and read-only."""

    name: str
    train_images: Images
    """(n, 28, 28), 0 black to 255 white."""
    train_labels: Labels
    """(n,), from 0."""
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]
    """Names of labels 0, 1, …"""

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.class_names)
