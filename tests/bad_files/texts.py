"""Bad tables of texts."""

from __future__ import annotations

import gzip
import json
import pickle
import sqlite3
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.data.uploads import limits
from tests.bad_files.catalog import BadFile, Make, Table, marked, of_kind
from tests.data.text_files import CSV, GOOD, PARQUET, ROWS, lines, parquet, parquet_rows, separated
from tests.data.uploaded import zipped


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


SOUND = [f"{text},{label}" for text, label in ROWS]


def after(*rows: str) -> bytes:
    """A sound table with more rows."""
    return lines(*SOUND, *rows)


def more(line: bytes) -> bytes:
    """Sound JSON lines with one more."""
    return GOOD["jsonl"] + b"\n" + line


def claiming(rows: int, claimed: int) -> bytes:
    """A Parquet with more rows than it claims: the limit is on those, to which its row groups need not keep."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array(["x"]))
    content = parquet({"text": column, "label": column})
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    number = content.index(b"\x16" + _varint(2 * rows), footer)  # the field with the rows of the whole file comes first
    lying = content[:number] + b"\x16" + _varint(2 * claimed, 4) + content[number + 5 :]
    assert pq.read_metadata(pa.BufferReader(lying)).num_rows == claimed
    return lying


def _varint(value: int, length: int = 0) -> bytes:
    """A number in Thrift's compact protocol, in at least ``length`` bytes."""
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest, length - 1) if rest or length > 1 else bytes([low])


NO_NAMES, NO_CLASS = "has 'apple' in it and so names no columns", "no usable name"
OTHER, DAMAGED, BOMB = "is not a CSV, TSV", "damaged or incomplete", "unpack to more than 64 MiB"
NO_OBJECT = "Row 19 is not a JSON object"

