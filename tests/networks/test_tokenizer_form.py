"""Tokenizers of strangers: what transformers reads is what reads texts here, and none can take long or make much."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

from core.errors import NetworkFileError
from core.networks.library.networks import Networks
from core.networks.tokenizer import Tokenizer as Own
from core.networks.tokenizer_form import MAX_REPEATS, check_form
from core.settings import Settings
from tests.bad_files.tokenizers import form, replacing, sequence, split
from tests.networks.tiny import OTHERS, SIZES, save_tiny

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


@pytest.mark.parametrize("name", PUBLISHED)
def test_expressions_of_published_tokenizers_are_taken_and_read(name: str) -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PUBLISHED[name]), "isolated")
    check_form(json.loads(tokenizer.to_str()))
    tokenizer.encode_batch(list(TEXTS))


def test_what_one_alternative_repeats_is_counted_in_groups_too() -> None:
    check_form(form(pre_tokenizer=split("|".join([r"a*b*"] * 20))))
    check_form(form(pre_tokenizer=split(f"(?:{r'a*|' * 20}c)d*")))
    with pytest.raises(NetworkFileError, match=f"more than {MAX_REPEATS} repetitions"):
        check_form(form(pre_tokenizer=split(r"(?:a*b*|c)d*")))


def test_a_tokenizer_with_a_part_of_every_kind_that_published_ones_have_is_taken() -> None:
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
    check_form(json.loads(made.to_str()))


@pytest.mark.parametrize("architecture", [*SIZES, *OTHERS])
def test_texts_are_read_as_transformers_reads_them(architecture: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "tiny", architecture)
    theirs, ours = AutoTokenizer.from_pretrained(folder), Own("", folder)
    assert [ids or [ours.padding] for ids in theirs(list(TEXTS))["input_ids"]] == ours.encode(TEXTS)


def test_a_network_of_an_old_home_is_checked_when_it_is_first_used(settings: Settings, tmp_path: Path) -> None:
    networks = Networks(settings)
    digest = networks.import_folder(save_tiny(tmp_path / "tiny")).digest
    path = networks.folder(digest) / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": sequence(*[replacing("a", "aa")] * 20)}))
    with pytest.raises(NetworkFileError, match="may make texts more than 128 times as long"):
        networks.tokenizer(digest)
