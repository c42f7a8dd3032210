"""A table in which every row may become a labelled text, as it was read from a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.data.uploads.faults import Faults
from core.data.uploads.limits import MAX_CELLS, MAX_COLUMNS, MAX_TEXTS
from core.errors import DatasetError

Cell = str | None
"""A cell as text: empty for what is missing, None for what is no single value, such as a list."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a column, of which equal ones are in memory once."""

    text: NDArray[np.uint8]
    """The different cells one after another, in UTF-8."""
    ends: NDArray[np.int64]
    """Where each of them ends."""
    numbers: NDArray[np.int64]
    """Which of them each cell is; -1 for None."""

    @classmethod
    def of(cls, cells: Iterable[Cell]) -> Cells:
        """Gather the cells of a column."""
        number_of: dict[str, int] = {}
        numbers = [-1 if cell is None else number_of.setdefault(cell, len(number_of)) for cell in cells]
        parts = [without_surrogates(text).encode() for text in number_of]
        return cls(
            np.frombuffer(b"".join(parts), np.uint8),
            np.cumsum([len(part) for part in parts], dtype=np.int64),
            np.array(numbers, np.int64),
        )

    def first(self, count: int) -> list[Cell]:
        """The first cells."""
        return [None if number < 0 else self._different(number) for number in self.numbers[:count].tolist()]

    def __iter__(self) -> Iterator[Cell]:
        different = self.different()
        return (None if number < 0 else different[number] for number in self.numbers.tolist())

    def different(self) -> list[str]:
        """The different cells, in the order in which they first occur."""
        return [self._different(number) for number in range(len(self.ends))]

    def _different(self, number: int) -> str:
        start = int(self.ends[number - 1]) if number else 0
        return self.text[start : int(self.ends[number])].tobytes().decode()


@dataclass(frozen=True, eq=False)
class TextTable:
    """Columns by their names, all of the same length."""

    columns: Mapping[str, Cells]
    places: NDArray[np.int64]
    """Number of the line (or row) of the file that each row is from."""
    unit: str
    """What the numbers count: ``Line`` or ``Row``."""
    empty_rows: int
    """Number of rows without content, which are left out."""
    notes: tuple[str, ...] = ()
    """What the reader had to assume, one sentence each."""
    faults: Faults = field(default_factory=Faults)
    """Rows that are none, and are not in the columns."""
    messages: Mapping[str, Cells] = field(default_factory=dict)
    """Columns that hold conversations, as :mod:`core.data.uploads.messages` writes them; empty where a cell is."""
    unlabelled: str = ""
    """Why there are no labels in it, a sentence; empty where there may be."""
    is_plain: bool = False
    """Whether the file is no table but a plain text, of which each row is a passage."""

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: str) -> Cells:
        """The cells of a column. Raises: DatasetError: there is none of that name."""
        if name not in self.columns:
            raise DatasetError(f"The file has no column {name[:80]!r}; its columns are {listed(self.columns)}.")
        return self.columns[name]


def listed(names: Mapping[str, object] | Sequence[str]) -> str:
    """Names of columns for a sentence, the first ones if there are many."""
    shown = [repr(name if len(name) <= 40 else f"{name[:39]}…") for name in list(names)[:8]]
    return ", ".join(shown) + (", …" if len(names) > 8 else "")


def short_name(name: str) -> str:
    """A column's name in one line, with its middle left out if it is long: its end may tell it from others."""
    line = " ".join(name.split())
    return line if len(line) <= 60 else f"{line[:40]}…{line[-19:]}"


def quoted(name: str) -> str:
    """A column's name for a sentence."""
    return repr(short_name(name))


def check_size(rows: int, columns: int) -> None:
    """Check the size of a table, which may still be growing. Raises: DatasetError: it is too large."""
    if columns > MAX_COLUMNS:
        raise DatasetError(f"The file has {columns:,} columns: the limit is {MAX_COLUMNS}; leave some out.")
    if rows > MAX_TEXTS:
        raise DatasetError(f"The file has more than {MAX_TEXTS:,} rows: leave some out.")
    if rows * columns > MAX_CELLS:
        raise DatasetError(f"The file has more than {MAX_CELLS:,} cells: leave out columns or rows.")


def cell_text(value: object) -> Cell:
    """A value of a file as a cell."""
    if isinstance(value, str):
        return value
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else None


def without_surrogates(text: str) -> str:
    """The same text with halves of characters, which JSON can hold and UTF-8 cannot, joined or replaced by �."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


_SURROGATE = re.compile("[\ud800-\udfff]")
