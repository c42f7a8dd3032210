"""Tasks of texts: classes kept, few of each class, some held out, as tokens of the network that learns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from core.data.dataset import Dataset, Targets, TextDataset
from core.data.examples import Task, TextExamples
from core.data.task_spec import TaskSpec
from core.errors import DatasetError
from core.tasks.views.view import CLASSES, FormField, Kind, Outline, Preview, TextTokenizer, outline, shots_field

OF_IMAGES = ("rotation", "invert", "permutation")
"""Fields of a task that only images have."""


class TextView:
    """Makes tasks of texts; see :class:`core.tasks.views.view.View`."""

    kind = "text"
    reads = "texts"
    inputs: Mapping[str, tuple[int, ...]] = {"input_ids": (), "attention_mask": ()}
    fields: Sequence[FormField] = (
        FormField("classes", "classes"),
        FormField("length", "choice", (16, 32, 64, 128, 256, 512), limit="longest_input"),
        shots_field("texts"),
        FormField("validation", "share"),
    )

    def outline(self, spec: TaskSpec, dataset: Dataset) -> Outline:
        """Choose a task's texts. Raises: DatasetError: see :func:`outline_of_texts`."""
        return outline_of_texts(spec, dataset)

    def task(self, spec: TaskSpec, dataset: Dataset, tokenizer: TextTokenizer | None = None) -> Task:
        """Make a task from a dataset. The same spec, dataset and tokenizer give the same task, bit for bit.

        Args:
            spec: classes, shots, validation part and maximum length.
            dataset: the one that ``spec`` names.
            tokenizer: of the network that learns it.

        Returns:
            The task on the CPU, texts in the dataset's order.

        Raises:
            DatasetError: the dataset is another one, has no texts, lacks a class, or has too few texts of one; or the
                network reads none.
        """
        if not isinstance(dataset, TextDataset):
            raise DatasetError(f"{dataset.name} has no texts: choose a dataset of texts.")
        if tokenizer is None:
            raise DatasetError(f"{dataset.name} consists of texts: choose a network that reads texts.")
        chosen = self.outline(spec, dataset)

        train, test = (dataset.train_texts, dataset.train_labels), (dataset.test_texts, dataset.test_labels)
        return Task(
            spec=spec,
            classes=chosen.classes,
            class_names=dataset.class_names,
            train=_examples(*train, chosen.train, tokenizer, spec.length),
            validation=_examples(*train, chosen.validation, tokenizer, spec.length),
            test=_examples(*test, chosen.test, tokenizer, spec.length),
        )


def outline_of_texts(spec: TaskSpec, dataset: Dataset, kind: Kind = CLASSES) -> Outline:
    """Choose a task's texts.

    Args:
        spec: classes, shots and validation part.
        dataset: the one that ``spec`` names.
        kind: what its classes are called.

    Raises:
        DatasetError: it is to be rotated, inverted or shuffled; or see :func:`core.tasks.views.view.outline`.
    """
    changed = [name for name in OF_IMAGES if getattr(spec, name) != TaskSpec.model_fields[name].default]
    if changed:
        raise DatasetError(f"{dataset.name} consists of texts, which have no {changed[0]}: leave that out.")
    return outline(spec, dataset, kind)


def _examples(
    texts: Sequence[str], labels: Targets, rows: NDArray[np.intp], tokenizer: TextTokenizer, length: int
) -> TextExamples:
    """Some texts of a dataset as the tokens of a network."""
    tokens = tokenizer.encode([texts[row] for row in rows], length)
    return TextExamples.of(tokens, torch.from_numpy(labels[rows]), tokenizer.padding)


TextPreview = Preview[tuple[tuple[str, ...], int, int | float]]
"""Of each text of the first batch the tokens, how many tokens of padding follow them, and its label or number."""


def text_preview(spec: TaskSpec, dataset: Dataset, tokenizer: TextTokenizer, batch: int) -> TextPreview:
    """The first ``batch`` training texts as the network will read them, and the lengths of all.

    Raises:
        DatasetError: see :meth:`TextView.task`.
    """
    if not isinstance(dataset, TextDataset):
        raise DatasetError(f"{dataset.name} has no texts: choose a dataset of texts.")
    train = TextView().outline(spec, dataset).train
    first = _examples(dataset.train_texts, dataset.train_labels, train[:batch], tokenizer, spec.length)
    seen = first.batch(slice(None))
    rows = tuple(
        (tuple(tokenizer.words(ids[mask.bool()].tolist())), int((mask == 0).sum()), label.item())
        for ids, mask, label in zip(seen["input_ids"], seen["attention_mask"], first.labels, strict=True)
    )
    read = tokenizer.encode([dataset.train_texts[row] for row in train])
    lengths = np.array([len(tokens) for tokens in read])
    unknown = sum(tokens.count(tokenizer.unknown) for tokens in read) if tokenizer.unknown is not None else 0
    return TextPreview(rows, lengths, spec.length, unknown / max(int(lengths.sum()), 1))
