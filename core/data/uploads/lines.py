"""The lines of an uploaded text file, within bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from core.errors import DatasetError


def bounded_lines(
    text: str, max_characters: int, max_lines: int, too_long: Callable[[int, int], str], too_many: str
) -> Iterator[str]:
    """Yield the lines; the length of each is checked before it is copied.

    Args:
        text: the file, with newlines for line breaks.
        max_characters: of one line, its newline included.
        max_lines: of the file.
        too_long: makes the message about a line, from its number and its characters.
        too_many: the message about too many lines.

    Raises:
        DatasetError: a line is too long, or there are too many.
    """
    start, number = 0, 0
    while start < len(text):
        number += 1
        end = text.find("\n", start)
        end = len(text) if end < 0 else end + 1
        if end - start > max_characters:
            raise DatasetError(too_long(number, end - start))
        if number > max_lines:
            raise DatasetError(too_many)
        yield text[start:end]
        start = end
