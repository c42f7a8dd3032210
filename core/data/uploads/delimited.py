"""Read a table of texts whose cells are separated by commas, semicolons, tabs or bars, with names in the first line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from itertools import islice
from typing import Literal

import numpy as np

from core.data.uploads.faults import Faults
from core.data.uploads.limits import MAX_TEXT
from core.data.uploads.messages import conversations_in
from core.data.uploads.plain_text import read_plain
from core.data.uploads.text_columns import HEADINGS
from core.data.uploads.text_table import Cells, TextTable, check_size, listed
from core.errors import DatasetError

DELIMITERS = ",;\t|"

SAMPLE = 20
"""Number of rows from which the delimiter is guessed."""
SAMPLE_CHARACTERS = 2**18

ALIKE = 0.5
"""Share of these rows with as many cells as the first one, from which on a file without usual headings is a table."""

NAME_WORDS = 3
"""Words of a heading that is taken for the name of a column by its form alone."""

LONGER = 0.95
"""Share of a column's cells that have more words than such a heading."""

NO_HEADER = "The first line has {cell!r} in it and so names no columns: put a line such as text,label above it."


ONE_COLUMN = (
    "The file has one column: LoRA Lab learns to classify, so a table needs one with texts and one with their labels, "
    "or to continue texts without labels, with the objective Language."
)


def read_delimited(text: str, notes: tuple[str, ...] = ()) -> TextTable:
    """Read a table; a text that does not look like one is read as plain text.

    Args:
        text: the file, with newlines for line breaks.
        notes: of the decoding.

    Raises:
        DatasetError: it looks like a table but is none, is empty, or too large; the message names the line.
    """
    delimiter = _delimiter(text)
    if delimiter is None:
        return read_plain(text, notes, ONE_COLUMN)
    if delimiter != "\t":
        return _table(text, delimiter, csv.QUOTE_MINIMAL, notes)
    # Tables with tabs are often written without quotes, and then quotes are characters like any other.
    try:
        plain = _table(text, delimiter, csv.QUOTE_NONE, notes)
    except DatasetError:
        return _table(text, delimiter, csv.QUOTE_MINIMAL, notes)
    if not plain.faults.count and not _has_quoted_cells(plain):
        return plain
    try:
        quoted = _table(text, delimiter, csv.QUOTE_MINIMAL, notes)
    except DatasetError:
        return plain
    if plain.faults.count or quoted.faults.count:
        return quoted if quoted.faults.count < plain.faults.count else plain
    # With fewer rows, a quote that a text happens to begin with may have swallowed those up to the next one.
    return quoted if len(quoted) == len(plain) or all(map(_is_quoted, plain.columns)) else plain


def _delimiter(text: str) -> str | None:
    """The delimiter that gives the first rows as many cells as the first line has; None if it names no columns and most
    rows have others.
    """
    start = text[:SAMPLE_CHARACTERS]
    if len(start) < len(text):
        start = start[: start.rfind("\n") + 1] or start

    def fit(delimiter: str) -> tuple[float, int]:
        try:
            rows = [
                row
                for row in islice(csv.reader(io.StringIO(start, newline="\n"), delimiter=delimiter), SAMPLE)
                if any(row)
            ]
        except csv.Error:
            return 0.0, 0
        width = len(rows[0]) if rows else 0
        return (sum(len(row) == width for row in rows) / len(rows), width) if width > 1 else (0.0, width)

    best = max(DELIMITERS, key=fit)
    if not start.strip():
        raise DatasetError("The file is empty: each line must hold a text and its label.")
    first = next(line for line in start.split("\n") if line.strip())
    is_heading = any(
        cell.strip().strip('"').lower() in HEADINGS for cell in re.split(f"[{re.escape(DELIMITERS)}]", first)
    )
    return best if is_heading or (fit(best)[1] > 1 and fit(best)[0] >= ALIKE) else None


