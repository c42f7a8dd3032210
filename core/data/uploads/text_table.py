"""A table in which every row may become a labelled text, as it was read from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.data.uploads.draft import Faults
from core.data.uploads.limits import MAX_CELLS, MAX_COLUMNS, MAX_TEXTS
from core.errors import DatasetError

Cell = str | None
"""A cell as text: empty for what is missing, None for what is no single value, such as a list."""


@dataclass(frozen=True, eq=False)
class TextTable:
    """Columns by their names, all of the same length."""

    columns: Mapping[str, list[Cell]]
    places: list[int]
    """Number of the row of the file that each row is from: the first is 1, and of plain texts and JSON each line is a
    row."""
    empty_rows: int
    """Number of rows without content, which are left out."""
    notes: tuple[str, ...] = ()
    """What the reader had to assume, one sentence each."""
    faults: Faults = field(default_factory=Faults)
    """Rows that are none, and are not in the columns."""
    messages: Mapping[str, list[str]] = field(default_factory=dict)
    """Columns that hold conversations, as :mod:`core.data.uploads.messages` writes them; empty where a cell is."""
    unlabelled: str = ""
    """Why there are no labels in it, a sentence; empty where there may be."""
    is_plain: bool = False
    """Whether the file is no table but a plain text, of which each row is a passage."""

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: str) -> list[Cell]:
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
