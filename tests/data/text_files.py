"""Tables of texts that people might upload, made small, and all that could be wrong with one."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import sqlite3
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.data.uploads import limits
from tests.data.uploaded import Make, zipped

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


def workbook() -> bytes:
    return zipped(("[Content_Types].xml", b"<x/>"), ("xl/workbook.xml", b"<x/>"), ("xl/worksheets/sheet1.xml", b"<x/>"))


def database() -> bytes:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("create table texts (text, label)")
        return connection.serialize()


def one_long_text(repeats: int, length: int) -> bytes:
    """A small file of one text that is repeated many times, as a reference to a dictionary."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * repeats, pa.int32()), pa.array(["x" * length]))
    return parquet({"text": texts, "label": ["a", "b"] * (repeats // 2)})


def lines(*rows: str) -> bytes:
    return "\n".join(["text,label", *rows]).encode()


SOUND = [f"{text},{label}" for text, label in ROWS]

BAD: dict[str, tuple[Make, str]] = {
    "empty": (lambda: b"", "is empty: choose a CSV"),
    "blank": (lambda: b"\n \n\n", "is empty: each line"),
    "too large": (lambda: b"a,b\n" * (limits.MAX_BYTES // 4 + 1), "larger than 16 MiB"),
    "header only": (lambda: b"text,label\n", "names the columns 'text', 'label' but has no rows"),
    "no header": (lambda: "\n".join(SOUND).encode(), "has 'apple' in it and so names no columns"),
    "no header and a long text": (lambda: b"a " * 60 + b",x\n" + lines(*SOUND), "names no columns"),
    "one column": (lambda: b"text\nhello\nthere\n", "has one column"),
    "one key": (lambda: b'{"text": "a"}\n{"text": "b"}', "have one key"),
    "no header and a usual word": (
        lambda: b"input number 0,apple\n" + "\n".join(SOUND).encode(),
        "has 'apple' in it and so names no columns",
    ),
    "a title above the header": (lambda: b"Fruit,2024\n" + lines(*SOUND), "names no columns: .* line 2 names them"),
    "one class": (lambda: lines(*(f"text {n},x" for n in range(20))), "has 1 class:"),
    "a class with one text": (
        lambda: lines(*SOUND, "a lonely text,plum"),
        "'plum' has 1 text: each class needs at least 5",
    ),
    "100,000 labels": (
        lambda: lines(*(f"{n},label {n}" for n in range(100_000))),
        "column 'label' has 100,000 different labels",
    ),
    "1,001 labels": (lambda: lines(*(f"text {n},label {n % 1001}" for n in range(5005))), "has 1,001 different labels"),
    "200,001 rows": (lambda: gzip.compress(lines(*(f"{n},{n % 2}" for n in range(200_001)))), "more than 200,000 rows"),
    "201 columns": (lambda: ",".join(f"c{n}" for n in range(201)).encode() + b"\n1" + b",1" * 200, "201 columns"),
    "very many cells": (
        lambda: gzip.compress(
            (",".join(f"c{n}" for n in range(150)) + "\n" + ("x" + ",y" * 149 + "\n") * 14_000).encode()
        ),
        "more than 2,000,000 cells",
    ),
    "a label that is missing": (lambda: lines(*SOUND, "a text,"), "Line 20 has a text but no label in 'label'"),
    "a label that is NaN": (lambda: lines(*SOUND, "a text,nan"), "Line 20 has a text but no label"),
    "a NaN in JSON": (lambda: GOOD["jsonl"] + b'\n{"text": "x", "label": NaN}', "Line 19 has a text but no label"),
    "a null in JSON": (lambda: GOOD["jsonl"] + b'\n{"text": "x", "label": null}', "Line 19 has a text but no label"),
    "a key that is missing": (lambda: GOOD["jsonl"] + b'\n{"text": "x"}', "Line 19 has a text but no label"),
    "a NaN in Parquet": (
        lambda: parquet({"text": ["a"] * 20, "label": [0.0, 1.0] * 9 + [0.0, np.nan]}),
        "Row 20 has a text",
    ),
    "words and numbers": (lambda: lines(*SOUND, *["a text,7"] * 5), "mix numbers and words such as 'apple'"),
    "words and numbers in JSON": (lambda: GOOD["jsonl"] + b'\n{"text": "x", "label": 7}' * 5, "mix numbers and words"),
    "a list for a text": (lambda: b'{"text": ["a"], "label": "x"}\n' * 9, "Line 1 has a list or an object in 'text'"),
    "an object for a label": (
        lambda: b'{"text": "a", "label": {"x": 1}}\n' * 9,
        "choose one of 'text', 'label'|'label', not",
    ),
    "no texts": (lambda: lines(*(f",{label}" for _, label in ROWS)), "which column has the|no texts"),
    "a label without a name": (lambda: lines(*SOUND, *['a text,"b\u202e"'] * 5), "no usable name"),
    "a long label": (lambda: lines(*SOUND, *[f"a text,{'b' * 65}"] * 5), "no usable name"),
    "a cell too many": (
        lambda: lines(*SOUND, "hello, world,fig"),
        "Line 20 has 3 cells, but the first line names 2 columns",
    ),
    "a cell too few": (lambda: lines(*SOUND, "hello"), "Line 20 has 1 cell,"),
    "a quote without end": (lambda: lines(*SOUND, '"hello,fig', "more,fig"), "Line 20 is not a line of a CSV file"),
    "text after a quote": (lambda: lines(*SOUND, '"hello" you,fig'), "Line 20 is not a line of a CSV file"),
    "1 MB in one cell": (
        lambda: lines(*SOUND, "x" * 10**6 + ",fig"),
        "Line 20 has a cell of more than 100,000 characters",
    ),
    "100,001 characters": (lambda: lines(*SOUND, "x" * 100_001 + ",fig"), "Line 20 has a text of 100,001 characters"),
    "1 MB in one key": (
        lambda: GOOD["jsonl"] + b'\n{"text": "' + b"x" * 10**6 + b'", "label": "fig"}',
        "text of 1,000,000",
    ),
    "1 MB in a Parquet": (lambda: parquet_rows([*ROWS, ("x" * 10**6, "fig")]), "Row 19 has a text of 1,000,000"),
    "8 MB in one line": (lambda: lines("x" * 2**23), "Line 2 has a cell of more than 100,000 characters"),
    "very many lines": (lambda: gzip.compress(b"\n" * 2_000_100), "is empty"),
    "zeros": (lambda: bytes(1000), "is not a CSV, TSV"),
    "a null": (lambda: lines(*SOUND, "a\0b,fig"), "is not a CSV, TSV"),
    "noise": (lambda: np.random.default_rng(0).bytes(5000), "is not a CSV, TSV"),
    "executable": (lambda: b"\x7fELF\x02\x01\x01" + bytes(90) + b"\xff" * 9, "is not a CSV, TSV"),
    "pickle": (lambda: pickle.dumps([1]), "pickle, which can run code"),
    "npy": (lambda: b"\x93NUMPY\x01\x00" + bytes(90), "is an array"),
    "png": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(90), "is an image"),
    "pdf": (lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "is a PDF"),
    "xlsx": (lambda: workbook(), "Excel workbook: save the sheet as CSV"),
    "xls": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(90), "old Excel"),
    "sqlite": (lambda: database(), "SQLite"),
    "bzip2": (lambda: b"BZh91AY&SY" + bytes(20), "bzip2"),
    "half of UTF-16": (lambda: b"\xff\xfea\0,\0b\0\n", "begins as UTF-16-LE but is damaged"),
    "bad UTF-8 after its mark": (lambda: b"\xef\xbb\xbftext,label\n\xff\xfe,a", "begins as UTF-8 but is damaged"),
    "gzip cut": (lambda: gzip.compress(CSV)[:-12], "gzipped but ends too early"),
    "gzip damaged": (lambda: gzip.compress(CSV)[:-5] + b"\0\0\0\0\0", "gzipped but damaged"),
    "gzip and more": (lambda: gzip.compress(CSV) + b"more", "gzipped but damaged"),
    "gzip of nothing": (lambda: gzip.compress(b""), "is empty"),
    "gzip bomb": (lambda: gzip.compress(bytes(10**8)), "unpacks to more than 64 MiB"),
    "gzip in gzip": (lambda: gzip.compress(gzip.compress(CSV)), "packed twice"),
    "zip bomb": (lambda: zipped(("a.csv", bytes(10**8))), "unpacks to more than 64 MiB|implausible"),
    "zip of two": (lambda: zipped(("a.csv", CSV), ("b.csv", CSV)), "has 2 files"),
    "zip of none": (lambda: zipped(), "has 0 files"),
    "zip of a gzip": (lambda: zipped(("a.csv.gz", gzip.compress(CSV))), "packed twice"),
    "zip damaged": (lambda: zipped(("a.csv", CSV), how=zipfile.ZIP_STORED)[:-30], "not a zip file, or it is damaged"),
    "a JSON list": (lambda: json.dumps([{"text": "a", "label": "b"}] * 9).encode(), "one JSON list: save JSON lines"),
    "pretty JSON": (lambda: json.dumps({"text": "a", "label": "b"}, indent=1).encode(), "Line 1 is not a JSON object"),
    "a number among JSON": (lambda: GOOD["jsonl"] + b"\n7", "Line 19 is JSON but not an object"),
    "half a line of JSON": (lambda: GOOD["jsonl"] + b'\n{"text": "x', "Line 19 is not a JSON object"),
    "deep JSON": (lambda: b'{"text":' * 100_000, "Line 1 is not a JSON object"),
    "a number of many digits": (
        lambda: GOOD["jsonl"] + b'\n{"text": 1' + b"0" * 5000 + b"}",
        "Line 19 is not a JSON object",
    ),
    "parquet cut": (lambda: PARQUET[:-100], "damaged or incomplete"),
    "parquet without its start": (lambda: b"PAR1" + PARQUET[200:], "damaged or incomplete"),
    "parquet beginning only": (lambda: b"PAR1", "damaged or incomplete"),
    "parquet of lists": (lambda: parquet({"a": [[1], [2]], "b": [["x"], ["y"]]}), "has 0 columns of texts"),
    "parquet of one column": (lambda: parquet({"text": ["a", "b"], "b": [["x"], ["y"]]}), "has 1 column of texts"),
    "parquet without rows": (
        lambda: parquet({"text": pa.array([], "string"), "label": pa.array([], "string")}),
        "no rows",
    ),
    "parquet of 300,000 rows": (
        lambda: parquet({"text": ["a"] * 300_000, "label": [1] * 300_000}),
        "more than 200,000 rows",
    ),
    "parquet bomb by reference": (lambda: one_long_text(190_000, 90_000), "unpack to more than 64 MiB"),
    "parquet bomb by compression": (
        lambda: parquet_rows([("x" * 10**8, "a"), ("y", "b")], compression="zstd"),
        "unpack to more than 64 MiB",
    ),
    "parquet bomb by prefixes": (
        lambda: parquet_rows(
            [("x" * 90_000, "a")] * 2000, use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY"}
        ),
        "unpack to more than 64 MiB",
    ),
}
"""What is wrong, the file, and a word of the sentence."""
