"""Read a table of texts: CSV and Parquet with Arrow, JSON lines and JSON value by value.

Arrow and pandas read JSON too, but neither says which row is damaged, nor goes on after it.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from core.data.uploads.classes import Faults
from core.data.uploads.limits import MAX_COLUMNS, MAX_TABLE_BYTES, MAX_TEXTS
from core.data.uploads.messages import KEYS, Conversation, conversation_of, conversations_in, without_surrogates
from core.data.uploads.passage_forms import read_plain
from core.data.uploads.text_columns import HEADINGS, Cell, TextTable, check_size, listed, quoted
from core.errors import DatasetError

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
"""What may separate cells, with its name."""

ROWS = 128
"""Rows of a Parquet file to unpack at once: each may refer to the same long text."""

DAMAGED = "The file is a Parquet file but damaged or incomplete: save it again."

ONE_COLUMN = (
    "The file has one column of texts, numbers or truth values: LoRA Lab learns to classify from a table with a column "
    "of texts and one of labels, and to continue texts without labels with the objective Language."
)

LISTS = "The column {} has lists or objects in it: put one text, or one of several labels, into each row."

Columns = dict[str, list[Cell]]

T = TypeVar("T")


def is_json(text: str) -> bool:
    """Whether a file begins as JSON does."""
    return text[:1000].lstrip().startswith(("{", "["))


def first_cells(text: str) -> tuple[str, int]:
    """What separates the cells of the first row, outside quotes, and how many cells there are."""
    row = re.sub(r'"[^"]*"', "", text[: 2**20]).partition("\n")[0]
    delimiter = max(DELIMITERS, key=row.count)
    return delimiter, row.count(delimiter) + 1


def csv_columns(text: str, delimiter: str, most: int) -> tuple[list[pa.ChunkedArray], dict[int, int]]:
    """Read the cells of a table as texts, those of the first row among them.

    Args:
        text: the file, which begins with a row, with newlines for line breaks.
        delimiter: between cells.
        most: number of columns that it has at most.

    Returns:
        The columns, and the number of cells of each row that has another one than the first, by its number from 1.

    Raises:
        DatasetError: a quote does not end, or too many rows have other numbers of cells.
    """
    odd: dict[int, int] = {}
    broken = _broken_row(text, delimiter) if '"' in text else None
    if broken and delimiter != "\t":
        raise DatasetError(f"Row {broken} has a quote that does not end, or text behind one: save the table again.")

    def note(row: pyarrow.csv.InvalidRow) -> str:
        odd[row.number] = row.actual_columns
        return "skip" if len(odd) <= MAX_TEXTS else "error"

    content = text.encode() + b"\n" * (not text.endswith("\n"))
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(content),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(content) + 1, autogenerate_column_names=True),
            pyarrow.csv.ParseOptions(
                delimiter=delimiter,
                # Tables with tabs are often written without quotes, and then quotes are characters like any other.
                quote_char=False if broken else '"',
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=note,
            ),
            pyarrow.csv.ConvertOptions(column_types={f"f{number}": pa.string() for number in range(most)}),
        )
    except pa.ArrowInvalid as error:
        raise DatasetError(
            f"The file is no table, since more than {MAX_TEXTS:,} rows have other numbers of cells than the first: put "
            f"quotes around texts that contain {DELIMITERS[delimiter]}."
        ) from error
    return table.columns, odd


def _broken_row(text: str, delimiter: str) -> int | None:
    """The number of the first row with a quote that does not end, or not where its cell does; None without one."""
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    number = 0
    try:
        for _ in csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True):
            number += 1
    except csv.Error:
        return number + 1
    return None


def read_csv(text: str, notes: tuple[str, ...] = ()) -> TextTable:
    """Read a table whose first row names the columns; a text that does not look like one is read as plain text.

    Args:
        text: the file, with newlines for line breaks.
        notes: of the decoding.

    Raises:
        DatasetError: it looks like a table but is none, is empty, or too large; the message names the row.
    """
    body = text.lstrip("\n")
    before = len(text) - len(body)
    delimiter, count = first_cells(body)
    has_names = any(name.strip(' "').lower() in HEADINGS for name in body[: 2**20].partition("\n")[0].split(delimiter))
    if count == 1 and not has_names:
        return read_plain(text, notes)
    check_size(1, count)
    try:
        columns, odd = csv_columns(body, delimiter, MAX_COLUMNS)
    except DatasetError:
        if has_names:
            raise
        return read_plain(text, notes)
    if len(odd) > len(columns[0]) and not has_names:
        return read_plain(text, notes)
    check_size(len(columns[0]), len(columns))
    faults = Faults()
    for number, cells in odd.items():
        faults.add(
            f"Row {before + number} has {cells} cell{'s' * (cells != 1)}, but the first row names {len(columns)} "
            f"columns: put quotes around texts that contain {DELIMITERS[delimiter]}."
        )
    headings = [column[0].as_py().strip() or f"column {number}" for number, column in enumerate(columns, 1)]
    found = {name: column[1:].to_pylist() for name, column in zip(_numbered(headings), columns, strict=True)}
    places = np.setdiff1d(np.arange(1, len(columns[0]) + len(odd) + 1), [*odd])[1:] + before
    _check_names(headings, [*found.values()])
    return _table(found, places.tolist(), faults, notes)


def _numbered(headings: Sequence[str]) -> list[str]:
    """Names of the columns: their headings, of which those that came before get a number, as in ``text (2)``."""
    names: list[str] = []
    for heading in headings:
        name, number = heading, 1
        while name in names or (number > 1 and name in headings):
            number += 1
            name = f"{heading} ({number})"
        names.append(name)
    return names


def _check_names(headings: Sequence[str], columns: Sequence[Sequence[Cell]]) -> None:
    """Check that a first row names columns. Raises: DatasetError: no name is a usual one, and one is a value, too."""
    if not any(heading.lower() in HEADINGS for heading in headings):
        for heading, cells in zip(headings, columns, strict=True):
            if heading in cells:
                raise DatasetError(
                    f"The first row has {quoted(heading)} in it and so names no columns: put a row such as text,label "
                    "above it."
                )


def read_json(text: str, notes: tuple[str, ...] = ()) -> TextTable:
    """Read a table from objects, one in each line or in one list; a line is a row, be it blank, as is an entry.

    Args:
        text: the file, with newlines for line breaks.
        notes: of the decoding.

    Raises:
        DatasetError: most rows are no objects, or there are too many; the message names the row.
    """
    columns: Columns = {}
    places: list[int] = []
    faults = Faults()
    for number, value in _values(text):
        if not isinstance(value, dict):
            faults.add(f"Row {number} is not a JSON object such as {{'text': …, 'label': …}} in one line.")
            check_size(len(places) + faults.count, 1)
            continue
        row = {without_surrogates(name): _cell(cell) for name, cell in value.items()}
        check_size(len(places) + faults.count + 1, len(columns | row))
        add_row(columns, row, "", len(places))
        places.append(number)
    return _table(columns, places, faults, notes)


def add_row(columns: dict[str, list[T]], row: Mapping[str, T], empty: T, count: int) -> None:
    """Add a row to columns.

    Args:
        columns: by name; those that only the row has are added.
        row: cells by column.
        empty: what a row lacks.
        count: number of rows before it.
    """
    for name in row:
        if name not in columns:
            columns[name] = [empty] * count
    for name, cells in columns.items():
        cells.append(row.get(name, empty))


def _values(text: str) -> Iterator[tuple[int, Any]]:
    """The number and the value of each line, or of each entry of one list; None for what is no JSON.

    Raises:
        DatasetError: the text begins as one list, and is damaged.
    """
    if text.lstrip().startswith("["):
        yield from listed_values(text)
        return
    for number, line in enumerate(re.finditer(r".+\n?|\n", text), 1):
        try:
            yield number, json.loads(line[0]) if line[0].strip() else {}
        except (ValueError, RecursionError):
            yield number, None


def listed_values(text: str) -> Iterator[tuple[int, Any]]:
    """The number and the value of each entry of one JSON list. Raises: DatasetError: it is damaged."""
    try:
        yield from enumerate(json.loads(text), 1)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DatasetError(
            f"The file begins as one JSON list but cannot be read{where}: save it again, or as JSON lines."
        ) from error


def _cell(value: object) -> Cell:
    """A value of JSON or Parquet as a cell."""
    if isinstance(value, str):
        return without_surrogates(value)
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return conversation_of(value)
    return repr(value) if isinstance(value, int | float) else None


def read_parquet(content: bytes) -> TextTable:
    """Read the columns of texts, numbers, truth values and conversations; in others no row has a text.

    Raises:
        DatasetError: the file is damaged, or too large.
    """
    try:
        return _of_parquet(pyarrow.parquet.ParquetFile(pa.BufferReader(content), pre_buffer=False))
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(DAMAGED) from error


def _of_parquet(file: pyarrow.parquet.ParquetFile) -> TextTable:
    rows, schema = file.metadata.num_rows, file.schema_arrow
    if len(set(schema.names)) < len(schema.names):
        raise DatasetError(f"Two columns of the file have the same name, among {listed(schema.names)}: rename one.")
    check_size(rows, max(1, len(schema.names)))
    read = [field.name for field in schema if _is_text(field.type) or _is_conversation(field.type)]
    columns: Columns = {name: [] for name in read}
    total = 0
    for batch in file.iter_batches(ROWS, columns=read, use_threads=False):
        batch.validate(full=True)  # text that is not UTF-8 is damage, which Arrow looks for only when it is told to
        for name, cells in columns.items():
            values = batch.column(name)
            if not pa.types.is_nested(values.type):
                values = values.cast(pa.string())
            total += values.nbytes
            if total > MAX_TABLE_BYTES:
                raise DatasetError(
                    f"The columns unpack to more than {MAX_TABLE_BYTES // 2**20} MiB: leave out columns or rows."
                )
            cells.extend(map(_cell, values.to_pylist()))
            if len(cells) > rows:  # row groups may claim more than the file
                raise DatasetError(DAMAGED)
    if any(len(cells) < rows for cells in columns.values()):
        raise DatasetError(DAMAGED)
    every = {name: columns.get(name, [None] * rows) for name in schema.names}
    return _table(every, range(1, rows + 1), Faults())


def _is_text(kind: pa.DataType) -> bool:
    """Whether a column holds texts, or numbers or truth values, which are written as texts."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    strings = pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view
    numbers = pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null
    return any(is_one(kind) for is_one in (*strings, *numbers))


