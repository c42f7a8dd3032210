"""A view: how datasets of one kind become tasks, which of their examples these consist of, and the form for it.

Which examples are held out, and which are the shots, depends only on the dataset and the class: all runs, methods and
transforms of a dataset are trained and validated on the same ones. A dataset without classes is split as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import Dataset, Labels
from core.data.examples import Task
from core.data.passage import Tokenized
from core.data.task_spec import TaskSpec
from core.errors import DatasetError

SPLIT_SEED = 20210617
"""Seed of the choice of held-out examples and shots, the same for every run."""


@dataclass(frozen=True)
class Outline:
    """What a task will contain, known without making its tensors."""

    classes: tuple[int, ...]
    """Labels that occur, sorted; empty without classes."""
    train: NDArray[np.intp]
    """Training rows, as indices into the dataset's training part."""
    validation: NDArray[np.intp]
    """Held-out rows, as indices into the same part."""
    test: NDArray[np.intp]
    """Test rows, as indices into the dataset's test part."""


@dataclass(frozen=True)
class Kind:
    """What classes are called in messages."""

    one: str
    several: str


CLASSES, TOPICS = Kind("class", "classes"), Kind("topic", "topics")
"""Those that are learned, and those of texts to continue."""


def outline(spec: TaskSpec, dataset: Dataset, kind: Kind = CLASSES) -> Outline:
    """Choose a task's examples.

    Raises:
        DatasetError: the dataset is another one, lacks a class, or has too few examples of one.
    """
    if spec.dataset != dataset.name:
        raise DatasetError(f"This task is made of {spec.dataset}, not of {dataset.name}; choose the matching dataset.")
    if not dataset.num_classes:
        return _without_classes(spec, dataset, kind)
    present = np.intersect1d(dataset.train_labels, dataset.test_labels).tolist()
    classes = tuple(present) if spec.classes is None else tuple(sorted(spec.classes))
    lacking = [label for label in classes if label not in present]
    if lacking:
        raise DatasetError(
            f"{dataset.name} has no training or no test examples of {kind.one} {lacking[0]}; "
            f"choose among its {kind.several} {present[0]} to {present[-1]}."
        )
    train, validation = _split(spec, dataset, classes, kind)
    return Outline(classes, train, validation, np.flatnonzero(np.isin(dataset.test_labels, classes)))


