"""Tokenizers of strangers: what transformers reads is what reads texts here, and none can take long or make much."""

from __future__ import annotations

import base64
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

from core.errors import NetworkFileError
from core.networks.library.networks import Networks
from core.networks.tokenizer import Tokenizer as Own
from core.networks.tokenizer_form import MAX_REPEATS, check_form
from core.settings import Settings
from tests.networks.tiny import OTHERS, SIZES, save_tiny
from tests.soak.sentences import faults_of

TEXTS = (
    "The cat sat, on a mat: very small!",
    "",
    "été 日本 \N{GRINNING FACE}\n\t 0123456789   ``quoted'' don't",
    "a" * 300 + "  \N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}\u00ad",
)

PUBLISHED = {
    "GPT-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "Llama 3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+",
    "GPT-4o": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "DeepSeek V3": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
    r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "BLOOM": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "Falcon": r"[0-9][0-9][0-9]",
    "CLIP": r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    "Chinese": r"[一-龥\u3040-ゟ゠-ヿ]+",
    "T5": r" {2,}",
}
"""Expressions of published tokenizers."""

SLOW = (
    r"(a+)+$",
    r"(?:a*)*b",
    r"((a|b)+c?)+d",
    r"(a|a+){2,}b",
    r"(?<x>a+){5}",
    r"a*a*a*a*b",
    r"(a*)(a*)(a*)(a*)b",
    r"(?:a|a){18}[bc]",
    r"(?:a|b)+c",
    r"a+a+a+b",
    r"(?x)(?:a+#)\n)+",
    r"(a+)\1",
    r"(?<n>a)\k<n>",
    r"(?<n>a\g<n>?)",
    r"[[]a+)+(b",
    "x" * 2001,
)
"""Expressions that could take much longer than their texts are long, or that are not understood."""


