"""Read a table of texts from JSON lines: one object per line, with the same keys in each."""

from __future__ import annotations

import json

import numpy as np

from core.data.uploads.faults import Faults
from core.data.uploads.text_table import Cell, Cells, TextTable, cell_text, check_size, without_surrogates
from core.errors import DatasetError


def is_json(text: str) -> bool:
    """Whether a file begins as JSON does."""
    return text[:1000].lstrip().startswith(("{", "["))


def read_json_lines(text: str, notes: tuple[str, ...] = ()) -> TextTable:
    """Read a table.

    Args:
        text: the file, with newlines for line breaks.
        notes: of the decoding.

    Raises:
        DatasetError: a line is not an object, or there are too many; the message names the line.
    """
    if text.lstrip().startswith("["):
        raise DatasetError("The file is one JSON list: save JSON lines, with one object per line and no brackets.")
    columns: dict[str, list[Cell]] = {}
    places: list[int] = []
    empty, number, start, faults = 0, 0, 0, Faults()
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line, start, number = text[start:end].strip(), end + 1, number + 1
        try:
            row = _row(line, number) if line else {}
        except DatasetError as error:
            faults.add(str(error))
            continue
        if not any(cell != "" for cell in row.values()):
            empty += 1
            continue
        check_size(len(places) + 1, len(columns | row))
        for name in row:
            if name not in columns:
                columns[name] = [""] * len(places)
        for name, cells in columns.items():
            cells.append(row.get(name, ""))
        places.append(number)
    faults.check(len(places), leave_out=True)
    if not places:
        raise DatasetError("The file is empty: each line must hold an object with a text and its label.")
    if len(columns) < 2:
        raise DatasetError(
            "The objects have one key: LoRA Lab learns to classify, so a table needs one with texts and one with their "
            "labels."
        )
    found = {name: Cells.of(cells) for name, cells in columns.items()}
    return TextTable(found, np.array(places, np.int64), "Line", empty, notes, faults)


def _row(line: str, number: int) -> dict[str, Cell]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"Line {number} is not a JSON object: save JSON lines, with one complete object per line."
        ) from error
    if not isinstance(row, dict):
        raise DatasetError(f"Line {number} is JSON but not an object such as {{'text': …, 'label': …}}.")
    return {without_surrogates(name): cell_text(value) for name, value in row.items()}
