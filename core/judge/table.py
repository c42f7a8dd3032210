"""Tables of results as texts, read from CSV, JSON and Parquet files by the reader."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from core.data.uploads.tables import add_row, csv_columns, first_cells, is_json
from core.data.uploads.text_file import PARQUET, decoded, unpacked
from core.errors import DatasetError, JudgeError, printable
from core.reader import GROWTH, Limits, in_reader

MAX_BYTES = 256 * 2**20
"""Maximum size of a file with results."""

MAX_ROWS = 1_000_000
MAX_COLUMNS = 1000
MAX_CELLS = 4_000_000
MAX_CELL = 2_000_000
"""Maximum number of characters of a cell: one may hold the measure of each test example of a run."""

MAX_DEPTH = 8
"""Maximum number of objects inside each other in JSON, whose names are joined by dots."""

ABOUT = "lora_lab_results"
"""Key of a JSON object that says what results are, with the version of its format; it is kept in one cell."""

LIMITS = Limits(memory=2**30, cpu=30, growth=GROWTH)

LARGE = f"The file has more than {MAX_ROWS:,} rows, {MAX_COLUMNS:,} columns or {MAX_CELLS:,} cells: leave some out."


@dataclass(frozen=True)
class Table:
    """Columns of texts by name, all of one length. An empty text is no value."""

    columns: dict[str, list[str]]
    places: list[int]
    """Number of the row of the file that each row is from."""
    notes: list[str] = field(default_factory=list)
    """What had to be left out, a sentence each."""

    def __len__(self) -> int:
        return len(self.places)

    def where(self, place: int) -> str:
        """A row in a sentence, as in ``Row 7``."""
        return f"Row {self.places[place]}"

    def only(self, rows: Sequence[int]) -> Table:
        """The same with some of its rows."""
        columns = {name: [cells[row] for row in rows] for name, cells in self.columns.items()}
        return Table(columns, [self.places[row] for row in rows], self.notes)

    def with_columns(self, more: dict[str, list[str]]) -> Table:
        """The same with further columns, or with other cells in some."""
        return Table(self.columns | more, self.places, self.notes)


def table_of(rows: Iterable[tuple[int, Mapping[str, object]]], notes: Iterable[str] = ()) -> Table:
    """A table from its rows, each with its place; what a row lacks is empty.

    Raises:
        JudgeError: there are none, or too many.
    """
    columns: dict[str, list[str]] = {}
    places: list[int] = []
    for place, row in rows:
        texts = {name: text for name, value in row.items() if (text := cell_text(value)) is not None}
        add_row(columns, texts, "", len(places))
        places.append(place)
        if any(len(text) > MAX_CELL for text in texts.values()):
            raise JudgeError(f"A cell has more than {MAX_CELL:,} characters: shorten it.")
        if len(columns) > MAX_COLUMNS or len(places) > MAX_ROWS or len(places) * len(columns) > MAX_CELLS:
            raise JudgeError(LARGE)
    if not places:
        raise JudgeError(
            "The file has no rows: it takes one row for each training run, below the names of the columns."
        )
    return Table(columns, places, list(notes))


def number_in(text: str) -> float | None:
    """The number that a text is; None for another text."""
    try:
        return float(text)
    except ValueError:
        return None


def cell_text(value: object) -> str | None:
    """A value of a file as a text; None for what is no single value, such as a list."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().strip()
    return repr(value) if isinstance(value, int | float) else None


@in_reader(JudgeError, "The file", LIMITS)
def read_table(content: bytes) -> Table:
    """Read CSV, TSV, JSON lines, JSON or Parquet; gzipped, or alone in a zip.

    Raises:
        JudgeError: it is no table, or too large; the message says where.
    """
    try:
        content = unpacked(content)
        if content.startswith(PARQUET):
            return table_of(_of_parquet(content))
        text, notes = decoded(content)
        if not text.strip():
            raise JudgeError("The file is empty: it takes the names of the columns and a row for each training run.")
        if not is_json(text):
            return table_of(_of_csv(text), notes)
        objects = list(_of_json(text))
        if len(objects) == 1 and ABOUT in objects[0][1]:
            return Table({ABOUT: [json.dumps(objects[0][1])]}, [1])
        return table_of(((place, dict(_flat(found))) for place, found in objects), notes)
    except DatasetError as error:
        raise JudgeError(str(error).replace("a table of texts", "a table").replace("texts as", "table as")) from error


def _of_csv(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows below the names of the columns, each with its number; blank ones are left out."""
    text = re.sub(r"\n\s*\n", "\n", text.strip("\n"))
    delimiter, count = first_cells(text)
    if count == 1:
        raise JudgeError("The file has one column: a table of results has a method and a measure at least.")
    if count > MAX_COLUMNS or text.count("\n") * count > MAX_CELLS:
        raise JudgeError(LARGE)
    columns, odd = csv_columns(text, delimiter, MAX_COLUMNS)
    for number, cells in odd.items():
        raise JudgeError(
            f"Row {number} has {cells} cells, but the first names {count} columns: give every row as many."
        )
    names = [column[0].as_py().strip() for column in columns]
    for name in names:
        if not name or names.count(name) > 1 or number_in(name) is not None:
            raise JudgeError(
                f"The first row has {printable(name)!r} in it, which is empty, a number or there twice: give every "
                "column a name of its own there."
            )
    for place, row in enumerate(zip(*(column[1:].to_pylist() for column in columns), strict=True), 2):
        if any(cell.strip() for cell in row):
            yield place, dict(zip(names, row, strict=True))


def _of_json(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a list, one object alone, or one of each line that is not blank, with their numbers."""
    values = _loaded(text)
    if not isinstance(values, list):
        values = [values] if isinstance(values, dict) else [_loaded(line or "{}") for line in text.split("\n")]
    for place, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise JudgeError(
                f"Row {place} is not a JSON object such as {{'method': …, 'accuracy': …}}: write one for each run."
            )
        if value:
            yield place, value


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _flat(values: Mapping[str, Any], path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Values by their paths: objects inside are columns such as ``config.r``."""
    for name, value in values.items():
        where = f"{path}.{name}" if path else str(name)
        if not isinstance(value, dict):
            yield where, value
        elif depth < MAX_DEPTH:
            yield from _flat(value, where, depth + 1)


def _of_parquet(content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    file = pyarrow.parquet.ParquetFile(pa.BufferReader(content), pre_buffer=False)
    rows = file.metadata.num_rows
    if rows > MAX_ROWS or rows * len(file.schema_arrow) > MAX_CELLS:
        raise JudgeError(LARGE)
    place = itertools.count(1)
    for batch in file.iter_batches(512, use_threads=False):
        batch.validate(full=True)
        yield from zip(place, batch.to_pylist(), strict=False)
