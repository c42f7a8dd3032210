"""Datasets in memory: examples with their targets, and the names of the classes."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.data.passage import Passage

SIDE = 28
"""Pixels along each side of an image."""

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Targets = NDArray[np.int64 | np.float32]
"""What is learned of each example: int64 labels from 0, or float32 numbers in a dataset without classes."""

USUAL_OBJECTIVE = "classification"
"""Kind of the objective that a dataset is for unless it says otherwise."""


class Dataset(Protocol):
    """What every dataset has, whatever its examples are."""

    @property
    def name(self) -> str:
        """The name that specs refer to it by."""
        ...

    @property
    def kind(self) -> str:
        """What its examples are, such as ``image``; tells which view makes tasks of it."""
        ...

    @property
    def objective(self) -> str:
        """Kind of the objective that its targets are for; see :mod:`core.objectives`."""
        ...

    @property
    def train_labels(self) -> Targets:
        """(n,) targets of the training part."""
        ...

    @property
    def test_labels(self) -> Targets:
        """(m,) targets of the test part."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of labels 0, 1, …; empty without classes."""
        ...

    @property
    def num_classes(self) -> int:
        """Number of labels; 0 without classes."""
        ...

    @property
    def overlap(self) -> int:
        """Number of test examples that are also in the training part."""
        ...


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled gray images of 28×28 pixels; the arrays are shared and read-only."""

    name: str
    train_images: Images
    """(n, 28, 28), 0 black to 255 white."""
    train_labels: Targets
    """(n,) labels from 0, or numbers."""
    test_images: Images
    test_labels: Targets
    class_names: tuple[str, ...]
    """Names of labels 0, 1, …; empty without classes."""
    objective: str = USUAL_OBJECTIVE
    """Kind of the objective that the targets are for."""

    @cached_property
    def overlap(self) -> int:
        """Number of test images that are identical to a training image."""
        return _shared(*(map(_digest, part) for part in (self.train_images, self.test_images)))

    @property
    def kind(self) -> str:
        """``image``."""
        return "image"

    @property
    def num_classes(self) -> int:
        """Number of labels; 0 without classes."""
        return len(self.class_names)


def _digest(image: Images) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _shared(train: Iterable[Hashable], test: Iterable[Hashable]) -> int:
    known = set(train)
    return sum(example in known for example in test)


@dataclass(frozen=True)
class TextColumns:
    """How a dataset was made of a table: the names of its columns, of several with one name as
    :mod:`core.data.uploads` tells them apart, as in ``label (2)``; and whether repeated rows were left out.
    """

    text: str
    label: str
    part: str | None = None
    """Says of each row which part it belongs to; None to draw a test part."""
    without_repeats: bool | None = None
    """Whether rows that repeat the text and the label of another one were left out; None where that is not known."""


@dataclass(frozen=True, eq=False)
class TextDataset:
    """Labelled texts of any length; the arrays of labels are shared and read-only."""

    name: str
    train_texts: tuple[str, ...]
    """n texts, none of them empty."""
    train_labels: Targets
    """(n,) labels from 0, or numbers."""
    test_texts: tuple[str, ...]
    test_labels: Targets
    class_names: tuple[str, ...]
    """Names of labels 0, 1, …; empty without classes."""
    objective: str = USUAL_OBJECTIVE
    """Kind of the objective that the targets are for."""
    columns: TextColumns | None = None
    """Of the table that was uploaded; None where they are not known, as of datasets of earlier versions."""

    @cached_property
    def overlap(self) -> int:
        """Number of test texts that are also in the training part, whatever their targets."""
        return _shared(self.train_texts, self.test_texts)

    @property
    def kind(self) -> str:
        """``text``."""
        return "text"

    @property
    def num_classes(self) -> int:
        """Number of labels; 0 without classes."""
        return len(self.class_names)


LANGUAGE = "language"
"""Kind of datasets of passages, and of the objective that they are for."""


@dataclass(frozen=True, eq=False)
class LanguageDataset:
    """Texts to continue, with the parts that are scored; the arrays of labels are shared and read-only."""

    name: str
    train_texts: tuple[Passage, ...]
    """n passages, each with a scored part or a message that is scored."""
    train_labels: Labels
    """(n,) topics from 0; zeros where there are none."""
    test_texts: tuple[Passage, ...]
    test_labels: Labels
    class_names: tuple[str, ...] = ()
    """Names of topics 0, 1, …, by which passages can be chosen; empty where there are none."""

    @cached_property
    def overlap(self) -> int:
        """Number of test passages that are also in the training part."""
        return _shared(self.train_texts, self.test_texts)

    @cached_property
    def is_dialogue(self) -> bool:
        """Whether there are conversations, or prompts with completions: what networks are trained on to chat."""
        return any(passage.messages or len(passage.parts) > 1 for passage in self.train_texts)

    @property
    def kind(self) -> str:
        """``language``."""
        return LANGUAGE

    @property
    def objective(self) -> str:
        """``language``: topics only choose passages, and are not learned."""
        return LANGUAGE

    @property
    def num_classes(self) -> int:
        """Number of topics; 0 without."""
        return len(self.class_names)


_EXAMPLES = {"image": "images", "text": "texts", LANGUAGE: "passages"}
"""What examples are called, by the kind of the dataset."""


def overlap_sentence(dataset: Dataset) -> str:
    """What follows from test examples that are also in the training part; empty where there are none."""
    if not dataset.overlap:
        return ""
    if dataset.kind == LANGUAGE:
        follows = "the test part looks too easy"
    else:
        follows = (
            "accuracy on the test part is too high" if dataset.num_classes else "what is measured there is too good"
        )
    examples, are = _EXAMPLES.get(dataset.kind, "examples"), "is" if dataset.overlap == 1 else "are"
    tested = f"{len(dataset.test_labels):,} test {examples}"
    return f"{dataset.overlap:,} of {tested} {are} also in the training part: {follows}."
