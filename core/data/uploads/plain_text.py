"""Read a plain text: passages that blank lines separate, or lines where there are no blank ones."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from core.data.uploads.text_table import Cells, TextTable, check_size
from core.errors import DatasetError

COLUMN = "text"
"""Name of the only column."""

LONGEST = 1000
"""Characters of a passage: what is longer becomes several. Some 250 tokens of a large vocabulary."""

_SENTENCE_END = re.compile(r"[.!?…。！？]['\"”’)\]]*\s+")
_VISIBLE = re.compile(r"\S")


def read_plain(text: str, notes: tuple[str, ...] = (), unlabelled: str = "") -> TextTable:
    """Read a text as a table with one row per passage.

    Args:
        text: the file, with newlines for line breaks.
        notes: of the decoding.
        unlabelled: why it has no labels.

    Raises:
        DatasetError: it is empty, or has too many passages.
    """
    stripped = text.strip("\n")
    by_blank_lines = re.search(r"\n[^\S\n]*\n", stripped) is not None
    cells: list[str] = []
    places: list[int] = []
    split = 0
    for line, passage in _paragraphs(text) if by_blank_lines else _lines(text):
        pieces = list(pieces_of(passage))
        split += len(pieces) > 1
        for piece in pieces:
            check_size(len(cells) + 1, 1)
            cells.append(piece)
            places.append(line)
    if not cells:
        raise DatasetError("The file is empty: it must hold a text.")
    separated = "blank lines separate" if by_blank_lines else "are lines of the file, as it has no blank lines"
    note = f"The file was read as plain text, in {len(cells):,} passages that {separated}."
    if split:
        note += f" {split:,} longer than {LONGEST:,} characters {'was' if split == 1 else 'were'} split at line or "
        note += "sentence ends."
    return TextTable(
        {COLUMN: Cells.of(cells)},
        np.array(places, np.int64),
        "Line",
        0,
        (*notes, note),
        unlabelled=unlabelled or "The file is a plain text: it has no labels.",
        is_plain=True,
    )


def pieces_of(passage: str) -> Iterator[str]:
    """Pieces of at most :data:`LONGEST` characters: cut at the end of a line, a sentence or a word, if there is one.

    White space at a cut is dropped, and nothing else.
    """
    place = 0
    while len(passage) - place > LONGEST:
        start = passage[place : place + LONGEST + 1]
        sentence = max((found.end() for found in _SENTENCE_END.finditer(start)), default=0)
        cut = max(start.rfind("\n"), 0) or sentence or max(start.rfind(" "), 0) or LONGEST
        if piece := start[:cut].rstrip():
            yield piece
        following = _VISIBLE.search(passage, place + cut)
        place = following.start() if following else len(passage)
    if place < len(passage):
        yield passage[place:]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The number and the text of each line that is not blank."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """The number of the first line and the text of each group of lines between blank ones."""
    start, group = 0, list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            start = start if group else number
            group.append(line.rstrip())
        elif group:
            yield start, "\n".join(group)
            group = []
    if group:
        yield start, "\n".join(group)
