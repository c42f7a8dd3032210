"""Read a table of texts from Parquet, with Arrow, within limits on what is unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.uploads.limits import MAX_TABLE_BYTES
from core.data.uploads.parquet_pages import (
    DELTA_BYTE_ARRAY,
    PLAIN,
    PLAIN_DICTIONARY,
    RLE_DICTIONARY,
    PageError,
    chunks,
    pages,
)
from core.data.uploads.text_table import Cell, TextTable, check_size, quoted
from core.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MAGIC = b"PAR1"

ROWS = 16_384
"""Rows to unpack at once."""

DAMAGED = "The file is a Parquet file but damaged or incomplete: save it again."


def read_parquet(content: bytes) -> TextTable:
    """Read the columns of texts, numbers and truth values; others, such as lists, are left out.

    Raises:
        DatasetError: the file is damaged, too large, or has too few such columns.
    """
    # Imported here because Arrow takes a while to import, and only Parquet needs it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    if len(content) < 12 or not content.endswith(MAGIC):
        raise DatasetError(DAMAGED)
    try:
        about = pq.read_metadata(pa.BufferReader(content))
        if not about.num_rows:
            raise DatasetError("The file has no rows: each must hold a text and its label.")
        schema = about.schema.to_arrow_schema()
        names = [field.name for field in schema if _is_usable(pa, field.type)]
        check_size(about.num_rows, max(1, len(names)))
        encodings = _encodings(content, set(names))
        # A text in a dictionary stays in one place in memory; however often rows refer to it, each costs a number.
        shared = [field.name for field in schema if _is_string(pa, field.type) and _is_shared(encodings[field.name])]
        file = pq.ParquetFile(pa.BufferReader(content), read_dictionary=shared, pre_buffer=False)
        return _table(file, schema, names)
    except PageError as error:
        raise DatasetError(DAMAGED) from error
    except (pa.ArrowException, OSError, ValueError, LookupError, MemoryError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(DAMAGED) from error


def _is_string(pa: Any, kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_usable(pa: Any, kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_string(pa, kind.value_type)
    checks = (
        *(pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
        pa.types.is_null,
    )
    return _is_string(pa, kind) or any(check(kind) for check in checks)


def _encodings(content: bytes, names: set[str]) -> dict[str, set[int]]:
    """Encodings of the pages of these columns.

    Raises:
        DatasetError: they unpack to too much, in all, or their values do.
        PageError: the footer or the header of a page is damaged.
    """
    total = 0
    encodings: dict[str, set[int]] = {name: set() for name in names}
    for chunk in chunks(content):
        if chunk.path not in names:
            continue
        for page in pages(content, chunk.start, chunk.size):
            total += page.unpacked
            _check_total(total)
            if page.encoding == DELTA_BYTE_ARRAY:
                # A few bytes of it can stand for a long text, and no header says how much is unpacked.
                raise DatasetError(
                    f"The column {quoted(chunk.path)} has the encoding DELTA_BYTE_ARRAY, which cannot be read within "
                    "bounds: save the file with another, as pandas does by default."
                )
            if page.encoding is not None:
                encodings[chunk.path].add(page.encoding)
    return encodings


def _is_shared(encodings: set[int]) -> bool:
    """Whether texts can be read as references to a dictionary, as they must be where the file has one.

    Raises:
        DatasetError: the file has one, and texts in an encoding besides that cannot be read so.
    """
    if encodings <= {PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY}:
        return True
    if encodings & {PLAIN_DICTIONARY, RLE_DICTIONARY}:
        raise DatasetError("The file has several encodings of texts in one column: save it with one.")
    return False


def _check_total(total: int) -> None:
    if total > MAX_TABLE_BYTES:
        raise DatasetError(
            f"The columns unpack to more than {MAX_TABLE_BYTES // 2**20} MiB: leave out columns or rows."
        )


def _table(file: pq.ParquetFile, schema: pa.Schema, names: list[str]) -> TextTable:
    if len(names) < 2 or len(set(names)) < len(names):
        raise DatasetError(
            f"The file has {len(set(names))} column{'s' * (len(set(names)) != 1)} of texts, numbers or truth values: a "
            "table needs one with texts and one with their labels, under different names."
        )
    columns: dict[str, list[Cell]] = {name: [] for name in names}
    total = 0
    for batch in file.iter_batches(ROWS, columns=names, use_threads=False):
        for name in names:
            cells, size = _cells(batch.column(batch.schema.get_field_index(name)))
            total += size
            _check_total(total)
            columns[name].extend(cells)
            if len(columns[name]) > file.metadata.num_rows:  # row groups may claim more than the file
                raise DatasetError(DAMAGED)
    if {len(cells) for cells in columns.values()} != {file.metadata.num_rows}:
        raise DatasetError(DAMAGED)
    kept = [
        row for row, cells in enumerate(zip(*columns.values(), strict=True)) if any(c not in (None, "") for c in cells)
    ]
    empty = file.metadata.num_rows - len(kept)
    if empty:
        columns = {name: [cells[row] for row in kept] for name, cells in columns.items()}
    left_out = len(schema.names) - len(names)
    notes = (f"{left_out} column{'s' * (left_out != 1)} of other types cannot be chosen.",) if left_out else ()
    return TextTable(columns, [row + 1 for row in kept], "Row", empty, notes)


def _cells(array: Any) -> tuple[list[Cell], int]:
    """The cells of a column, and the number of bytes that its texts would take one by one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(array.type):
        array.validate(full=True)
        if pa.types.is_decimal(array.type):  # as text, so that no digit is lost
            return [None if cell is None else f"{cell:f}" for cell in array.to_pylist()], 0
        if pa.types.is_string_view(array.type):  # Arrow does not measure its texts
            array = array.cast(pa.large_string())
        return array.to_pylist(), pc.sum(pc.binary_length(array)).as_py() or 0 if _is_string(pa, array.type) else 0
    # Text that is not UTF-8 is damage, which Arrow looks for only when it is told to.
    array.dictionary.validate(full=True)
    indices = array.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    lengths = np.append(pc.binary_length(array.dictionary).fill_null(0).to_numpy(zero_copy_only=False), 0)
    if len(indices) and (indices.min() < -1 or indices.max() >= len(array.dictionary)):
        raise DatasetError(DAMAGED)
    values = [*array.dictionary.to_pylist(), None]
    return [values[index] for index in indices.tolist()], int(lengths[indices].sum())
