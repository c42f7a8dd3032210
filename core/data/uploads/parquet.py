"""Read a table of texts from Parquet, with Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.data.uploads.limits import MAX_TABLE_BYTES
from core.data.uploads.messages import KEYS, conversation_cell, conversations_in
from core.data.uploads.text_table import Cell, Cells, TextTable, cell_text, check_size, listed, quoted
from core.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC = b"PAR1"

ROWS = 512
"""Rows to unpack at once: each may refer to the same long text."""

DAMAGED = "The file is a Parquet file but damaged or incomplete: save it again."


def read_parquet(content: bytes) -> TextTable:
    """Read the columns of texts, numbers, truth values and conversations; others, such as lists, are left out.

    Raises:
        DatasetError: the file is damaged, too large, or has too few such columns.
    """
    # Imported here because Arrow takes a while to import, and only Parquet needs it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False)
        return _table(file, file.metadata.num_rows)
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(DAMAGED) from error


def _table(file: Any, rows: int) -> TextTable:
    import pyarrow as pa

    if not rows:
        raise DatasetError("The file has no rows: each must hold a text and its label.")
    schema = file.schema_arrow
    names = [field.name for field in schema if _is_usable(pa, field.type)]
    check_size(rows, max(1, len(names)))
    lists = [field.name for field in schema if pa.types.is_nested(field.type)]
    chats = [field.name for field in schema if _is_conversation(pa, field.type)]
    few = (
        f"The file has {len(set(names))} column{'s' * (len(set(names)) != 1)} of texts, numbers or truth values: a "
        "table needs one with texts and one with their labels, under different names."
    )
    every = [*names, *chats]
    if not every or len(set(every)) < len(every):
        raise DatasetError(few)
    if len(names) == 1 and lists:
        few = (
            f"The column {quoted(lists[0])} has lists in it, and LoRA Lab learns one label per text: put one into each "
            "row."
        )
    columns: dict[str, list[Cell]] = {name: [] for name in every}
    conversations: dict[str, list[str]] = {name: [] for name in chats}
    total = 0
    for batch in file.iter_batches(ROWS, columns=every, use_threads=False):
        batch.validate(full=True)  # text that is not UTF-8 is damage, which Arrow looks for only when it is told to
        for name in every:
            values = batch.column(batch.schema.get_field_index(name))
            if name in conversations:
                found = ["" if value is None else conversation_cell(value) for value in values.to_pylist()]
                conversations[name].extend(found)
                cells: list[Cell] = [None if cell else "" for cell in found]
                total += sum(map(len, found))
            else:
                cells = _cells(pa, values)
            total += sum(map(len, filter(None, cells)))
            if total > MAX_TABLE_BYTES:
                raise DatasetError(
                    f"The columns unpack to more than {MAX_TABLE_BYTES // 2**20} MiB: leave out columns or rows."
                )
            columns[name].extend(cells)
        if len(columns[every[0]]) > rows:  # row groups may claim more than the file
            raise DatasetError(DAMAGED)
    if {len(cells) for cells in columns.values()} != {rows}:
        raise DatasetError(DAMAGED)
    kept = [row for row, cells in enumerate(zip(*columns.values(), strict=True)) if any(cell != "" for cell in cells)]
    left_out = len(schema.names) - len(every)
    notes = [f"{left_out} column{'s' * (left_out != 1)} of other types cannot be chosen."] if left_out else []
    if others := [name for name in lists if name not in chats]:
        notes.append(f"Lists are not learned, as in {listed(others)}: each text has one label.")
    rest = {name: [cells[row] for row in kept] for name, cells in columns.items()}
    return TextTable(
        {name: Cells.of(cells) for name, cells in rest.items()},
        np.array(kept, np.int64) + 1,
        "Row",
        rows - len(kept),
        tuple(notes),
        messages=conversations_in(rest, {name: [cells[row] for row in kept] for name, cells in conversations.items()}),
        unlabelled=few if len(names) < 2 else "",
    )


def _cells(pa: Any, array: Any) -> list[Cell]:
    """The cells of a column; decimals as they are written, so that no digit is lost."""
    if pa.types.is_decimal(array.type):
        return ["" if value is None else f"{value:f}" for value in array.to_pylist()]
    return [cell_text(value) for value in array.to_pylist()]


def _is_conversation(pa: Any, kind: pa.DataType) -> bool:
    """Whether a column holds lists of messages."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return False
    fields = {kind.value_type.field(place).name for place in range(kind.value_type.num_fields)}
    return any(fields >= {*keys} for keys in KEYS)


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
