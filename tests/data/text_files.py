"""Tables of texts that people might upload, made small, and all that could be wrong with one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Rows = Sequence[tuple[str, str]]

ROWS: Rows = [(f"{what} number {n}", what) for n in range(6) for what in ("apple", "pear", "fig")]
"""Eighteen texts in three classes."""


def separated(
    rows: Sequence[Sequence[object]], names: Sequence[str] = ("text", "label"), by: str = ",", **how: Any
) -> str:
    target = io.StringIO(newline="")
    writer = csv.writer(target, delimiter=by, **how)
    writer.writerows([names, *rows])
    return target.getvalue()


def json_lines(rows: Sequence[Sequence[object]], names: Sequence[str] = ("text", "label")) -> str:
    return "\n".join(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows)


def parquet(columns: dict[str, Any], **how: Any) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target, **how)
    return target.getvalue()


def parquet_rows(rows: Sequence[Sequence[object]], names: Sequence[str] = ("text", "label"), **how: Any) -> bytes:
    return parquet({name: [row[place] for row in rows] for place, name in enumerate(names)}, **how)


WRITERS: dict[str, Callable[[Rows, Sequence[str]], bytes]] = {
    "csv": lambda rows, names: separated(rows, names).encode(),
    "semicolons": lambda rows, names: separated(rows, names, ";").encode(),
    "tsv": lambda rows, names: separated(rows, names, "\t").encode(),
    "bars": lambda rows, names: separated(rows, names, "|").encode(),
    "quoted": lambda rows, names: separated(rows, names, quoting=csv.QUOTE_ALL).encode(),
    "jsonl": lambda rows, names: json_lines(rows, names).encode(),
    "parquet": parquet_rows,
    "zstd": lambda rows, names: parquet_rows(rows, names, compression="zstd", data_page_version="2.0"),
    "lengths": lambda rows, names: parquet_rows(
        rows, names, use_dictionary=False, column_encoding=dict.fromkeys(names, "DELTA_LENGTH_BYTE_ARRAY")
    ),
    "groups": lambda rows, names: parquet_rows(rows, names, row_group_size=4),
}
"""Every kind of file, as functions of the rows and the names of the columns."""

GOOD = {kind: write(ROWS, ("text", "label")) for kind, write in WRITERS.items()}
CSV, PARQUET = GOOD["csv"], GOOD["parquet"]


def lines(*rows: str) -> bytes:
    return "\n".join(["text,label", *rows]).encode()