def form(**parts: Any) -> dict[str, Any]:
    """A sound tokenizer's form with other parts."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    return {**json.loads(tokenizer.to_str()), **parts}


def split(expression: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


def replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def sequence(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(parts)}


def table(*replacements: str) -> dict[str, Any]:
    texts = b"".join(text.encode() + b"\0" for text in replacements)
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(bytes(4) + texts).decode()}


def template(count: int, repeats: int = 1) -> dict[str, Any]:
    single = [{"SpecialToken": {"id": "a", "type_id": 0}}, *[{"Sequence": {"id": "A", "type_id": 0}}] * repeats]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"a": {"id": "a", "ids": [0] * count, "tokens": ["a"] * count}},
    }


def deep(levels: int) -> str:
    return '{"type":"Sequence","normalizers":[' * levels + '{"type":"NFC"}' + "]}" * levels


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "two replacements by a megabyte": (
        {"normalizer": sequence(replace("l", "l" * 2**20), replace("l", "l" * 2**20))},
        "128 times as long",
    ),
    "45 doublings": ({"normalizer": sequence(*[replace("a", "aa")] * 45)}, "32 parts|128 times"),
    "eight doublings": ({"normalizer": sequence(*[replace("a", "aa")] * 8)}, "128 times as long"),
    "something for nothing": ({"normalizer": replace("", "a")}, "128 times as long"),
    "an expression for nothing": (
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "x*"}, "content": "a" * 128}},
        "128 times as long",
    ),
    "bytes of bytes": ({"normalizer": sequence(*[{"type": "ByteLevel"}] * 4)}, "128 times as long"),
    "a table of long replacements": ({"normalizer": sequence(table("b" * 129), {"type": "NFC"})}, "128 times as long"),
    "500,000 tokens for each text": ({"post_processor": template(500_000)}, "more than 256 tokens"),
    "each text a hundred times": ({"post_processor": template(1, 100)}, "repeats each text"),
    "an unknown normalizer": ({"normalizer": {"type": "Script", "code": "1"}}, "does not know"),
    "an unknown pre-tokenizer": ({"pre_tokenizer": {"type": "Model"}}, "does not know"),
    "an unknown post-processor": ({"post_processor": {"type": "Model"}}, "does not know"),
    "33 normalizers": ({"normalizer": sequence(*[{"type": "NFC"}] * 33)}, "more than 32 parts"),
    "a prefix for each piece": (
        {"normalizer": sequence(*[{"type": "Prepend", "prepend": "x" * 64}] * 2)},
        "128 times as long",
    ),
    "long pieces": (
        {"model": {"type": "Unigram", "vocab": [["a" * number, 0.0] for number in range(1, 300)]}},
        "token of 299 characters",
    ),
    "two million tokens": (
        {"model": {"type": "WordLevel", "vocab": {str(number): number for number in range(2**20 + 1)}}},
        "more than 1,048,576 tokens",
    ),
    "a long prefix": ({"normalizer": {"type": "Prepend", "prepend": "a" * 65}}, "more than 64 characters"),
    "a token of a megabyte": (
        {"model": {"type": "WordLevel", "vocab": {"a" * 2**20: 0}, "unk_token": "a"}},
        "token of 1,048,576",
    ),
    "an added token of a megabyte": (
        {"added_tokens": [{"id": 2, "content": "a" * 2**20}]},
        "added token of 1,048,576",
    ),
    "words of a million characters": (
        {"model": {"type": "WordPiece", "vocab": {"a": 0}, "max_input_chars_per_word": 10**6}},
        "more than 500 characters",
    ),
    "long subword prefixes": (
        {"model": {"type": "BPE", "vocab": {}, "merges": [], "continuing_subword_prefix": "#" * 999}},
        "more than 64 characters",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_form_that_could_make_much_of_a_little_text_is_refused(name: str) -> None:
    check_form(form())
    parts, sentence = HOSTILE[name]
    with pytest.raises(NetworkFileError, match=sentence) as caught:
        check_form(form(**parts))
    assert faults_of(str(caught.value)) == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_expressions_of_published_tokenizers_are_taken_and_read(name: str) -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PUBLISHED[name]), "isolated")
    check_form(json.loads(tokenizer.to_str()))
    tokenizer.encode_batch(list(TEXTS))


@pytest.mark.parametrize("expression", SLOW)
def test_expressions_that_could_take_long_are_refused(expression: str) -> None:
    for part in (split(expression), {"type": "Sequence", "pretokenizers": [split(expression)]}):
        with pytest.raises(NetworkFileError, match="regular expression"):
            check_form(form(pre_tokenizer=part))
    with pytest.raises(NetworkFileError, match="regular expression"):
        check_form(form(normalizer={"type": "Replace", "pattern": {"Regex": expression}, "content": ""}))


def test_what_one_alternative_repeats_is_counted_in_groups_too() -> None:
    check_form(form(pre_tokenizer=split("|".join([r"a*b*"] * 20))))
    check_form(form(pre_tokenizer=split(f"(?:{r'a*|' * 20}c)d*")))
    with pytest.raises(NetworkFileError, match=f"more than {MAX_REPEATS} repetitions"):
        check_form(form(pre_tokenizer=split(r"(?:a*b*|c)d*")))


def complete() -> Tokenizer:
    """A tokenizer with a part of every kind that published ones have."""
    made = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2, "[UNK]": 3}, [("a", "b")], unk_token="[UNK]"))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PUBLISHED["Llama 3"]), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.post_processor = processors.TemplateProcessing(
        single="a $A b", pair="a $A b $B:1 b:1", special_tokens=[("a", 0), ("b", 1)]
    )
    made.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    return made


def test_a_tokenizer_with_parts_of_many_kinds_is_taken() -> None:
    check_form(json.loads(complete().to_str()))


@pytest.mark.parametrize("architecture", [*SIZES, *OTHERS])
def test_texts_are_read_as_transformers_reads_them(architecture: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "tiny", architecture)
    theirs, ours = AutoTokenizer.from_pretrained(folder), Own("", folder)
    assert [ids or [ours.padding] for ids in theirs(list(TEXTS))["input_ids"]] == ours.encode(TEXTS)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("sound") / "tiny")


def with_parts(folder: Path, **parts: Any) -> Path:
    """Change parts of a folder's tokenizer."""
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))
    return folder


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": sequence(replace("l", "l" * 2**20), replace("l", "l" * 2**20))},
        {"normalizer": sequence(*[replace("a", "aa")] * 45)},
        {"post_processor": template(500_000)},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(b"\xff" * 1000).decode()}},
        {"pre_tokenizer": split(r"(a+)+$")},
        {"added_tokens": [{"id": 0, "content": 7}]},
    ],
    ids=["a megabyte", "doublings", "template", "table", "slow", "damaged"],
)
def test_a_hostile_tokenizer_neither_ends_nor_holds_up_the_process(
    parts: dict[str, Any], sound: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "changed"))
    with_parts(folder, **parts)
    refused_at_once(folder)


def test_parts_that_are_nested_deeply_do_not_end_the_process(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "changed"))
    values = json.loads((folder / "tokenizer.json").read_text()) | {"normalizer": "here"}
    (folder / "tokenizer.json").write_text(json.dumps(values).replace('"here"', deep(10_000)))
    refused_at_once(folder)


def refused_at_once(folder: Path) -> None:
    start = time.process_time()
    with pytest.raises(NetworkFileError) as caught:
        Own("", folder)
    assert faults_of(str(caught.value)) == []
    assert time.process_time() - start < 1


def test_a_network_of_an_old_home_is_checked_when_it_is_first_used(settings: Settings, sound: Path) -> None:
    networks = Networks(settings)
    digest = networks.bring_folder(sound).digest
    with_parts(networks.folder(digest), normalizer=sequence(*[replace("a", "aa")] * 20))
    with pytest.raises(NetworkFileError, match="may make texts more than 128 times as long"):
        networks.tokenizer(digest)
