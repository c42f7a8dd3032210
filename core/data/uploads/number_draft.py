"""An uploaded dataset of texts with numbers: read and checked, but not saved yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import TextColumns, TextDataset
from core.data.uploads.classes import SPLIT_SEED, TEST_SHARE
from core.data.uploads.draft import Draft
from core.data.uploads.limits import MIN_PER_PART
from core.data.uploads.text_draft import dataset_of, drafted, number_of
from core.data.uploads.text_rows import Row, Rows, given_for_testing, rows_of, without_repeats
from core.data.uploads.text_table import TextTable, quoted
from core.errors import DatasetError

LARGEST = float(np.finfo(np.float32).max)
"""Largest number that a network computes with."""


def draft_numbers(
    table: TextTable, columns: TextColumns, objective: str, drop_duplicates: bool = False, leave_out: bool = False
) -> Draft[TextDataset]:
    """Make a dataset of a column of texts and a column of numbers.

    Args:
        table: the rows.
        columns: which ones to use; the column of labels has the numbers.
        objective: kind of the objective that the numbers are for.
        drop_duplicates: leave out rows that repeat the text and the number of another row.
        leave_out: whether rows that cannot be used, such as those without a number, are left out.

    Raises:
        DatasetError: a column is missing or used twice, a cell is no text or no finite number, or the rows are too few
            or all alike.
    """
    read = rows_of(table, columns, leave_out, "number", lambda row: _fault(row, columns.label))
    return read.faults.without(lambda: _draft(table, columns, read, objective, drop_duplicates), "rows")


def _draft(
    table: TextTable, columns: TextColumns, read: Rows, objective: str, drop_duplicates: bool
) -> Draft[TextDataset]:
    """The draft of what can be used. Raises: DatasetError: the rows are too few or all alike."""
    # One spelling of equal numbers, by which repeated rows are found.
    everything = [replace(row, label=repr(float(number_of(row.label) or 0))) for row in read.usable]
    rows = without_repeats(everything)
    duplicates = len(everything) - len(rows)
    if not drop_duplicates:
        rows = everything
    numbers = np.array([float(row.label) for row in rows], np.float32)
    testing = _testing(rows, columns)
    for part, own in (("training", numbers[~testing]), ("test", numbers[testing])):
        if len(own) < MIN_PER_PART:
            raise DatasetError(f"The {part} part has {len(own)} texts: it needs at least {MIN_PER_PART}, so add more.")
        if own.min() == own.max():
            raise DatasetError(
                f"All numbers of the {part} part in {quoted(columns.label)} are {own[0]:g}: there is nothing to learn."
            )
    texts = [row.text for row in rows]
    dataset = dataset_of((), texts, numbers, testing, replace(columns, without_repeats=drop_duplicates), objective)
    split = "split as in the file" if columns.part else "with a random test part"
    line = (
        f"{len(rows):,} texts from {quoted(columns.text)} with numbers of {quoted(columns.label)} from "
        f"{numbers.min():g} to {numbers.max():g}: "
        f"{len(dataset.train_texts):,} for training and {len(dataset.test_texts):,} for testing, {split}."
    )
    notes = [*table.notes, *([read.note] if read.note else [])]
    return drafted(dataset, line, notes, read, rows, duplicates, drop_duplicates)


def _fault(row: Row, column: str) -> str | None:
    """What is wrong with the number of a row: it has none, or one that is not finite or too large."""
    if row.label.lstrip("+-").lower() in ("inf", "infinity", "nan"):
        return f"{row.place} has {row.label[:40]!r} in {quoted(column)}: numbers are finite."
    value = number_of(row.label)
    if value is None:
        return (
            f"{row.place} has {row.label[:40]!r} in {quoted(column)}, which is no number: write it as in -1.5, or "
            "remove the row."
        )
    if not abs(value) <= LARGEST:
        return (
            f"{row.place} has {row.label[:40]!r} in {quoted(column)}: numbers are at most {LARGEST:.2g}, so scale them."
        )
    return None


def _testing(rows: Sequence[Row], columns: TextColumns) -> NDArray[np.bool_]:
    """Which rows to test on: those that say so, else a fifth of all, drawn with a fixed seed; of shape (n,)."""
    if columns.part is not None:
        return given_for_testing((row.part for row in rows), columns.part)
    testing = np.zeros(len(rows), bool)
    # NumPy guarantees that the stream of RandomState never changes between versions.
    testing[np.random.RandomState([SPLIT_SEED]).permutation(len(rows))[: round(TEST_SHARE * len(rows))]] = True
    return testing