TEXTS: Table = {
    "empty": (lambda: b"", "is empty: choose a CSV"),
    "blank": (lambda: b"\n \n\n", "is empty: it must hold"),
    "too large": (lambda: b"a,b\n" * (limits.MAX_BYTES // 4 + 1), "larger than 16 MiB"),
    "header only": (lambda: b"text,label\n", "has no rows"),
    "no header": (lambda: "\n".join(SOUND).encode(), NO_NAMES),
    "no header and a long text": (lambda: b"a " * 60 + b",x\n" + lines(*SOUND), "'label' has 1 text"),
    "one column": (lambda: b"text\nhello\nthere\n", "has one column"),
    "one key": (lambda: b'{"text": "a"}\n{"text": "b"}', "has one column"),
    "no header and a usual word": (lambda: b"input number 0,apple\n" + "\n".join(SOUND).encode(), NO_NAMES),
    "a title above the header": (lambda: b"Fruit,2024\n" + lines(*SOUND), "'label' has 1 text"),
    "one class": (lambda: lines(*(f"text {n},x" for n in range(20))), "has 1 class:"),
    "a class with one text": (lambda: after("a lonely text,plum"), "'plum' has 1 text: each class needs at least 5"),
    "100,000 labels": (lambda: lines(*(f"{n},label {n}" for n in range(100_000))), "column 'label' has 100,000"),
    "1,001 labels": (lambda: lines(*(f"text {n},label {n % 1001}" for n in range(5005))), "has 1,001 different labels"),
    "200,001 rows": (lambda: gzip.compress(lines(*(f"{n},{n % 2}" for n in range(200_001)))), "more than 200,000 rows"),
    "201 columns": (lambda: ",".join(f"c{n}" for n in range(201)).encode() + b"\n1" + b",1" * 200, "201 columns"),
    "very many cells": (
        lambda: gzip.compress(
            (",".join(f"c{n}" for n in range(150)) + "\n" + ("x" + ",y" * 149 + "\n") * 14_000).encode()
        ),
        "more than 2,000,000 cells",
    ),
    "a label that is missing": (lambda: after("a text,"), "Row 20 has a text but no label in 'label'"),
    "a label that is NaN": (lambda: after("a text,nan"), "Row 20 has a text but no label"),
    "a NaN in JSON": (lambda: more(b'{"text": "x", "label": NaN}'), "Row 19 has a text but no label"),
    "a null in JSON": (lambda: more(b'{"text": "x", "label": null}'), "Row 19 has a text but no label"),
    "a key that is missing": (lambda: more(b'{"text": "x"}'), "Row 19 has a text but no label"),
    "a NaN in Parquet": (
        lambda: parquet({"text": ["a"] * 20, "label": [0.0, 1.0] * 9 + [0.0, np.nan]}),
        "Row 20 has a text",
    ),
    "words and numbers": (lambda: after(*["a text,7"] * 5), "mix numbers and words such as 'apple'"),
    "words and numbers in JSON": (lambda: GOOD["jsonl"] + b'\n{"text": "x", "label": 7}' * 5, "mix numbers and words"),
    "a pair of texts": (
        lambda: separated(
            [(text, f"not {text}", what) for text, what in ROWS], ("premise", "hypothesis", "label")
        ).encode(),
        "'premise' and 'hypothesis' are a pair of texts .* single texts",
    ),
    "a pair of numbered texts": (
        lambda: separated([(text, f"not {text}", what) for text, what in ROWS], ("text_a", "text_b", "label")).encode(),
        "'text_a' and 'text_b' are a pair of texts",
    ),
    "a column for each label": (
        lambda: separated(
            [(f"a text {n}", n % 2, n % 3 // 2, n % 5 // 4) for n in range(60)], ("text", "toxic", "rude", "threat")
        ).encode(),
        "'toxic', 'rude', 'threat' could be the label: choose one",
    ),
    "a list of labels": (
        lambda: b'{"text": "a", "label": ["x", "y"]}\n' * 9,
        "'label' has lists or objects",
    ),
    "a list of labels in a parquet": (
        lambda: parquet({"text": [f"a {n}" for n in range(20)], "label": [["x", "y"][: n % 3] for n in range(20)]}),
        "column 'label' has lists or objects",
    ),
    "numbers to predict": (
        lambda: separated([(f"text {n}", 1 + n * 0.37 % 4) for n in range(60)], ("text", "score")).encode(),
        "'score' are 60 different numbers such as .*learns classes, not quantities",
    ),
    "years": (
        lambda: separated([(f"text {n}", 1900 + n * 7 % 90) for n in range(100)]).encode(),
        "learns classes, not quantities",
    ),
    "a class called null": (
        lambda: separated([(f"text {n}", ("yes", "no", "null")[n % 3]) for n in range(60)]).encode(),
        r"Row 4 has a text but no label in 'label' \(null stands for none\)",
    ),
    "texts to continue": (
        lambda: b"Once upon a time.\nThere was a cat.\n" * 9,
        "plain text without labels: LoRA Lab learns to classify",
    ),
    "a network": (
        lambda: zipped(("config.json", b"{}"), ("model.safetensors", b"x")),
        "a network or an adapter, not data: the Library has a tab for each",
    ),
    "a list for a text": (lambda: b'{"text": ["a"], "label": "x"}\n' * 9, "'text' has lists or objects"),
    "an object for a label": (lambda: b'{"text": "a", "label": {"x": 1}}\n' * 9, "'label' has lists or objects"),
    "no texts": (lambda: lines(*(f",{label}" for _, label in ROWS)), "which column has the|no texts"),
    "a label without a name": (lambda: after(*['a text,"b\u202e"'] * 5), NO_CLASS),
    "a long label": (lambda: after(*[f"a text,{'b' * 65}"] * 5), NO_CLASS),
    "a cell too many": (lambda: after("hello, world,fig"), "Row 20 has 3 cells, but the first row names 2 columns"),
    "a cell too few": (lambda: after("hello"), "Row 20 has 1 cell,"),
    "text after a quote": (lambda: after('"hello" you,fig'), "Row 20 has a quote that does not end, or text"),
    "a quote without end": (lambda: after('"hello,fig', "more,fig"), "Row 20 has a quote that"),
    "1 MB in one cell": (lambda: after("x" * 10**6 + ",fig"), "Row 20 has a text of 1,000,000"),
    "100,001 characters": (lambda: after("x" * 100_001 + ",fig"), "Row 20 has a text of 100,001 characters"),
    "1 MB in one key": (
        lambda: GOOD["jsonl"] + b'\n{"text": "' + b"x" * 10**6 + b'", "label": "fig"}',
        "text of 1,000,000",
    ),
    "1 MB in a Parquet": (lambda: parquet_rows([*ROWS, ("x" * 10**6, "fig")]), "Row 19 has a text of 1,000,000"),
    "8 MB in one line": (lambda: lines("x" * 2**23), "Row 2 has 1 cell"),
    "very many lines": (lambda: gzip.compress(b"\n" * 2_000_100), "is empty"),
    "zeros": (lambda: bytes(1000), OTHER),
    "a null": (lambda: after("a\0b,fig"), OTHER),
    "noise": (lambda: np.random.default_rng(0).bytes(5000), OTHER),
    "executable": (lambda: b"\x7fELF\x02\x01\x01" + bytes(90) + b"\xff" * 9, OTHER),
    "pickle": (lambda: pickle.dumps([1]), "pickle, which can run code"),
    "npy": (lambda: b"\x93NUMPY\x01\x00" + bytes(90), "is a single array"),
    "png": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(90), "is a single image"),
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
    "zip bomb": (lambda: zipped(("a.csv", bytes(10**8))), "unpacks to more than 64 MiB"),
    "zip of two": (lambda: zipped(("a.csv", CSV), ("b.csv", CSV)), "has 2 files"),
    "zip of 120 images": (lambda: zipped(*((f"a/{n}.PNG", b"x") for n in range(120))), "Images are uploaded as Images"),
    "zip of none": (lambda: zipped(), "has 0 files"),
    "zip of a gzip": (lambda: zipped(("a.csv.gz", gzip.compress(CSV))), "packed twice"),
    "zip damaged": (lambda: zipped(("a.csv", CSV), how=zipfile.ZIP_STORED)[:-30], "not a zip file, or it is damaged"),
    "a JSON list": (lambda: json.dumps([{"text": "a", "label": "b"}] * 9).encode(), "has 1 class:"),
    "half a JSON list": (
        lambda: b'[{"text": "a", "label": "b"},\n{"text"',
        "one JSON list but cannot be read in line 2",
    ),
    "a JSON list of numbers": (lambda: b"[1, 2]", "Row 1 is not a JSON object"),
    # Their ends are no JSON and no CSV, so that who says this has not read as far.
    "JSON lines of nothing": (lambda: b"{}\n" * 200_002 + b"!", "more than 200,000 rows"),
    "CSV lines of nothing": (lambda: CSV + b"\n" * 200_002, "more than 200,000 rows"),
    "pretty JSON": (lambda: json.dumps({"text": "a", "label": "b"}, indent=1).encode(), "Row 1 is not a JSON object"),
    "a number among JSON": (lambda: GOOD["jsonl"] + b"\n7", "Row 19 is not a JSON object"),
    "half a line of JSON": (lambda: GOOD["jsonl"] + b'\n{"text": "x', NO_OBJECT),
    "deep JSON": (lambda: b'{"text":' * 100_000, "Row 1 is not a JSON object"),
    "a number of many digits": (lambda: GOOD["jsonl"] + b'\n{"text": 1' + b"0" * 5000 + b"}", NO_OBJECT),
    "parquet cut": (lambda: PARQUET[:-100], DAMAGED),
    "parquet without its start": (lambda: b"PAR1" + PARQUET[200:], DAMAGED),
    "parquet beginning only": (lambda: b"PAR1", DAMAGED),
    "parquet of lists": (lambda: parquet({"a": [[1], [2]], "b": [["x"], ["y"]]}), "has lists or objects"),
    "parquet of one column": (
        lambda: parquet({"text": ["a", "b"], "b": [["x"], ["y"]]}),
        "column .b. has lists or objects",
    ),
    "parquet without rows": (
        lambda: parquet({"text": pa.array([], "string"), "label": pa.array([], "string")}),
        "no rows",
    ),
    "parquet of 300,000 rows": (
        lambda: parquet({"text": ["a"] * 300_000, "label": [1] * 300_000}),
        "more than 200,000 rows",
    ),
    "parquet bomb by reference": (lambda: one_long_text(190_000, 90_000), BOMB),
    "parquet bomb by compression": (
        lambda: parquet_rows([("x" * 10**8, "a"), ("y", "b")], compression="zstd"),
        f"{BOMB}|{DAMAGED}",
    ),
    "parquet bomb by prefixes": (
        lambda: parquet_rows(
            [("x" * 90_000, "a")] * 2000, use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY"}
        ),
        BOMB,
    ),
}

NESTED = b'{"text": "a", "label": "b", "more": [' + b"[]," * 20_000 + b"1]}\n"

SMALL: dict[str, tuple[Make, str, float]] = {
    "nested values": (lambda: gzip.compress(NESTED * 400), "has 1 class:", 1.16),  # cost 1.4 GiB while they were kept
    "1,200,000 keys": (lambda: b"{" + b",".join(b'"%d":1' % n for n in range(1_200_000)) + b"}", "1,200,000 col", 26.3),
    "brackets": (lambda: gzip.compress(b'{"text": ' + b"[" * 2**25), "Row 1 is not a JSON object", 1.06),
    "rows beyond those claimed": (lambda: claiming(3_000_000, 20_000), DAMAGED, 8.0),
    # A second; it was many minutes while all that follows was copied for each member.
    "a gzip of empty members": (lambda: gzip.compress(b"") * 500_000, "is empty", 64.0),
}
"""Those that unpack to much, which never reaches this process, and MiB that may be allocated in it."""

LONG = (
    *("100,000 labels", "parquet bomb by compression", "200,001 rows", "gzip bomb", "parquet bomb by prefixes"),
    *("1,200,000 keys", "nested values", "a gzip of empty members"),
)


def bad_files() -> list[BadFile]:
    few = [
        BadFile("texts", name, make, says, allocates=int(mib * 2**20), is_hostile=True, is_long=name in LONG)
        for name, (make, says, mib) in SMALL.items()
    ]
    return marked(of_kind("texts", TEXTS), LONG[:5], is_long=True) + few