def _table(text: str, delimiter: str, quoting: Literal[0, 3], notes: tuple[str, ...]) -> TextTable:
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, quoting=quoting, strict=True)
    headings: list[str] = []
    names: list[str] = []
    columns: list[list[str]] = []
    places: list[int] = []
    empty, start, faults = 0, 1, Faults()
    try:
        for cells in reader:
            faults.check_so_far(len(places), empty)
            place, start = start, reader.line_num + 1
            if not any(cell and not cell.isspace() for cell in cells):
                empty += bool(names)
            elif not names:
                check_size(1, len(cells))
                headings = [cell.strip() or f"column {number}" for number, cell in enumerate(cells, 1)]
                names = _names(headings)
                columns = [[] for _ in names]
            elif len(cells) != len(names):
                faults.add(
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
            sentence = f"Line {start} is not a line of a CSV file: a quote may be missing."
        raise DatasetError(sentence) from error
    faults.check(len(places), leave_out=True)
    note = _header_note(headings, names, columns, places)
    return TextTable(
        {name: Cells.of(cells) for name, cells in zip(names, columns, strict=True)},
        np.array(places, np.int64),
        "Line",
        empty,
        (*notes, note) if note else notes,
        faults,
        conversations_in(dict(zip(names, columns, strict=True)), {}),
        ONE_COLUMN if len(names) < 2 else "",
    )


_SPELLED = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


def _names(headings: list[str]) -> list[str]:
    """Names of the columns: their headings, of which those that came before get a number, as in ``text (2)``."""
    names: list[str] = []
    taken = set(headings)
    for heading in headings:
        name, number = heading, 1
        while name in names or (number > 1 and name in taken):
            number += 1
            name = f"{heading} ({number})"
        names.append(name)
    return names


def _header_note(
    headings: Sequence[str], names: Sequence[str], cells_of: Sequence[Sequence[str]], places: Sequence[int]
) -> str | None:
    """What had to be assumed to take the first line for names, if anything.

    A class can be called like the column that says whether a text is of it, as in ``sms,spam``. But the first line of
    a file without names looks the same there, since every class has several rows: its label is found again below. So
    another heading has to be a name for certain: a usual one, or a few words above cells that have more.

    Raises:
        DatasetError: the table has no rows, or its first line is a row or a title.
    """
    if not places:
        raise DatasetError(f"The file names the columns {listed(names)} but has no rows below them.")
    columns = list(zip(headings, cells_of, strict=True))
    if all(cells[0].strip().lower() in HEADINGS for _, cells in columns) and not all(map(_is_usual, headings)):
        raise DatasetError(
            f"The first line has {_start(headings[0])!r} in it and so names no columns: leave it out, since line "
            f"{places[0]} names them."
        )
    found = [heading for heading, cells in columns if not _is_usual(heading) and heading in cells]
    if not found:
        return None
    if not any(_is_usual(heading) or _is_short(heading, cells) for heading, cells in columns if heading not in cells):
        raise DatasetError(NO_HEADER.format(cell=_start(found[0])))
    return f"The first line was taken for the names of the columns, although {_start(found[0])!r} is also a value."


def _is_usual(heading: str) -> bool:
    return heading.lower() in HEADINGS


def _is_short(heading: str, cells: Sequence[str]) -> bool:
    """Whether a heading has a few words, no punctuation of a sentence, and fewer words than nearly all cells."""
    words = len(heading.split())
    longer = sum(len(cell.split()) > words for cell in cells)
    return words <= NAME_WORDS and not set(heading) & set(".,;:!?") and longer >= LONGER * len(cells)


def _start(heading: str) -> str:
    return heading if len(heading) <= 40 else f"{heading[:40]}…"


def _has_quoted_cells(table: TextTable) -> bool:
    """Whether a cell begins and ends with a quote."""
    return any(_is_quoted(cell) for cells in table.columns.values() for cell in cells.different())


def _is_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'
