"""An uploaded dataset of texts with classes, checked and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import USUAL_OBJECTIVE, Labels, Targets, TextColumns, TextDataset, overlap_sentence
from core.data.uploads.classes import check_classes, check_counts, class_warnings, drawn_for_testing
from core.data.uploads.draft import Draft, found_text, lengths_text
from core.data.uploads.limits import MAX_CLASSES, MAX_NAME
from core.data.uploads.not_classes import are_quantities, joined_in
from core.data.uploads.text_columns import NUMBER, unused_labels
from core.data.uploads.text_rows import Row, Rows, given_for_testing, rows_of, without_repeats
from core.data.uploads.text_table import TextTable, quoted
from core.errors import DatasetError


def draft_texts(
    table: TextTable,
    columns: TextColumns,
    drop_duplicates: bool = False,
    objective: str = USUAL_OBJECTIVE,
    leave_out: bool = False,
) -> Draft[TextDataset]:
    """Make a dataset of two columns of a table.

    Args:
        table: the rows.
        columns: which ones to use.
        drop_duplicates: leave out rows that repeat the text and the label of another row; those of the test part stay.
        objective: kind of the objective that the classes are for.
        leave_out: whether rows that cannot be used, such as those without a label, are left out; the draft then says
            which.

    Raises:
        DatasetError: a column is missing or used twice, a cell is no text or label, or the classes are too few, too
            many or too small.
    """
    read = rows_of(table, columns, leave_out)
    return read.faults.without(lambda: _draft(table, columns, read, drop_duplicates, objective), "rows")


def _draft(
    table: TextTable, columns: TextColumns, read: Rows, drop_duplicates: bool, objective: str
) -> Draft[TextDataset]:
    """The draft of what can be used. Raises: DatasetError: the classes are too few, too many or too small, or none."""
    spelled = {label: _one_spelling(label) for label in {row.label for row in read.usable}}
    everything = [replace(row, label=spelled[row.label]) for row in read.usable]
    rows = without_repeats(everything)
    duplicates = len(everything) - len(rows)
    if not drop_duplicates:
        rows = everything
    _check_labels([row.label for row in rows], columns.label)
    names, labels = _classes([row.label for row in rows], columns.label)
    check_classes(names)
    texts = [row.text for row in rows]
    if columns.part is None:
        check_counts(names, labels, None, "texts")
        testing = drawn_for_testing(labels, len(names))
    else:
        testing = given_for_testing((row.part for row in rows), columns.part)
        check_counts(names, labels[~testing], labels[testing], "texts")
    dataset = dataset_of(names, texts, labels, testing, replace(columns, without_repeats=drop_duplicates), objective)
    split = "split as in the file" if columns.part else "with a random test part from each class"
    line = (
        f"{len(rows):,} texts from {quoted(columns.text)} in {len(names)} classes from {quoted(columns.label)}: "
        f"{len(dataset.train_texts):,} for training and {len(dataset.test_texts):,} for testing, {split}."
    )
    counts = np.bincount(dataset.train_labels, minlength=len(names))
    said = (*table.notes, read.note, unused_labels(table, columns), *class_warnings(names, counts, "texts"))
    notes = [sentence for sentence in said if sentence]
    return drafted(dataset, line, notes, read, rows, duplicates, drop_duplicates)


def drafted(
    dataset: TextDataset,
    line: str,
    notes: Sequence[str],
    read: Rows,
    rows: Sequence[Row],
    duplicates: int,
    drop_duplicates: bool,
) -> Draft[TextDataset]:
    """The draft of texts with classes or numbers.

    Args:
        dataset: what they become.
        line: what was read and how it was split.
        notes: warnings that come before those on texts.
        read: what was read.
        rows: those of the dataset.
        duplicates: number of rows that repeat another one.
        drop_duplicates: whether these were left out.
    """
    contradictions, target = contradicted(rows), "label" if dataset.num_classes else "number"
    warnings = list(notes)
    if sentence := overlap_sentence(dataset):
        warnings.append(sentence)
    if contradictions:
        texts = "1 text has" if contradictions == 1 else f"{contradictions:,} texts have"
        warnings.append(f"{texts} different {target}s in different rows: nothing can learn all of them.")
    facts = {
        "Words per text": lengths_text([len(row.text.split()) for row in rows]),
        "Characters per text": lengths_text([len(row.text) for row in rows]),
        "Empty rows": found_text(read.empty, "left out"),
        "Repeated rows": found_text(duplicates, "left out" if drop_duplicates else "kept"),
        "Test texts that are also trained on": found_text(dataset.overlap),
        f"Texts with several {target}s": found_text(contradictions),
    }
    return Draft(
        dataset, line, tuple(warnings), read.faults, tuple(facts.items()), read.empty, duplicates, drop_duplicates
    )


def contradicted(rows: Sequence[Row]) -> int:
    """Number of texts with different targets."""
    targets_of: dict[str, set[str]] = {}
    for row in rows:
        targets_of.setdefault(row.text, set()).add(row.label)
    return sum(len(found) > 1 for found in targets_of.values())


def first_texts(texts: Sequence[str], labels: Labels, label: int, count: int) -> list[str]:
    """The first ``count`` texts of a class; ``labels`` has shape (n,)."""
    return [texts[row] for row in np.flatnonzero(labels == label)[:count]]


def _check_labels(labels: Sequence[str], column: str) -> None:
    """Check that labels name classes. Raises: DatasetError: they are quantities, or several classes in one cell."""
    counts = Counter(labels)
    if joined := joined_in(list(counts)):
        raise DatasetError(
            f"The labels in {quoted(column)} name several classes at once, as {joined[:40]!r} does, and LoRA Lab "
            "learns one class per text: keep one of them in each row."
        )
    numbers = {label: number_of(label) for label in counts}
    values = {number: counts[label] for label, number in numbers.items() if number is not None}
    if len(values) == len(counts) and are_quantities(values):
        raise DatasetError(
            f"The labels in {quoted(column)} are {len(values):,} different numbers such as {max(values):g}, and LoRA "
            "Lab learns classes, not quantities: put a few classes such as low and high in their place."
        )


def _classes(labels: Sequence[str], column: str) -> tuple[list[str], Labels]:
    """Names of the classes (numbers sorted by value, words alphabetically) and the label of each text."""
    found = set(labels)
    if len(found) > MAX_CLASSES:
        raise DatasetError(
            f"The column {quoted(column)} has {len(found):,} different labels, and the limit is {MAX_CLASSES:,} "
            "classes: choose another one."
        )
    numbers = {label: number_of(label) for label in found}
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


def number_of(label: str) -> int | float | None:
    """The finite number that a cell is written as; None if it is none."""
    if len(label) > MAX_NAME or not NUMBER.fullmatch(label):
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
    number = number_of(label)
    written = label if number is None else _written(number)
    return written if len(written) <= MAX_NAME else label


def dataset_of(
    names: Sequence[str],
    texts: Sequence[str],
    labels: Targets,
    testing: NDArray[np.bool_],
    columns: TextColumns,
    objective: str = USUAL_OBJECTIVE,
) -> TextDataset:
    """The dataset of some texts.

    Args:
        names: of the classes; empty for numbers.
        texts: all of them.
        labels: (n,) labels or numbers.
        testing: (n,) whether each is to be tested on.
        columns: of the table that they are from, and whether repeated rows were left out.
        objective: kind of the objective that the targets are for.
    """
    numbers = labels[~testing], labels[testing]
    for array in numbers:
        array.flags.writeable = False
    train = tuple(text for text, tested in zip(texts, testing.tolist(), strict=True) if not tested)
    test = tuple(text for text, tested in zip(texts, testing.tolist(), strict=True) if tested)
    return TextDataset("upload", train, numbers[0], test, numbers[1], tuple(names), objective, columns)
