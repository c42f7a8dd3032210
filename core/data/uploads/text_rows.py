"""The rows of a table that become texts with their targets: a label or a number each, as it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.data.uploads.limits import MAX_TEXT
from core.data.uploads.parts import part_of, train_and_test
from core.data.uploads.text_columns import TextColumns
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


def rows_of(table: TextTable, columns: TextColumns, target: str = "label") -> tuple[list[Row], int, str | None]:
    """Every row with a text, the number of rows without one, and a note on a validation part if there is one.

    Args:
        table: the rows.
        columns: which ones to use.
        target: what is in the column of labels, for messages.

    Raises:
        DatasetError: a column is missing or used twice, or a cell is no text or has no target.
    """
    named = [name for name in (columns.text, columns.label, columns.part) if name is not None]
    if len(set(named)) < len(named):
        raise DatasetError(
            f"The column {quoted(named[-1])} is chosen twice: text, {target} and part are different columns."
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
                f"{where} has a list or an object in {quoted(columns.label)}, not a {target}: choose another one."
            )
        if (name := name.strip()) in MISSING:
            raise DatasetError(
                f"{where} has a text but no {target} in {quoted(columns.label)}: fill it in, or remove the row."
            )
        rows.append(Row(content, name, parts[number] if parts else "train", where))
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


def without_repeats(rows: Sequence[Row]) -> list[Row]:
    """The rows in their order, each text once with each target; of several, the first one of the test part stays."""
    best: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows):
        key = row.text, row.label
        if key not in best or (row.part == "test" and rows[best[key]].part != "test"):
            best[key] = number
    return [rows[number] for number in sorted(best.values())]
