"""Bad tokenizers: some could take long or make much of a little text."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any

from tokenizers import Tokenizer, models

from tests.bad_files.catalog import BadFile, Table, marked, of_kind
from tests.bad_files.networks import TOKENIZER, changed, put, sound

UNKNOWN_EXPRESSIONS = (
    *(r"(a+)+$", r"[ab]*[ab]*c", r"(?~b)", r"(?x)\s+", r"(a+)\1", r"\p{L}+", "", " {2,}|x" * 400),
    *(r"\A +| +\z", r" +▁", r"\s+$"),
)
"""Expressions that no published tokenizer has, or that take a time that grows with the square of a text's length."""


def form(**parts: Any) -> dict[str, Any]:
    """A sound tokenizer's form with other parts."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    return {**json.loads(tokenizer.to_str()), **parts}


def split(expression: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def replacing(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def sequence(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(parts)}


def charsmap(table: bytes) -> dict[str, Any]:
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}


def template(count: int, repeats: int = 1) -> dict[str, Any]:
    single = [{"SpecialToken": {"id": "a", "type_id": 0}}, *[{"Sequence": {"id": "A", "type_id": 0}}] * repeats]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"a": {"id": "a", "ids": [0] * count, "tokens": ["a"] * count}},
    }


def words(*vocabulary: str, **more: Any) -> dict[str, Any]:
    return {"type": "WordLevel", "vocab": {word: number for number, word in enumerate(vocabulary)}, **more}


TWICE = sequence(*[replacing("l", "l" * 2**20)] * 2)
"""Replaces a letter by a megabyte, and each letter of these by another one."""

LONGER, UNKNOWN = "128 times as long", "does not know"

FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "two replacements by a megabyte": ({"normalizer": TWICE}, LONGER),
    "45 doublings": ({"normalizer": sequence(*[replacing("a", "aa")] * 45)}, "32 parts|128 times"),
    "eight doublings": ({"normalizer": sequence(*[replacing("a", "aa")] * 8)}, LONGER),
    "something for nothing": ({"normalizer": replacing("", "a")}, LONGER),
    "a megabyte for an expression": (
        {"normalizer": {"type": "Replace", "pattern": {"Regex": r"\n"}, "content": "a" * 2**20}},
        LONGER,
    ),
    "bytes of bytes": ({"normalizer": sequence(*[{"type": "ByteLevel"}] * 4)}, LONGER),
    "a table of long replacements": (
        {"normalizer": sequence(charsmap(bytes(4) + b"b" * 129 + b"\0"), {"type": "NFC"})},
        LONGER,
    ),
    "a prefix for each piece": ({"normalizer": sequence(*[{"type": "Prepend", "prepend": "x" * 64}] * 2)}, LONGER),
    "500,000 tokens for each text": ({"post_processor": template(500_000)}, "more than 256 tokens"),
    "each text a hundred times": ({"post_processor": template(1, 100)}, "repeats each text"),
    "an unknown normalizer": ({"normalizer": {"type": "Script", "code": "1"}}, UNKNOWN),
    "an unknown pre-tokenizer": ({"pre_tokenizer": {"type": "Model"}}, UNKNOWN),
    "an unknown post-processor": ({"post_processor": {"type": "Model"}}, UNKNOWN),
    "33 normalizers": ({"normalizer": sequence(*[{"type": "NFC"}] * 33)}, "more than 32 parts"),
    "long pieces": (
        {"model": {"type": "Unigram", "vocab": [["a" * number, 0.0] for number in range(1, 300)]}},
        "token of 299 characters",
    ),
    "two million tokens": ({"model": words(*map(str, range(2**20 + 1)))}, "more than 1,048,576 tokens"),
    "a long prefix": ({"normalizer": {"type": "Prepend", "prepend": "a" * 65}}, "more than 64 characters"),
    "a token of a megabyte": ({"model": words("a" * 2**20, unk_token="a")}, "token of 1,048,576"),
    "an added token of a megabyte": ({"added_tokens": [{"id": 2, "content": "a" * 2**20}]}, "added token of 1,048,576"),
    "3,000 added tokens of 4,000 characters": (
        {"added_tokens": [{"id": 2 + number, "content": f"{number:04000}"} for number in range(3000)]},
        "added tokens of 12,000,000 bytes in all, more than 1,048,576: choose another network",
    ),
    "added tokens that are short in characters alone": (
        {"added_tokens": [{"id": 2 + number, "content": "語" * 4000} for number in range(100)]},
        "added tokens of 1,200,000 bytes in all",
    ),
    "a large tree of pieces": (
        {"model": {"type": "Unigram", "vocab": [[f"{number:0250}", 0.0] for number in range(40_000)]}},
        "tokens of 10,000,000 characters in all, more than 8,388,608",
    ),
    "words of a million characters": (
        {"model": {"type": "WordPiece", "vocab": {"a": 0}, "max_input_chars_per_word": 10**6}},
        "more than 500 characters",
    ),
    "long subword prefixes": (
        {"model": {"type": "BPE", "vocab": {}, "merges": [], "continuing_subword_prefix": "#" * 999}},
        "more than 64 characters",
    ),
    **{
        f"{expression:.20} as {name}": ({part: {"type": kind} | more}, "regular expression")
        for expression in UNKNOWN_EXPRESSIONS
        for name, part, kind, more in (
            ("pre-tokenizer", "pre_tokenizer", "Split", split(expression)),
            ("one of two", "pre_tokenizer", "Sequence", {"pretokenizers": [split(expression)]}),
            ("normalizer", "normalizer", "Replace", {"pattern": {"Regex": expression}, "content": ""}),
        )
    },
}
"""Parts of a tokenizer, and a part of the sentence."""

READ: dict[str, dict[str, Any]] = {
    "a megabyte": {"normalizer": TWICE},
    "doublings": {"normalizer": sequence(*[replacing("a", "aa")] * 45)},
    "a template": {"post_processor": template(500_000)},
    "a table": {"normalizer": charsmap(b"\xff" * 1000)},
    "an expression": {"pre_tokenizer": split(UNKNOWN_EXPRESSIONS[0])},
    "an added token that is a number": {"added_tokens": [{"id": 0, "content": 7}]},
}
"""Parts that the library is given as well."""


def read_with(**parts: Any) -> bytes:
    return json.dumps(json.loads(sound()[TOKENIZER]) | parts).encode()


def deep() -> bytes:
    """Parts that are nested deeply, which ended the process."""
    levels = '{"type":"Sequence","normalizers":[' * 10_000 + '{"type":"NFC"}' + "]}" * 10_000
    return read_with(normalizer="here").replace(b'"here"', levels.encode())


def bad_files() -> list[BadFile]:
    forms: Table = {
        name: (lambda p=parts: json.dumps(form(**p)).encode(), says) for name, (parts, says) in FORMS.items()
    }
    read: Table = {name: (partial(read_with, **parts), "") for name, parts in READ.items()}
    read |= {"nested parts": (deep, "")}
    zips: Table = {
        f"tokenizer, {name}": (lambda m=make: changed(put(tokenizer_json=m())), "") for name, (make, _) in read.items()
    }
    networks = of_kind("network", zips, is_hostile=True)
    found = marked(of_kind("form", forms), ("two million tokens",), is_long=True)
    return found + of_kind("tokenizer", read, cpu=1.0) + networks
