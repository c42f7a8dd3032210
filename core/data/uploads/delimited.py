"""Read a table of texts whose cells are separated by commas, semicolons, tabs or bars, with names in the first line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from typing import Literal

from core.data.uploads.limits import MAX_TEXT
from core.data.uploads.lines import bounded_lines
from core.data.uploads.text_columns import HEADINGS
from core.data.uploads.text_table import TextTable, check_size, listed
from core.errors import DatasetError

DELIMITERS = ",;\t|"

MAX_LINE = 2**22
"""Characters of one line of the file; a row has several where its texts have line breaks."""

MAX_LINES = 2_000_000

SAMPLE = 20
"""Rows that tell the delimiter."""
SAMPLE_CHARACTERS = 2**18

MAX_HEADING = 100
"""Characters of a column's name."""

NO_HEADER = "The first line has {cell!r} in it and so names no columns: put a line such as text,label above it."


def read_delimited(text: str, notes: tuple[str, ...] = ()) -> TextTable:
    """Read a table.

    Args:
        text: the file, with newlines for line breaks.
        notes: of the decoding.

    Raises:
        DatasetError: not a table with a header, or too large; the message names the line.
    """
    delimiter = _delimiter(text)
    if delimiter != "\t":
        return _table(text, delimiter, csv.QUOTE_MINIMAL, notes)
    # Tables with tabs are often written without quotes, and then quotes are characters like any other.
    try:
        plain = _table(text, delimiter, csv.QUOTE_NONE, notes)
    except DatasetError:
        return _table(text, delimiter, csv.QUOTE_MINIMAL, notes)
    if not _has_quoted_cells(plain):
        return plain
    try:
        return _table(text, delimiter, csv.QUOTE_MINIMAL, notes)
    except DatasetError:
        return plain


def _delimiter(text: str) -> str:
    """The delimiter that gives the first rows as many cells as the first line has, at least two."""
    start = text[:SAMPLE_CHARACTERS]
    if len(start) < len(text):
        start = start[: start.rfind("\n") + 1] or start

    def fit(delimiter: str) -> tuple[float, int]:
        try:
            rows = [row for row in islice(csv.reader(_lines(start), delimiter=delimiter), SAMPLE) if any(row)]
        except csv.Error:
            return 0.0, 0
        width = len(rows[0]) if rows else 0
        return (sum(len(row) == width for row in rows) / len(rows), width) if width > 1 else (0.0, width)

    best = max(DELIMITERS, key=fit)
    if fit(best)[1] < 2:
        if not start.strip():
            raise DatasetError("The file is empty: each line must hold a text and its label.")
        raise DatasetError("The file has one column: a table needs one with texts and one with their labels.")
    return best


def _table(text: str, delimiter: str, quoting: Literal[0, 3], notes: tuple[str, ...]) -> TextTable:
    reader = csv.reader(_lines(text), delimiter=delimiter, quoting=quoting, strict=True)
    names: list[str] = []
    columns: list[list[str]] = []
    places: list[int] = []
    empty, start = 0, 1
    try:
        for cells in reader:
            place, start = start, reader.line_num + 1
            if not any(cell and not cell.isspace() for cell in cells):
                empty += bool(names)
            elif not names:
                names = _names(cells)
                check_size(1, len(names))
                columns = [[] for _ in names]
            elif len(cells) != len(names):
                raise DatasetError(
                    f"Line {place} has {len(cells)} cell{'s' * (len(cells) != 1)}, but the first line names "
                    f"{len(names)} columns: put quotes around texts that contain {_SPELLED[delimiter]}."
                )
            else:
                check_size(len(places) + 1, len(names))
                for column, cell in zip(columns, cells, strict=True):
                    column.append(cell)
                places.append(place)
    except csv.Error as error:
        if "field larger" in str(error):
            sentence = f"Line {start} has a cell of more than {MAX_TEXT:,} characters: shorten it, or leave it out."
        else:
            sentence = f"Line {start} is not a line of a CSV file ({error}): a quote may be missing."
        raise DatasetError(sentence) from error
    table = TextTable(dict(zip(names, columns, strict=True)), places, "Line", empty, notes)
    _check_header(table)
    return table


_SPELLED = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


def _lines(text: str) -> Iterator[str]:
    """Yield the lines. Raises: DatasetError: one is too long, or there are too many."""

    def too_long(number: int, characters: int) -> str:
        return f"Line {number} has {characters:,} characters: the limit of a text is {MAX_TEXT:,}."

    return bounded_lines(
        text, MAX_LINE, MAX_LINES, too_long, f"The file has more than {MAX_LINES:,} lines: leave some out."
    )


def _names(cells: list[str]) -> list[str]:
    """Names of the columns; those without one are numbered."""
    names = [cell.strip() or f"column {number}" for number, cell in enumerate(cells, 1)]
    for name in names:
        if len(name) > MAX_HEADING or "\n" in name:
            raise DatasetError(NO_HEADER.format(cell=f"{name[:40]}…"))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DatasetError(f"Two columns are called {twice!r}: rename one of them.")
    return names


def _check_header(table: TextTable) -> None:
    """Refuse a table whose first line is a row: its label is found again below, since every class has several rows."""
    if not len(table):
        raise DatasetError(f"The file names the columns {listed(table.columns)} but has no rows below them.")
    for name, cells in table.columns.items():
        if name.lower() not in HEADINGS and name in cells:
            raise DatasetError(NO_HEADER.format(cell=name))


def _has_quoted_cells(table: TextTable) -> bool:
    """Whether a cell begins and ends with a quote."""
    return any(
        len(cell) > 1 and cell[0] == cell[-1] == '"'
        for cells in table.columns.values()
        for cell in cells
        if isinstance(cell, str)
    )
