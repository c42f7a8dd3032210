"""Uploaded datasets of images."""

from __future__ import annotations

from core.data.dataset import SIDE, Dataset, ImageDataset
from core.data.sources.own import ENDING, OwnDatasets
from core.data.sources.own_file import Arrays, FileFormat, Header, Shapes
from core.errors import DatasetError


def _part(shapes: Shapes, part: str, count: int) -> Shapes:
    return {f"{part}_images": ("U8", (count, SIDE, SIDE))}


class OwnImages(OwnDatasets):
    """Images of 28×28 pixels, one byte per pixel."""

    kind = "image"
    ending = ENDING
    what = "images"
    form = ", 28×28 gray"
    format = FileFormat("lora-lab-dataset-1", _part)

    def arrays(self, dataset: Dataset) -> Arrays:
        if not isinstance(dataset, ImageDataset):
            raise DatasetError("Only datasets of images can be saved here.")
        return {
            "train_images": dataset.train_images,
            "train_labels": dataset.train_labels,
            "test_images": dataset.test_images,
            "test_labels": dataset.test_labels,
        }

    def dataset(self, name: str, header: Header, arrays: Arrays) -> ImageDataset:
        return ImageDataset(
            name,
            arrays["train_images"],
            arrays["train_labels"],
            arrays["test_images"],
            arrays["test_labels"],
            header.class_names,
            header.objective,
        )
