"""Tables of results as texts, read from CSV, JSON and Parquet files by the reader."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.data.uploads.tables import add_row, listed_values
from core.data.uploads.text_file import decoded, unpacked
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

DELIMITERS = ",;\t|"

LIMITS = Limits(memory=2**30, cpu=30, growth=GROWTH)


@dataclass(frozen=True)
class Table:
    """Columns of texts by name, all of one length. An empty text is no value."""

    columns: dict[str, list[str]]
    places: list[int]
    """Number of the line (or row) of the file that each row is from."""
    unit: str = "Line"
    """What the numbers count."""
    notes: list[str] = field(default_factory=list)
    """What had to be left out, a sentence each."""
    objects: list[dict[str, Any]] = field(default_factory=list)
    """The file itself where it is one JSON object, for what is no table."""
    curves: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    """Values after each epoch, by the name of a run and the column that has the last one."""

    def __len__(self) -> int:
        return len(self.places)

    def where(self, place: int) -> str:
        """A row in a sentence, as in ``Line 7``."""
        return f"{self.unit} {self.places[place]}"

    def only(self, rows: Iterable[int]) -> Table:
        """The same with some of its rows."""
        kept = list(rows)
        columns = {name: [cells[row] for row in kept] for name, cells in self.columns.items()}
        places = [self.places[row] for row in kept]
        return Table(columns, places, self.unit, self.notes, curves=self.curves)


def table_of(rows: Iterable[tuple[int, Mapping[str, str]]], unit: str, notes: Iterable[str] = ()) -> Table:
    """A table from its rows, each with its place; what a row lacks is empty.

    Raises:
        JudgeError: there are none, or too many.
    """
    columns: dict[str, list[str]] = {}
    places: list[int] = []
    for place, row in rows:
        add_row(columns, row, "", len(places))
        places.append(place)
        if len(columns) > MAX_COLUMNS:
            raise JudgeError(f"The file has more than {MAX_COLUMNS:,} columns: leave some out.")
        if len(places) > MAX_ROWS or len(places) * len(columns) > MAX_CELLS:
            raise JudgeError(f"The file has more than {MAX_ROWS:,} rows or {MAX_CELLS:,} cells: leave some out.")
    if not places:
        raise JudgeError(
            "The file has no rows: it takes one row for each training run, below the names of the columns."
        )
    return Table(columns, places, unit, list(notes))


@in_reader(JudgeError, "The file", LIMITS)
def read_table(content: bytes) -> Table:
    """Read CSV, TSV, JSON lines, JSON or Parquet; gzipped, or alone in a zip.

    Raises:
        JudgeError: it is no table, or too large; the message says where.
    """
    try:
        content = unpacked(content)
        if content.startswith(b"PAR1"):
            return _parquet(content)
        text, notes = decoded(content)
    except DatasetError as error:
        raise JudgeError(str(error).replace("a table of texts", "a table").replace("texts as", "table as")) from error
    if not text.strip():
        raise JudgeError("The file is empty: it takes the names of the columns and a row for each training run.")
    if text.lstrip()[:1] in ("{", "["):
        return _json(text, notes)
    return _delimited(text, notes)


def _delimited(text: str, notes: Iterable[str]) -> Table:
    first = next(line for line in text.split("\n") if line.strip())
    delimiter = max(DELIMITERS, key=first.count)
    if not first.count(delimiter):
        raise JudgeError("The file has one column: a table of results has a method and a measure at least.")
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
    names: list[str] = []

    def rows() -> Iterator[tuple[int, Mapping[str, str]]]:
        start, blank = 1, 0
        for cells in reader:
            place, start = start, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                blank += 1
                if blank > MAX_ROWS:
                    raise JudgeError(f"The file has more than {MAX_ROWS:,} blank rows: leave them out.")
                continue
            if not names:
                names.extend(_checked([cell.strip() for cell in cells]))
            elif len(cells) != len(names):
                raise JudgeError(
                    f"Line {place} has {len(cells)} cells, but the first line names {len(names)} columns: give every "
                    "line as many."
                )
            else:
                yield place, {name: cell.strip() for name, cell in zip(names, cells, strict=True)}

    try:
        return table_of(rows(), "Line", notes)
    except csv.Error as error:
        if "field larger" in str(error):
            raise JudgeError(f"A cell has more than {MAX_CELL:,} characters: shorten it.") from error
        raise JudgeError(f"Line {reader.line_num} is not a line of a CSV file: a quote may be missing.") from error


def _checked(names: list[str]) -> list[str]:
    """Names of columns. Raises: JudgeError: one is missing, occurs twice or is a number."""
    for place, name in enumerate(names, 1):
        if not name:
            raise JudgeError(f"Column {place} has no name: the first line must name every column.")
        if names.count(name) > 1:
            raise JudgeError(f"Two columns are called {printable(name)!r}: rename one.")
        if number_in(name) is not None:
            raise JudgeError(
                f"The first line has {printable(name)!r} in it and so names no columns: put the names above it."
            )
    return names


def number_in(text: str) -> float | None:
    """The number that a text is; None for another text."""
    try:
        return float(text)
    except ValueError:
        return None


def _json(text: str, notes: Iterable[str]) -> Table:
    """JSON lines, or one object, or a list of objects. Objects inside are columns such as ``config.r``."""
    kept: list[dict[str, Any]] = []

    def rows() -> Iterator[tuple[int, Mapping[str, str]]]:
        for place, found in values:
            if not isinstance(found, dict):
                raise JudgeError(f"{unit} {place} is JSON but not an object such as {{'method': …, 'accuracy': …}}.")
            if len(kept) < 2:
                kept.append(found)
            yield place, dict(_flat(found))

    values, unit = listed_values(text), "Object"
    if not text.lstrip().startswith("["):
        try:
            values = iter([(1, json.loads(text))])
        except RecursionError as error:
            raise JudgeError("The file is JSON that is nested too deeply: write flat objects, one per run.") from error
        except ValueError:
            values, unit = _lines(text), "Line"
    try:
        table = table_of(rows(), unit, notes)
    except DatasetError as error:
        raise JudgeError(str(error)) from error
    return replace(table, objects=kept if len(kept) == 1 else [])


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    """The number and the value of each line that is not blank. Raises: JudgeError: a line is no JSON."""
    for number, line in enumerate(io.StringIO(text), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise JudgeError(
                    f"Line {number} is not a JSON object: write one object for each run and line."
                ) from error


def _flat(values: Mapping[str, Any], path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        where = f"{path}.{name}" if path else str(name)
        if isinstance(value, dict):
            if depth < MAX_DEPTH:
                yield from _flat(value, where, depth + 1)
        elif (text := cell_text(value)) is not None:
            yield where, text


def cell_text(value: object) -> str | None:
    """A value of a file as a text; None for what is no single value, such as a list."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().strip()
    return repr(value) if isinstance(value, int | float) else None


def _parquet(content: bytes) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    damaged = "The file is a Parquet file but damaged or incomplete: save it again."
    try:
        file = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False)
        rows, names = file.metadata.num_rows, [field.name for field in file.schema_arrow]
        if rows > MAX_ROWS or rows * max(len(names), 1) > MAX_CELLS:
            raise JudgeError(f"The file has more than {MAX_ROWS:,} rows or {MAX_CELLS:,} cells: leave some out.")
        found: list[dict[str, str]] = []
        size = 0
        for batch in file.iter_batches(512, use_threads=False):
            batch.validate(full=True)
            for row in batch.to_pylist():
                cells = {str(name): text for name, value in row.items() if (text := cell_text(value)) is not None}
                size += sum(map(len, cells.values()))
                found.append(cells)
            if size > MAX_BYTES or len(found) > rows:
                raise JudgeError(f"The file unpacks to more than {MAX_BYTES // 2**20} MiB: leave rows or columns out.")
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        if isinstance(error, JudgeError):
            raise
        raise JudgeError(damaged) from error
    return table_of(enumerate(found, 1), "Row")
