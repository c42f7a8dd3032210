"""A CSV of a label and pixels a line, with or without a line of headings."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from core.data.uploads.draft import Draft, Part, make_draft, numbered
from core.data.uploads.limits import MOST_CLASSES, MOST_IMAGES
from core.data.uploads.pixels import Range, square_side, to_images
from core.errors import DatasetError

MOST_LINE = 2**20
"""Characters of a line."""

MOST_LINES = 2 * MOST_IMAGES + 2
"""Of a file, empty ones included."""

MOST_DIGITS = 64
"""Characters of a cell."""

HEADINGS = ("label", "class", "target", "y", "digit")
"""How a column of labels is called; without such a heading it is the first."""


def read_table(content: bytes) -> Draft:
    """The dataset in a CSV; cells are parted by commas, semicolons or tabs.

    Raises:
        DatasetError: not such a table; the sentence names the line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError("The file is not text in UTF-8: save the table as CSV in UTF-8.") from error
    rows = _rows(text)
    first = next(rows, None)
    if first is None:
        raise DatasetError("The file is empty: a line holds a label and the pixels of an image.")
    where, has_heading = _label_column(first[1])
    side = square_side(len(first[1]) - 1, "A line of the file")
    labels: list[str] = []
    pixels: list[NDArray[np.float32]] = []
    seen = Range()
    for number, cells in rows if has_heading else _with(first, rows):
        if len(cells) != side * side + 1:
            raise DatasetError(f"Line {number} has {len(cells)} cells: the first line has {side * side + 1}.")
        if len(labels) == MOST_IMAGES:
            raise DatasetError(f"The file has more than {MOST_IMAGES:,} images: take some out.")
        labels.append(cells.pop(where).strip())
        values = _numbers(cells)
        if values is None:
            raise DatasetError(f"Line {number} has text where a pixel should be: pixels are numbers.")
        seen.take(values, f"Line {number}")
        pixels.append(values)
    if not labels:
        raise DatasetError("The file has headings but no images: a line holds a label and the pixels of an image.")
    names, numbers = _classes(labels)
    images = to_images(np.stack(pixels), side, side, seen.factor)
    return make_draft(names, Part(images, numbers), None)


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of every line that is not empty."""
    start = text[:MOST_LINE].partition("\n")[0]
    delimiter = max(",;\t", key=start.count)
    reader = csv.reader(_lines(text), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(map(len, map(str.strip, cells))):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DatasetError(f"Line {reader.line_num} is not a line of a CSV file ({error}).") from error


def _lines(text: str) -> Iterator[str]:
    """The lines one by one; none is copied before its length is known."""
    start, number = 0, 0
    while start < len(text):
        number += 1
        end = text.find("\n", start)
        end = len(text) if end < 0 else end + 1
        if end - start > MOST_LINE:
            raise DatasetError(f"Line {number} has more than {MOST_LINE:,} characters: a line holds one image.")
        if number > MOST_LINES:
            raise DatasetError(f"The file has more than {MOST_LINES:,} lines: take the empty ones out.")
        yield text[start:end]
        start = end


def _with(first: tuple[int, list[str]], rest: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    yield first
    yield from rest


def _label_column(cells: list[str]) -> tuple[int, bool]:
    """Which column holds labels, and whether these cells are headings."""
    headings = [cell.strip().lower() for cell in cells]
    named = [place for place, heading in enumerate(headings) if heading in HEADINGS]
    if named:
        return named[0], True
    return 0, len(cells) > 1 and all(_numbers([cell]) is None for cell in cells[1:])


def _numbers(cells: list[str]) -> NDArray[np.float32] | None:
    """Cells as numbers; None where one is not."""
    if max(map(len, cells), default=0) > MOST_DIGITS:
        return None
    try:
        with np.errstate(over="ignore"):
            return np.array(cells, dtype=np.float32)
    except ValueError:
        return None


def _classes(labels: list[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the classes, and the label of each image: numbers by value, or words by the alphabet."""
    found = sorted(set(labels))
    if len(found) > MOST_CLASSES:
        raise DatasetError(f"The file has {len(found):,} different labels: {MOST_CLASSES} classes are the most.")
    numbers = [_numbers([label]) for label in found]
    if not any(number is not None for number in numbers):
        places = {name: place for place, name in enumerate(found)}
        return found, np.array([places[label] for label in labels], np.int64)
    for label, number in zip(found, numbers, strict=True):
        if number is None:
            raise DatasetError(f"The labels mix numbers and words such as {label[:40]!r}: use one kind.")
        if not np.isfinite(number[0]) or number[0] != np.floor(number[0]):
            raise DatasetError(f"The file has the label {label[:40]!r}: labels are whole numbers or words.")
    names, (places_of,) = numbered(
        [np.array([float(label) for label in labels]).clip(-(2**31), 2**31).astype(np.int64)]
    )
    return names, places_of
