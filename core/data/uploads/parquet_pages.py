"""The column chunks and pages of a Parquet file, of which each is checked before anything is unpacked.

What a file's footer says of sizes need not be true; Arrow allocates what the header before each page says. Arrow also
ends the process when it is asked about the chunks of some damaged files, so the footer is read here too. Both are
structs in Thrift's compact protocol; their fields are those of ``FileMetaData`` and ``PageHeader`` in
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PLAIN, PLAIN_DICTIONARY, DELTA_BYTE_ARRAY, RLE_DICTIONARY = 0, 2, 7, 8
"""Encodings: values one by one, references to a dictionary, and values that repeat the start of the one before them."""

_UNPACKED, _PACKED = 2, 3
"""Fields of a header with the sizes of a page."""
_VALUES = {5: 2, 8: 4}
"""Fields with the headers of data pages of both versions, and the field of each with the encoding."""

MAX_DEPTH = 16
"""Structs and lists inside each other in a header or footer."""

MAX_ITEMS = 10_000
"""Items of a list in a header or footer: columns, row groups, and fields of the schema."""


_GROUPS, _COLUMNS, _ABOUT = 4, 1, 3
"""Fields with the row groups of a file, the columns of a row group, and what is said of a column chunk."""
_PATH, _SIZE, _DATA, _DICTIONARY = 3, 7, 9, 11
"""Fields of that: the column's path, its size in bytes, and the places of its first data page and its dictionary."""

TAIL = 8
"""Bytes behind the footer: its length, and a mark."""


class PageError(ValueError):
    """The footer or a header of a page is damaged."""


@dataclass(frozen=True)
class Chunk:
    """One column of a row group."""

    path: str
    """Name of the column, with those of the columns that it is in before it."""
    start: int
    """First byte in the file."""
    size: int
    """Bytes, headers of pages included."""


@dataclass(frozen=True)
class Page:
    """What the header of a page says."""

    unpacked: int
    """Bytes when unpacked."""
    encoding: int | None
    """Number of the encoding of the values; None for a dictionary."""


def chunks(content: bytes) -> Iterator[Chunk]:
    """Yield all column chunks of a file, by its footer.

    Raises:
        PageError: the footer is damaged.
    """
    end = len(content) - TAIL
    start = end - int.from_bytes(content[end : end + 4], "little")
    if not 0 <= start < end:
        raise PageError("The footer is outside the file.")
    groups = _Header(content, start, end).struct(0).get(_GROUPS)
    for group in groups if isinstance(groups, list) else []:
        columns = group.get(_COLUMNS) if isinstance(group, dict) else None
        for column in columns if isinstance(columns, list) else []:
            about = column.get(_ABOUT) if isinstance(column, dict) else None
            if not isinstance(about, dict):
                raise PageError("A column chunk is not described.")
            path, size, data, dictionary = (about.get(field) for field in (_PATH, _SIZE, _DATA, _DICTIONARY))
            if not isinstance(path, list) or not isinstance(size, int) or not isinstance(data, int):
                raise PageError("A column chunk has no name or place.")
            first = min(data, dictionary) if isinstance(dictionary, int) and dictionary else data
            yield Chunk(b".".join(part for part in path if isinstance(part, bytes)).decode("utf-8"), first, size)


def pages(content: bytes, start: int, size: int) -> Iterator[Page]:
    """Yield the pages of one column chunk.

    Args:
        content: the file.
        start: first byte of the chunk.
        size: bytes of the chunk, headers included.

    Raises:
        PageError: a header is damaged.
    """
    end = start + size
    if not 0 <= start <= end <= len(content):
        raise PageError("A column chunk is outside the file.")
    while start < end:
        header = _Header(content, start, end)
        fields = header.struct(0)
        unpacked, packed = fields.get(_UNPACKED), fields.get(_PACKED)
        if not isinstance(unpacked, int) or not isinstance(packed, int) or min(unpacked, packed) < 0:
            raise PageError("A page has no size.")
        encoding = None
        for field, of_values in _VALUES.items():
            inner = fields.get(field)
            if isinstance(inner, dict) and isinstance(found := inner.get(of_values), int):
                encoding = found
        yield Page(unpacked, encoding)
        start = header.place + packed
        if start > end:
            raise PageError("A page is longer than its column chunk.")


class _Header:
    """A reader of Thrift's compact protocol."""

    def __init__(self, content: bytes, start: int, end: int) -> None:
        self._content, self.place, self._end = content, start, end

    def struct(self, depth: int) -> dict[int, object]:
        """Read a struct, as values by field; truth values and fractions are None."""
        if depth > MAX_DEPTH:
            raise PageError("A header is nested too deeply.")
        fields: dict[int, object] = {}
        field = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            field = field + step if step else self._number()
            fields[field] = self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> object:
        match kind:
            case 1 | 2:  # true and false, which have no bytes of their own
                return None
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._number()
            case 7:
                self._skip(8)
            case 8:
                size = self._natural()
                self._skip(size)
                return self._content[self.place - size : self.place]
            case 9 | 10:
                return self._items(depth)
            case 12:
                return self.struct(depth + 1)
            case _:
                raise PageError("A header has a field of an unknown type.")
        return None

    def _items(self, depth: int) -> list[object]:
        if depth > MAX_DEPTH:
            raise PageError("A header is nested too deeply.")
        head = self._byte()
        count, kind = head >> 4, head & 15
        count = self._natural() if count == 15 else count
        if count > MAX_ITEMS:
            raise PageError("A header has a long list.")
        return [self._byte() if kind in (1, 2) else self._value(kind, depth + 1) for _ in range(count)]

    def _skip(self, count: int) -> None:
        self.place += count
        if self.place > self._end:
            raise PageError("A header ends too early.")

    def _byte(self) -> int:
        self._skip(1)
        return self._content[self.place - 1]

    def _natural(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise PageError("A header has a number that is too long.")

    def _number(self) -> int:
        value = self._natural()
        return (value >> 1) ^ -(value & 1)
