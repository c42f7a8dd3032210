"""Dictionary definitions that come with LoRA Lab: the texts that are always available."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from core.data.dataset import TextDataset
from core.data.sources.source import DatasetInfo, Source

FILE = Path(__file__).with_suffix(".csv.gz")
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
