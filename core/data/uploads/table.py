"""Read a CSV with one label and its pixels per line, with or without a header line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from core.data.dataset import ImageDataset
from core.data.uploads.draft import Draft
from core.data.uploads.faults import Faults
from core.data.uploads.image_draft import Part, make_draft, numbered
from core.data.uploads.limits import MAX_CLASSES, MAX_IMAGES, MIN_SIDE
from core.data.uploads.pixels import Range, to_images
from core.errors import DatasetError

HEADINGS = ("label", "class", "target", "y", "digit")
"""Possible names of the label column; without such a name it is the first column."""


def read_table(content: bytes, leave_out: bool = False) -> Draft[ImageDataset]:
    """Read the dataset in a CSV whose cells are separated by commas, semicolons or tabs.

    Args:
        content: the file.
        leave_out: whether lines that hold no image are left out.

    Raises:
        DatasetError: not such a table; the message names the line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError("The file is not text in UTF-8: save the table as CSV in UTF-8.") from error
    rows = _rows(text)
    first = next(rows, None)
    if first is None:
        raise DatasetError("The file is empty: each line must hold a label and the pixels of an image.")
    where, has_heading = _label_column(first[1])
    side = _side(*first)
    labels: list[str] = []
    pixels: list[NDArray[np.float32]] = []
    seen, faults = Range(), Faults()
    for number, cells in rows if has_heading else chain([first], rows):
        if len(cells) != side * side + 1:
            faults.add(f"Line {number} has {len(cells)} cells, but the first line has {side * side + 1}.")
            continue
        if len(labels) == MAX_IMAGES:
            raise DatasetError(f"The file has more than {MAX_IMAGES:,} images: remove some.")
        if not (label := cells.pop(where).strip()):
            faults.add(f"Line {number} has an image but no label: fill it in, or remove the line.")
            continue
        values = _numbers(cells)
        if values is None:
            faults.add(f"Line {number} has text where a pixel should be: pixels are numbers.")
            continue
        labels.append(label)
        seen.take(values, f"Line {number}")
        pixels.append(values)
    faults.check(len(labels), leave_out)
    if not labels:
        raise DatasetError("The file has a header but no images: each line must hold a label and the pixels.")
    names, numbers = _classes(labels)
    images = to_images(np.stack(pixels), side, side, seen.factor)
    return faults.without(lambda: make_draft(names, Part(images, numbers), None, faults=faults), "lines")


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of every line that is not empty."""
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(map(len, map(str.strip, cells))):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DatasetError(f"Line {reader.line_num} is not a line of a CSV file: a quote may be missing.") from error


def _label_column(cells: list[str]) -> tuple[int, bool]:
    """Index of the label column, and whether these cells are a header.

    A header has words for the pixels, or counts them. Else the first line is an image, whose class may have one of the
    names of label columns.
    """
    headings = [cell.strip().lower() for cell in cells]
    column = next((column for column, heading in enumerate(headings) if heading in HEADINGS), None)
    if column is None:
        return 0, len(cells) > 1 and all(_numbers([cell]) is None for cell in cells[1:])
    others = [*headings[:column], *headings[column + 1 :]]
    counts = any(others == [str(start + place) for place in range(len(others))] for start in (0, 1))
    return column, counts or _numbers(others) is None


def _side(number: int, cells: list[str]) -> int:
    """Pixels along each side of the images, from the first line and its number."""
    side = math.isqrt(len(cells) - 1)
    if side < MIN_SIDE or side * side != len(cells) - 1:
        raise DatasetError(
            f"The table holds no images: line {number} has {len(cells)} cell{'' if len(cells) == 1 else 's'}, and each "
            f"line must hold a label and the pixels of one square image as numbers, at least {MIN_SIDE} × {MIN_SIDE}, "
            "such as 785 cells for 28 × 28 pixels. A table of texts is uploaded as Texts."
        )
    return side


def _numbers(cells: list[str]) -> NDArray[np.float32] | None:
    """Convert cells to numbers; None if one is not a number."""
    try:
        with np.errstate(over="ignore"):
            return np.array(cells, dtype=np.float32)
    except ValueError:
        return None


def _classes(labels: list[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the classes (numbers sorted by value, words alphabetically) and the label of each image."""
    found = sorted(set(labels))
    if len(found) > MAX_CLASSES:
        raise DatasetError(f"The file has {len(found):,} different labels: the limit is {MAX_CLASSES} classes.")
    numbers = [_numbers([label]) for label in found]
    if not any(number is not None for number in numbers):
        label_of = {name: label for label, name in enumerate(found)}
        return found, np.array([label_of[name] for name in labels], np.int64)
    for label, number in zip(found, numbers, strict=True):
        if number is None:
            raise DatasetError(f"The labels mix numbers and words such as {label[:40]!r}: use one kind.")
        if not np.isfinite(number[0]) or number[0] != np.floor(number[0]):
            raise DatasetError(f"The file has the label {label[:40]!r}: labels are whole numbers or words.")
    values = np.array([float(label) for label in labels]).clip(-(2**31), 2**31).astype(np.int64)
    names, (renumbered,) = numbered([values])
    return names, renumbered
