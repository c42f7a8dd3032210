"""The rows of a table that become texts with their targets: a label or a number each, as it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import TextColumns
from core.data.uploads.faults import Faults
from core.data.uploads.limits import MAX_TEXT
from core.data.uploads.parts import part_of, train_and_test
from core.data.uploads.text_table import TextTable, quoted
from core.errors import DatasetError

MISSING = ("", "nan", "NaN", "null", "NULL")
"""What stands for a target that is missing."""


@dataclass(frozen=True)
class Row:
    """A row of the table with a text."""

    text: str
    label: str
    """What is in its cell, as it is written."""
    part: str
    """``train`` or ``test``."""
    place: str
    """Where it is in the file, as in ``Line 3``."""


@dataclass(frozen=True)
class Rows:
    """The rows of a table that can be used, and what is to be said of the others."""

    usable: list[Row]
    empty: int
    """Number of rows without a text."""
    note: str | None
    """On a validation part, if there is one."""
    faults: Faults


def rows_of(
    table: TextTable,
    columns: TextColumns,
    leave_out: bool,
    target: str = "label",
    fault_of: Callable[[Row], str | None] = lambda row: None,
) -> Rows:
    """Take every row with a text.

    Args:
        table: the rows.
        columns: which ones to use.
        leave_out: whether rows that cannot be used are left out.
        target: what is in the column of labels, for messages.
        fault_of: what is wrong with the target of a row, if anything.

    Raises:
        DatasetError: a column is missing or used twice; or rows have no text, target or part, and are not to be left
            out, or are most of all.
    """
    named = [name for name in (columns.text, columns.label, columns.part) if name is not None]
    if len(set(named)) < len(named):
        raise DatasetError(
            f"The column {quoted(named[-1])} is chosen twice: text, {target} and part are different columns."
        )
    cells = table.column(columns.text), table.column(columns.label)
    parts = parts_of(table, columns.part)
    rows, empty, faults = [], table.empty_rows, Faults()
    for number, (text, label) in enumerate(zip(*cells, strict=True)):
        where = f"{table.unit} {table.places[number]}"
        row = Row((text or "").strip(), (label or "").strip(), parts.of_rows[number], where)
        if text is None:
            faults.add(f"{where} has a list or an object in {quoted(columns.text)}, not a text: choose another column.")
        elif not row.text:
            empty += 1
        elif len(text) > MAX_TEXT:
            faults.add(f"{where} has a text of {len(text):,} characters: the limit is {MAX_TEXT:,}.")
        elif label is None:
            faults.add(
                f"{where} has a list or an object in {quoted(columns.label)}, not a {target}: each text has one, so "
                "keep one of several, or choose another column."
            )
        elif row.label in MISSING:
            stands = f" ({row.label} stands for none)" if row.label else ""
            faults.add(
                f"{where} has a text but no {target} in {quoted(columns.label)}{stands}: fill it in, or remove the row."
            )
        elif number in parts.faults:
            faults.add(f"{where} {parts.faults[number]}")
        elif fault := fault_of(row):
            faults.add(fault)
        else:
            rows.append(row)
    faults = table.faults.plus(faults)
    faults.check(len(rows), leave_out)
    if not rows:
        raise DatasetError(f"The column {quoted(columns.text)} has no texts: choose another one.")
    return Rows(rows, empty, parts.note, faults)


@dataclass(frozen=True)
class Parts:
    """Which part each row of a table belongs to."""

    of_rows: list[str]
    """``train`` or ``test``."""
    faults: dict[int, str]
    """What is wrong with the cells of some rows, by their numbers from 0; goes on after the place of the row."""
    note: str | None
    """On a validation part, if there is one."""


def parts_of(table: TextTable, column: str | None) -> Parts:
    """Read a column of parts; without one every row is for training. Raises: DatasetError: there is no such column."""
    written = [None] * len(table) if column is None else list(table.column(column))
    named = ["train" if column is None else part_of(cell or "") for cell in written]
    of_rows, note = train_and_test([part or "train" for part in named])
    faults = {
        number: f"has {(written[number] or '')[:40]!r} in {quoted(column or '')}: the parts are train, test and "
        "validation."
        for number, part in enumerate(named)
        if part is None
    }
    return Parts(of_rows, faults, note)


def given_for_testing(parts: Iterable[str], column: str) -> NDArray[np.bool_]:
    """(n,) which rows to test on, by the part of each. Raises: DatasetError: the column says test of none."""
    given = np.array([part == "test" for part in parts], bool)
    if not given.any():
        raise DatasetError(f"The column {quoted(column)} says test of no row: choose no column for the part.")
    return given


def without_repeats(rows: Sequence[Row]) -> list[Row]:
    """The rows in their order, each text once with each target; of several, the first one of the test part stays."""
    best: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows):
        key = row.text, row.label
        if key not in best or (row.part == "test" and rows[best[key]].part != "test"):
            best[key] = number
    return [rows[number] for number in sorted(best.values())]
