"""A view: how datasets of one kind become tasks, and the form for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np

from core.data.dataset import Dataset, Labels
from core.data.task import Task
from core.data.task_spec import TaskSpec
from core.data.tokenized import Tokenized
from core.tasks.views.split import Outline

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
        """Choose a task's examples. Raises: DatasetError: see :func:`core.tasks.views.split.outline`."""
        ...

    def task(self, spec: TaskSpec, dataset: Dataset, tokenizer: TextTokenizer | None = None) -> Task:
        """Make a task on the CPU; the same spec, dataset and tokenizer give the same task, bit for bit.

        Args:
            spec: what to make.
            dataset: the one that ``spec`` names.
            tokenizer: of the network that learns the task, where it reads texts.

        Raises:
            DatasetError: see :func:`core.tasks.views.split.outline`; or the dataset is of another kind.
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
