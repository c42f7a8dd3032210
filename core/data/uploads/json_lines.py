"""Read a table of texts from JSON lines: one object per line, with the same keys in each; or from one list of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from core.data.uploads.faults import Faults
from core.data.uploads.messages import conversation_cell, conversations_in
from core.data.uploads.text_table import Cell, Cells, TextTable, cell_text, check_size, without_surrogates
from core.errors import DatasetError

ONE_KEY = (
    "The objects have one key: LoRA Lab learns to classify, so a table needs one with texts and one with their labels, "
    "or to continue texts without labels, with the objective Language."
)

_DECODER = json.JSONDecoder()
_START = re.compile(r"\s*\[\s*(\]\s*\Z|)")
_NEXT = re.compile(r"\s*(,|\]\s*\Z)\s*")


def is_json(text: str) -> bool:
    """Whether a file begins as JSON does."""
    return text[:1000].lstrip().startswith(("{", "["))


def read_json_lines(text: str, notes: tuple[str, ...] = ()) -> TextTable:
    """Read a table, also where the objects are those of one list.

    Args:
        text: the file, with newlines for line breaks.
        notes: of the decoding.

    Raises:
        DatasetError: a line is not an object, or there are too many; the message names the line.
    """
    is_list = text.lstrip().startswith("[")
    columns: dict[str, list[Cell]] = {}
    conversations: dict[str, list[str]] = {}
    places: list[int] = []
    empty, faults, unit = 0, Faults(), "Entry" if is_list else "Line"
    for number, value in listed_values(text) if is_list else _lines(text):
        faults.check_so_far(len(places), empty)
        if isinstance(value, DatasetError):
            faults.add(str(value))
            continue
        if not isinstance(value, dict):
            faults.add(f"{unit} {number} is JSON but not an object such as {{'text': …, 'label': …}}.")
            continue
        row = {without_surrogates(name): cell_text(cell) for name, cell in value.items()}
        if not any(cell != "" for cell in row.values()):
            empty += 1
            continue
        check_size(len(places) + 1, len(columns | row))
        for name in row:
            if name not in columns:
                columns[name] = [""] * len(places)
        for name, cells in columns.items():
            cells.append(row.get(name, ""))
        for name, cell in value.items():
            if isinstance(cell, list):
                name = without_surrogates(name)
                found = conversations.setdefault(name, [])
                found.extend([""] * (len(places) - len(found)))
                found.append(conversation_cell(cell))
        places.append(number)
    faults.check(len(places), leave_out=True)
    if not places:
        raise DatasetError("The file is empty: each line must hold an object with a text and its label.")
    return TextTable(
        {name: Cells.of(cells) for name, cells in columns.items()},
        np.array(places, np.int64),
        unit,
        empty,
        notes,
        faults,
        conversations_in(columns, conversations),
        ONE_KEY if len(columns) < 2 else "",
    )


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    """The number of each line that is not blank, and its value, or the error for a line that is no JSON."""
    number = start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line, start, number = text[start:end].strip(), end + 1, number + 1
        if not line:
            yield number, {}
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError):
            yield (
                number,
                DatasetError(
                    f"Line {number} is not a JSON object: save JSON lines, with one complete object per line."
                ),
            )


def listed_values(text: str) -> Iterator[tuple[int, Any]]:
    """The number of each value of one JSON list, and the value: one after the other, so that no more is read than used.

    Raises:
        DatasetError: the text is no list.
    """
    number, last = 0, _START.match(text)
    try:
        while last and not last[1].startswith("]"):
            value, place = _DECODER.raw_decode(text, last.end())
            yield (number := number + 1), value
            last = _NEXT.match(text, place)
            if last is None:
                raise json.JSONDecodeError("", text, place)
    except json.JSONDecodeError as error:
        raise DatasetError(
            f"The file begins as one JSON list but is damaged in line {error.lineno}: save it again, or as JSON lines."
        ) from error
    except (ValueError, RecursionError) as error:
        reason = "is nested too deeply" if isinstance(error, RecursionError) else "cannot be read"
        raise DatasetError(f"The file is one JSON list that {reason}: save JSON lines.") from error
