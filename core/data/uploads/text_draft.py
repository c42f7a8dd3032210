"""An uploaded dataset of texts that has been read but not saved yet, with its counts and warnings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.data.dataset import Labels, TextDataset
from core.data.uploads.classes import check_classes, check_counts, class_warnings, drawn_for_testing
from core.data.uploads.limits import MAX_CLASSES, MAX_NAME, MAX_TEXT
from core.data.uploads.parts import part_of, train_and_test
from core.data.uploads.text_columns import TextColumns
from core.data.uploads.text_table import TextTable, quoted
from core.errors import DatasetError

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_MISSING = ("", "nan", "NaN", "null", "NULL")
"""What stands for a label that is missing."""


@dataclass(frozen=True)
class Lengths:
    """How long texts are."""

    shortest: int
    median: int
    most: int
    """95 of 100 texts are not longer."""
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Lengths:
        """Summarize at least one length."""
        low, median, most, high = np.quantile(lengths, (0, 0.5, 0.95, 1), method="higher").tolist()
        return cls(low, median, most, high)


@dataclass(frozen=True, eq=False)
class TextDraft:
    """The dataset that a table would become; nothing is on disk yet."""

    dataset: TextDataset
    columns: TextColumns
    line: str
    """What was read and how it was split, in one sentence."""
    warnings: tuple[str, ...]
    """Possible problems with the data, one sentence each."""
    train_counts: tuple[int, ...]
    """Number of training texts per class."""
    test_counts: tuple[int, ...]
    characters: Lengths
    words: Lengths
    empty_rows: int
    """Rows without text, which were left out."""
    duplicates: int
    """Rows that repeat the text and the label of another row."""
    without_duplicates: bool
    """Whether these were left out."""
    overlap: int
    """Test texts that are also in the training part."""
    contradictions: int
    """Texts that have different labels in different rows."""


@dataclass(frozen=True)
class _Row:
    text: str
    label: str
    part: str


def draft_texts(table: TextTable, columns: TextColumns, drop_duplicates: bool = False) -> TextDraft:
    """Make a dataset of two columns of a table.

    Args:
        table: the rows.
        columns: which ones to use.
        drop_duplicates: leave out rows that repeat the text and the label of another row; those of the test part stay.

    Raises:
        DatasetError: a column is missing or used twice, a cell is no text or label, or the classes are too few, too
            many or too small.
    """
    everything, empty, part_note = _rows(table, columns)
    spelled = {label: _one_spelling(label) for label in {row.label for row in everything}}
    everything = [_Row(row.text, spelled[row.label], row.part) for row in everything]
    rows = _without_duplicates(everything)
    duplicates = len(everything) - len(rows)
    if not drop_duplicates:
        rows = everything
    names, labels = _classes([row.label for row in rows], columns.label)
    check_classes(names)
    texts, testing = [row.text for row in rows], np.array([row.part == "test" for row in rows], bool)
    given = None if columns.part is None else labels[testing]
    if columns.part is not None and given is not None and not len(given):
        raise DatasetError(f"The column {quoted(columns.part)} says test of no row: choose no column for the part.")
    check_counts(names, labels if given is None else labels[~testing], given, "texts")
    if given is None:
        testing = drawn_for_testing(labels, len(names))
    dataset = _dataset(names, texts, labels, testing)
    counts = [np.bincount(part, minlength=len(names)) for part in (dataset.train_labels, dataset.test_labels)]
    known = set(dataset.train_texts)
    overlap = sum(text in known for text in dataset.test_texts)
    labels_of: dict[str, set[str]] = {}
    for row in rows:
        labels_of.setdefault(row.text, set()).add(row.label)
    contradictions = sum(len(found) > 1 for found in labels_of.values())
    split = "split as in the file" if columns.part else "with a random test part from each class"
    return TextDraft(
        dataset=dataset,
        columns=columns,
        line=(
            f"{len(rows):,} texts in {len(names)} classes: {len(dataset.train_texts):,} for training and "
            f"{len(dataset.test_texts):,} for testing, {split}."
        ),
        warnings=(
            *table.notes,
            *([part_note] if part_note else []),
            *class_warnings(names, counts[0], "texts"),
            *_text_warnings(len(dataset.test_texts), overlap, contradictions),
        ),
        train_counts=tuple(counts[0].tolist()),
        test_counts=tuple(counts[1].tolist()),
        characters=Lengths.of([len(text) for text in texts]),
        words=Lengths.of([len(text.split()) for text in texts]),
        empty_rows=empty,
        duplicates=duplicates,
        without_duplicates=drop_duplicates,
        overlap=overlap,
        contradictions=contradictions,
    )


def first_texts(texts: Sequence[str], labels: Labels, label: int, count: int) -> list[str]:
    """The first ``count`` texts of a class; ``labels`` has shape (n,)."""
    return [texts[row] for row in np.flatnonzero(labels == label)[:count]]


def _rows(table: TextTable, columns: TextColumns) -> tuple[list[_Row], int, str | None]:
    """Every row with a text, the number of rows without one, and a note on a validation part if there is one."""
    named = [name for name in (columns.text, columns.label, columns.part) if name is not None]
    if len(set(named)) < len(named):
        raise DatasetError(
            f"The column {quoted(named[-1])} is chosen twice: text, label and part are different columns."
        )
    texts, labels = table.column(columns.text), table.column(columns.label)
    parts, note = (None, None) if columns.part is None else _parts(table, columns.part)
    rows, empty = [], table.empty_rows
    for number, (text, name) in enumerate(zip(texts, labels, strict=True)):
        where = f"{table.unit} {table.places[number]}"
        if text is None:
            raise DatasetError(
                f"{where} has a list or an object in {quoted(columns.text)}, not a text: choose another column."
            )
        if len(text) > MAX_TEXT:
            raise DatasetError(f"{where} has a text of {len(text):,} characters: the limit is {MAX_TEXT:,}.")
        if not (content := text.strip()):
            empty += 1
            continue
        if name is None:
            raise DatasetError(
                f"{where} has a list or an object in {quoted(columns.label)}, not a label: choose another one."
            )
        if (name := name.strip()) in _MISSING:
            raise DatasetError(
                f"{where} has a text but no label in {quoted(columns.label)}: fill it in, or remove the row."
            )
        rows.append(_Row(content, name, parts[number] if parts else "train"))
    if not rows:
        raise DatasetError(f"The column {quoted(columns.text)} has no texts: choose another one.")
    return rows, empty, note


def _parts(table: TextTable, column: str) -> tuple[list[str], str | None]:
    """``train`` or ``test`` for every row, and a note on a validation part if there is one."""
    found = []
    for place, cell in zip(table.places, table.column(column), strict=True):
        part = None if cell is None else part_of(cell)
        if part is None:
            raise DatasetError(
                f"{table.unit} {place} has {(cell or '')[:40]!r} in {quoted(column)}: the parts are train, test and "
                "validation."
            )
        found.append(part)
    return train_and_test(found)


def _without_duplicates(rows: Sequence[_Row]) -> list[_Row]:
    """The rows in their order, each text once with each label; of several, the first one of the test part stays."""
    best: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows):
        key = row.text, row.label
        if key not in best or (row.part == "test" and rows[best[key]].part != "test"):
            best[key] = number
    return [rows[number] for number in sorted(best.values())]


def _classes(labels: Sequence[str], column: str) -> tuple[list[str], Labels]:
    """Names of the classes (numbers sorted by value, words alphabetically) and the label of each text."""
    found = set(labels)
    if len(found) > MAX_CLASSES:
        raise DatasetError(
            f"The column {quoted(column)} has {len(found):,} different labels, and the limit is {MAX_CLASSES:,} "
            "classes: choose another one."
        )
    numbers = {label: _number(label) for label in found}
    words = sorted(label for label, number in numbers.items() if number is None)
    if words and len(words) < len(found):
        raise DatasetError(
            f"The labels in {quoted(column)} mix numbers and words such as {words[0][:40]!r}: use one kind."
        )
    if words:
        name_of = {label: label for label in found}
        names = words
    else:
        values = sorted({number for number in numbers.values() if number is not None})
        name_of = {label: _written(number) for label, number in numbers.items() if number is not None}
        names = [_written(value) for value in values]
    label_of = {name: label for label, name in enumerate(names)}
    return names, np.array([label_of[name_of[label]] for label in labels], np.int64)


def _number(label: str) -> int | float | None:
    if len(label) > MAX_NAME or not _NUMBER.fullmatch(label):
        return None
    value = float(label)
    if not np.isfinite(value):
        return None
    try:
        return int(label)
    except ValueError:
        return int(value) if value == int(value) else value


def _written(value: float) -> str:
    return str(value)


def _one_spelling(label: str) -> str:
    """The spelling of all labels that equal this one: 1 and 1.0 are the same. One that would be too long is left."""
    number = _number(label)
    written = label if number is None else _written(number)
    return written if len(written) <= MAX_NAME else label


def _dataset(names: Sequence[str], texts: Sequence[str], labels: Labels, testing: np.ndarray) -> TextDataset:
    numbers = labels[~testing], labels[testing]
    for array in numbers:
        array.flags.writeable = False
    train = tuple(text for text, tested in zip(texts, testing.tolist(), strict=True) if not tested)
    test = tuple(text for text, tested in zip(texts, testing.tolist(), strict=True) if tested)
    return TextDataset("upload", train, numbers[0], test, numbers[1], tuple(names))


def _text_warnings(tested: int, overlap: int, contradictions: int) -> list[str]:
    found = []
    if overlap:
        found.append(
            f"{overlap:,} of {tested:,} test texts are also in the training part: "
            "accuracy on the test part is too high."
        )
    if contradictions:
        texts = "1 text has" if contradictions == 1 else f"{contradictions:,} texts have"
        found.append(f"{texts} different labels in different rows: nothing can learn all of them.")
    return found