def _split(
    spec: TaskSpec, dataset: Dataset, classes: tuple[int, ...], kind: Kind
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the training part to train on and rows to hold out, each sorted.

    Each class has one fixed random order. Validation rows are taken from its front and shots from its back, so a
    larger part contains the smaller one, and neither depends on the other or on the classes kept.
    """
    train, validation = [], []
    for label in classes:
        rows = np.flatnonzero(dataset.train_labels == label)
        # NumPy guarantees that the stream of RandomState never changes between versions.
        rows = np.random.RandomState([SPLIT_SEED, label]).permutation(rows)
        trained, held_out, available = _divided(rows, spec)
        if trained is None:
            raise DatasetError(
                f"{dataset.name} has {available} training examples of {kind.one} {dataset.class_names[label]} besides "
                f"the validation part, not {spec.shots or 1}: choose “all” or fewer shots, or leave the {kind.one} out."
            )
        train.append(trained)
        validation.append(held_out)
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(validation))


def _without_classes(spec: TaskSpec, dataset: Dataset, kind: Kind) -> Outline:
    """The examples of a task whose targets are no classes: all of them have one fixed random order."""
    if spec.classes is not None:
        raise DatasetError(f"{dataset.name} has no {kind.several}: leave the {kind.several} kept out.")
    rows = np.random.RandomState([SPLIT_SEED]).permutation(len(dataset.train_labels))
    trained, held_out, available = _divided(rows, spec)
    if trained is None:
        raise DatasetError(
            f"{dataset.name} has {available} training examples besides the validation part, not {spec.shots or 1}: "
            "choose “all” or fewer shots."
        )
    return Outline((), np.sort(trained), np.sort(held_out), np.arange(len(dataset.test_labels)))


def _divided(rows: NDArray[np.intp], spec: TaskSpec) -> tuple[NDArray[np.intp] | None, NDArray[np.intp], int]:
    """Rows to train on, None where there are too few; rows to hold out; and the number of rows besides those."""
    held_out = max(1, round(spec.validation * len(rows)))
    available = len(rows) - held_out
    if available < (1 if spec.shots is None else spec.shots):
        return None, rows[:held_out], available
    return rows[held_out:] if spec.shots is None else rows[-spec.shots :], rows[:held_out], available


Widget = Literal["classes", "slider", "switch", "amount", "choice", "share"]
"""How a field is asked for: labels to keep, a slider of whole steps, on or off, one of a few amounts or all, one of a
few numbers, and a fraction of the training part."""


@dataclass(frozen=True)
class FormField:
    """One field of :class:`core.data.task_spec.TaskSpec` in a form; title and limits are the spec's own."""

    name: str
    widget: Widget
    choices: tuple[int, ...] = ()
    """The amounts to choose from."""
    step: int = 1
    """Step of a slider."""
    unit: str = ""
    """What follows a slider's number."""
    on: Any = True
    """Value of a switch that is on; off is the spec's default."""
    help: str = ""
    """Explanation in a form; empty for the spec's description."""
    plain: tuple[str, str] = ("", "")
    """Title and help for a dataset without classes; empty for those that it has otherwise."""
    limit: str = ""
    """Attribute of a network with the largest number that it can take, or None for any; empty where none has one."""
    title: str = ""
    """What it is called; empty for the title of the spec's field."""


def shots_field(noun: str) -> FormField:
    """The field for how many examples are learned from. Args: noun: what several examples are called."""
    plain = ("Shots", f"Training {noun} in all.")
    return FormField("shots", "amount", (1, 2, 5, 10, 20, 50, 100), help=f"Training {noun} per class.", plain=plain)


class TextTokenizer(Protocol):
    """Turns texts into the tokens of one network."""

    @property
    def digest(self) -> str:
        """Identifies the network's files, and so its tokens."""
        ...

    @property
    def padding(self) -> int:
        """The token that fills up shorter texts."""
        ...

    @property
    def unknown(self) -> int | None:
        """The token in place of what no other token stands for; None where every text has tokens of its own."""
        ...

    @property
    def prefix(self) -> tuple[int, ...]:
        """The tokens that mark the beginning of a text; empty where there are none."""
        ...

    @property
    def end(self) -> int | None:
        """The token that ends texts; None where there is none."""
        ...

    @property
    def template(self) -> str:
        """The chat template, a program in Jinja's language; empty where there is none."""
        ...

    @property
    def special(self) -> Mapping[str, str]:
        """Special tokens by the names that chat templates know them by, such as ``bos_token``."""
        ...

    def spans(self, texts: Sequence[str]) -> Sequence[Tokenized]:
        """The tokens of each text without marks of its beginning and end, with the bytes that each stands for."""
        ...

    def encode(self, texts: Sequence[str], length: int | None = None) -> list[list[int]]:
        """Token ids of each text, with the tokens that mark its beginning and end.

        Args:
            texts: what to read.
            length: maximum number of tokens, those marks included; None cuts nothing.
        """
        ...

    def words(self, tokens: Sequence[int]) -> list[str]:
        """Each token as text, as people can read it."""
        ...


class View(Protocol):
    """Makes tasks of the datasets of one kind."""

    @property
    def kind(self) -> str:
        """The kind of the datasets."""
        ...

    @property
    def reads(self) -> str:
        """What a network learns from, in the words of a report."""
        ...

    @property
    def inputs(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each input of one example, by its name."""
        ...

    @property
    def fields(self) -> Sequence[FormField]:
        """What can be chosen about a task, in the order of a form."""
        ...

    def outline(self, spec: TaskSpec, dataset: Dataset) -> Outline:
        """Choose a task's examples. Raises: DatasetError: see :func:`outline`."""
        ...

    def task(self, spec: TaskSpec, dataset: Dataset, tokenizer: TextTokenizer | None = None) -> Task:
        """Make a task on the CPU; the same spec, dataset and tokenizer give the same task, bit for bit.

        Args:
            spec: what to make.
            dataset: the one that ``spec`` names.
            tokenizer: of the network that learns the task, where it reads texts.

        Raises:
            DatasetError: see :func:`outline`; or the dataset is of another kind.
        """
        ...


Row = TypeVar("Row")


@dataclass(frozen=True)
class Preview(Generic[Row]):
    """What a network will read of the training texts of a task."""

    rows: tuple[Row, ...]
    """The first ones."""
    lengths: Labels
    """(n,): tokens of each, before anything is cut."""
    length: int
    """Tokens that are kept."""
    share_unknown: float
    """Share of all tokens that stand for something which the network's tokenizer does not know."""

    @property
    def cut(self) -> int:
        """Number of training texts that are cut."""
        return int((self.lengths > self.length).sum())

    @property
    def share_lost(self) -> float:
        """Share of all tokens that are cut off."""
        lost = np.maximum(self.lengths - self.length, 0).sum()
        return float(lost / max(self.lengths.sum(), 1))


def fields_of(view: View, has_classes: bool) -> list[FormField]:
    """What can be chosen about a task. Args: has_classes: whether the targets of its dataset are classes."""
    if has_classes:
        return list(view.fields)
    return [
        replace(field, title=field.plain[0], help=field.plain[1] or field.help)
        for field in view.fields
        if field.widget != "classes"
    ]
