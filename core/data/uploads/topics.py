"""Topics of uploaded passages: the column that names them, by which passages can be chosen for a source or a target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import Labels
from core.data.uploads.classes import check_classes, check_counts
from core.data.uploads.limits import MAX_CLASSES, MIN_CLASSES, MIN_TEST, MIN_TRAIN
from core.data.uploads.passage_forms import PassageColumns
from core.data.uploads.text_rows import MISSING, parts_of
from core.data.uploads.text_table import TextTable

NAMES = ("topic", "topics", "category", "subject", "domain", "label", "class")
"""Usual names of columns of topics, in lower case."""


def topic_columns(table: TextTable, columns: PassageColumns) -> list[str]:
    """The columns that may name topics: those of texts that passages and parts leave."""
    used = {*dict(columns.columns).values(), columns.part}
    return [name for name in table.columns if name not in used and name not in table.messages]


def likely_topic(table: TextTable, columns: PassageColumns) -> str | None:
    """The column with a usual name that gives each row one of a few topics, each with enough rows; None without one."""
    lower = {name.strip().lower(): name for name in reversed(topic_columns(table, columns))}
    parts = parts_of(table, columns.part).of_rows
    for name in (lower[usual] for usual in NAMES if usual in lower):
        topics = [topic_in(cell) for cell in table.column(name)]
        counts, tested = (
            Counter(topics),
            Counter(topic for topic, part in zip(topics, parts, strict=True) if part == "test"),
        )
        is_enough = all(
            count - tested[topic] >= MIN_TRAIN and tested[topic] >= MIN_TEST if columns.part else count >= FEW
            for topic, count in counts.items()
        )
        if MIN_CLASSES <= len(counts) <= MAX_CLASSES and "" not in counts and is_enough:
            return name
    return None


FEW = 2 * (MIN_TRAIN + MIN_TEST)
"""Rows of a topic below which it is not likely that somebody learns it by itself."""


def topic_in(cell: str | None) -> str:
    """The topic in a cell; empty where there is none."""
    topic = (cell or "").strip()
    return "" if topic in MISSING else topic


def labelled(topics: Sequence[str]) -> tuple[tuple[str, ...], Labels]:
    """Names of the topics, sorted, and the label of each passage; no names and zeros where no passage has a topic.

    Raises:
        DatasetError: there are too few topics, too many, or one with a name that cannot be shown.
    """
    names = tuple(sorted({topic for topic in topics if topic}))
    if not names:
        return (), np.zeros(len(topics), np.int64)
    check_classes(names, "topic", "topics")
    label_of = {name: label for label, name in enumerate(names)}
    return names, np.array([label_of[topic] for topic in topics], np.int64)


def check_topics(names: Sequence[str], labels: Labels, testing: NDArray[np.bool_] | None) -> None:
    """Check that every topic has enough passages.

    Args:
        names: of the topics; empty without.
        labels: (n,) of all passages.
        testing: (n,) which are tested on; None before that is drawn.

    Raises:
        DatasetError: a topic has too few.
    """
    if names:
        train, test = (labels, None) if testing is None else (labels[~testing], labels[testing])
        check_counts(names, train, test, "passages", "topic")


def drawn_of_each(
    labels: Labels, keys: Sequence[Hashable], draw: Callable[[Sequence[Hashable]], NDArray[np.bool_]]
) -> NDArray[np.bool_]:
    """Which passages to test on, (n,): drawn of each topic by itself. Args: draw: of the keys of some passages."""
    testing = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        testing[rows] = draw([keys[row] for row in rows.tolist()])
    return testing