def _is_conversation(kind: pa.DataType) -> bool:
    """Whether a column holds lists of messages."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return False
    fields = {kind.value_type.field(place).name for place in range(kind.value_type.num_fields)}
    return any(fields >= {*keys} for keys in KEYS)


def _table(
    columns: Mapping[str, Sequence[Cell]], places: Sequence[int], faults: Faults, notes: tuple[str, ...] = ()
) -> TextTable:
    """The table of these cells without its empty rows. Raises: DatasetError: it has none, or most are no rows."""
    kept = [row for row, cells in enumerate(zip(*columns.values(), strict=True)) if any(map(_is_full, cells))]
    faults.check(len(kept), leave_out=True)
    if not kept:
        raise DatasetError("The file has no rows: each must hold a text, and to classify its label.")
    found = {name: [cells[row] for row in kept] for name, cells in columns.items()}
    texts = {
        name: [None if isinstance(cell, Conversation) else cell for cell in cells] for name, cells in found.items()
    }
    messages = {name: cells for name, whole in found.items() if (cells := conversations_in(name, whole))}
    with_texts = [name for name, cells in texts.items() if any(cell is not None for cell in cells)]
    lists = [name for name in texts if name not in with_texts and name not in messages]
    no_labels = LISTS.format(quoted(lists[0])) if lists else ONE_COLUMN
    return TextTable(
        texts,
        [places[row] for row in kept],
        len(places) - len(kept),
        notes,
        faults,
        messages,
        no_labels if len(with_texts) < 2 else "",
    )


def _is_full(cell: Cell) -> bool:
    return cell is None or bool(cell.strip())
