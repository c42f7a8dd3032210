"""Uploaded datasets of texts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from core.data.dataset import Dataset, TextColumns, TextDataset
from core.data.sources.own import ENDING, OwnDatasets
from core.data.sources.own_file import Arrays, FileFormat, Header, Shapes, damaged
from core.errors import DatasetError


def _part(shapes: Shapes, part: str, count: int) -> Shapes:
    size = shapes[f"{part}_texts"][1][0]
    return {f"{part}_texts": ("U8", (size,)), f"{part}_ends": ("I64", (count,))}


class OwnTexts(OwnDatasets):
    """Texts in UTF-8, one after the other, and where each ends."""

    kind = "text"
    ending = f".texts{ENDING}"
    what = "texts"
    format = FileFormat("lora-lab-texts-1", _part)

    def arrays(self, dataset: Dataset) -> Arrays:
        if not isinstance(dataset, TextDataset):
            raise DatasetError("Only datasets of texts can be saved here.")
        return {
            **_packed("train", dataset.train_texts),
            "train_labels": dataset.train_labels,
            **_packed("test", dataset.test_texts),
            "test_labels": dataset.test_labels,
        }

    def columns(self, dataset: Dataset) -> TextColumns | None:
        return dataset.columns if isinstance(dataset, TextDataset) else None

    def dataset(self, name: str, header: Header, arrays: Arrays) -> TextDataset:
        return TextDataset(
            name,
            _unpacked(name, "train", arrays),
            arrays["train_labels"],
            _unpacked(name, "test", arrays),
            arrays["test_labels"],
            header.class_names,
            header.objective,
            header.columns,
        )


def _packed(part: str, texts: Sequence[str]) -> Arrays:
    encoded = [text.encode() for text in texts]
    return {
        f"{part}_texts": np.frombuffer(b"".join(encoded), np.uint8),
        f"{part}_ends": np.cumsum([len(text) for text in encoded], dtype=np.int64),
    }


def _unpacked(name: str, part: str, arrays: Arrays) -> tuple[str, ...]:
    content, ends = arrays[f"{part}_texts"].tobytes(), [0, *arrays[f"{part}_ends"].tolist()]
    if ends[-1] != len(content) or any(start >= end for start, end in pairwise(ends)):
        raise damaged(name)
    try:
        return tuple(content[start:end].decode() for start, end in pairwise(ends))
    except UnicodeDecodeError as error:
        raise damaged(name) from error
