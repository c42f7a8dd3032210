"""Bad files of passages for language models: prompts, instructions, conversations and plain texts."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pyarrow as pa

from tests.bad_files.catalog import BadFile, Table, marked, of_kind
from tests.data.passage_files import ROWS, chat, written
from tests.data.text_files import PARQUET, parquet, separated

MESSAGE = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def more(rows: str, *odd: Any) -> bytes:
    """Sound JSON lines of a form, and odd ones."""
    return b"\n".join([written(rows, "jsonl"), *(json.dumps(row).encode() for row in odd)])


def long_conversation(rows: int, length: int) -> bytes:
    """A small file of one long message that is repeated in every row, as a reference to a dictionary."""
    contents = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * length]))
    roles = pa.array(["assistant"] * rows)
    messages = pa.StructArray.from_arrays([roles, contents.dictionary_decode()], ["role", "content"])
    return parquet({"messages": pa.ListArray.from_arrays(pa.array(range(rows + 1), pa.int32()), messages)})


PASSAGES: Table = {
    "empty": (lambda: b"", "is empty"),
    "blank lines": (lambda: b"\n \n\t\n" * 99, "is empty"),
    "no completion": (lambda: more("prompts", {"prompt": "x"}), "Row 21 has a prompt but no completion"),
    "a null for a completion": (lambda: more("prompts", {"prompt": "x", "completion": None}), "but no completion"),
    "a list for a prompt": (lambda: more("prompts", {"prompt": ["x"], "completion": "y"}), "in 'prompt', not a text"),
    "no output": (lambda: more("instructions", {"instruction": "x", "output": " "}), "Row 21 has no output"),
    "no messages": (lambda: more("messages", {"messages": []}), "a conversation without messages"),
    "a question alone": (lambda: more("messages", {"messages": chat("x")}), "the assistant says nothing"),
    "a role that is none": (
        lambda: more("messages", {"messages": [{"role": "\u202e" * 50, "content": "x"}]}),
        "a message of the role",
    ),
    "a call of a tool": (
        lambda: more("messages", {"messages": [{"role": "tool", "content": "x"}]}),
        "of the role 'tool': roles are system, user and assistant",
    ),
    "a picture in a message": (
        lambda: more("messages", {"messages": [{"role": "user", "content": [{"type": "image", "image": "x"}]}]}),
        "a message that is no text, number 1",
    ),
    "a text for messages": (lambda: more("messages", {"messages": "hello"}), "a text in the place of messages"),
    "messages that are written as Python has them": (
        lambda: separated([(n, row["messages"]) for n, row in enumerate(ROWS["messages"])], ("n", "messages")).encode(),
        "Row 2 has messages that are not valid JSON: save the rows as JSON lines",
    ),
    "100,001 messages": (lambda: more("messages", {"messages": chat("a") * 100_001}), "conversation of 100,001 mess"),
    "a very long answer": (lambda: more("messages", {"messages": chat("a", "x" * 10**6)}), "of 1,000,001 characters"),
    "a very long prompt": (lambda: more("prompts", {"prompt": "x" * 10**6, "completion": "y"}), "text of 1,000,000"),
    "four passages": (lambda: b"one\n\ntwo\n\nthree\n\nfour", "part has 3 passages: it needs at least 4"),
    "one word": (lambda: b"hello", "part has"),
    "200,001 passages": (lambda: gzip.compress(b"a\n\n" * 200_001), "more than 200,000 rows"),
    "messages of brackets": (lambda: b'{"messages": ' + b"[" * 10**6, "is not a JSON object"),
    "a list of brackets": (lambda: b"[" * 10**6, "one JSON list but cannot be read"),
    "a list that ends": (lambda: written("messages", "one list")[:-50], "one JSON list but cannot be read in line"),
    "a list of lists": (lambda: json.dumps([[1], [2]]).encode(), "Row 1 is not a JSON object"),
    "very many messages": (
        lambda: gzip.compress(b'{"messages": [' + b'{"role": "user"},' * 3_000_000 + b"{}]}"),
        "a conversation of 3,000,001 messages|takes more than",
    ),
    "very many lists": (
        lambda: gzip.compress(b"[" + b"[]," * 20_000_000 + b"[]]"),
        "takes more than|is not a JSON object",
    ),
    "a bomb of conversations": (lambda: long_conversation(2_000, 40_000), "unpack to more than 64 MiB"),
    "no conversation in a Parquet": (
        lambda: parquet({"messages": pa.array([[]] * 20, MESSAGE)}),
        "Row 1 has a conversation without messages",
    ),
    "half a Parquet": (lambda: PARQUET[:-100], "damaged or incomplete"),
    "a pickle": (lambda: b"\x80\x04N.", "pickle, which can run code"),
}


def bad_files() -> list[BadFile]:
    return marked(of_kind("passages", PASSAGES), ("very many lists",), is_long=True)
