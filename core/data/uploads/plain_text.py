"""Read a plain text: passages that blank lines separate, or lines where there are no blank ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from core.data.uploads.text_table import TextTable, check_size
from core.errors import DatasetError

LONGEST = 1000
"""Characters of a passage: what is longer becomes several. Some 250 tokens of a large vocabulary."""

_SENTENCE_END = re.compile(r"[.!?…。！？]['\"”’)\]]*\s+")
_VISIBLE = re.compile(r"\S")


def read_plain(text: str, notes: tuple[str, ...] = ()) -> TextTable:
    """Read a text as a table with one row per passage, in the only column ``text``.

    Args:
        text: the file, with newlines for line breaks.
        notes: of the decoding.

    Raises:
        DatasetError: it is empty, or has too many passages.
    """
    has_blank_lines = any(not line.strip() for line in text.strip().split("\n"))
    cells: list[str] = []
    places: list[int] = []
    split = 0
    for line, passage in _passages(text, has_blank_lines):
        before = len(cells)
        for piece in pieces_of(passage):
            check_size(len(cells) + 1, 1)
            cells.append(piece)
            places.append(line)
        split += len(cells) > before + 1
    if not cells:
        raise DatasetError("The file is empty: it must hold texts.")
    separated = "blank lines separate" if has_blank_lines else "are lines of the file, as it has no blank lines"
    note = f"The file was read as plain text, in {len(cells):,} passages that {separated}."
    if split:
        note += f" {split:,} longer than {LONGEST:,} characters {'was' if split == 1 else 'were'} split at line or "
        note += "sentence ends."
    return TextTable(
        {"text": [*cells]},
        places,
        0,
        (*notes, note),
        unlabelled="The file is a plain text without labels: LoRA Lab learns to classify from a table with a column of "
        "texts and one of labels, and to continue texts without labels with the objective Language.",
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


def _passages(text: str, has_blank_lines: bool) -> Iterator[tuple[int, str]]:
    """The number of the first line and the text of each group of lines between blank ones, or else of each line."""
    for is_text, group in groupby(enumerate(text.split("\n"), 1), key=lambda line: bool(line[1].strip())):
        lines = list(group) if is_text else []
        if has_blank_lines and lines:
            yield lines[0][0], "\n".join(line.rstrip() for _, line in lines)
        else:
            yield from ((number, line.strip()) for number, line in lines)
