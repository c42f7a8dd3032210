"""Tokenizers of strangers: what transformers reads is what reads texts here, and none can take long or make much."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from core.errors import NetworkFileError
from core.networks.library.networks import Networks
from core.networks.tokenizer import Tokenizer as Own
from core.networks.tokenizer_form import LINEAR, check_form
from core.settings import Settings
from tests.bad_files.tokenizers import replacing, sequence
from tests.networks.tiny import OTHERS, SIZES, save_tiny

TEXTS = (
    "The cat sat, on a mat: very small!",
    "",
    "été 日本 \N{GRINNING FACE}\n\t 0123456789   ``quoted'' don't",
    "a" * 300 + "  \N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}\u00ad",
)


def test_a_tokenizer_with_a_part_of_every_kind_that_published_ones_have_is_taken() -> None:
    made = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2, "[UNK]": 3}, [("a", "b")], unk_token="[UNK]"))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
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


@pytest.mark.parametrize("expression", LINEAR)
def test_a_tokenizer_whose_expression_takes_long_is_read_as_transformers_reads_it(
    expression: str, tmp_path: Path
) -> None:
    path = save_tiny(tmp_path / "tiny") / "tokenizer.json"
    replaced = {"type": "Replace", "pattern": {"Regex": expression}, "content": "mat"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": sequence(replaced)}))
    texts = ["  the cat  sat \n ", "   ", "cat  ▁ ▁the \n\n cat", " " * 5000 + "cat"]
    theirs = AutoTokenizer.from_pretrained(path.parent)(texts)["input_ids"]
    assert theirs == Own("", path.parent).encode(texts)
    assert theirs != AutoTokenizer.from_pretrained(save_tiny(tmp_path / "plain"))(texts)["input_ids"]


def test_a_network_of_an_old_home_is_checked_when_it_is_first_used(settings: Settings, tmp_path: Path) -> None:
    networks = Networks(settings)
    digest = networks.import_folder(save_tiny(tmp_path / "tiny")).digest
    path = networks.folder(digest) / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": sequence(*[replacing("a", "aa")] * 20)}))
    with pytest.raises(NetworkFileError, match="may make texts more than 128 times as long"):
        networks.tokenizer(digest)
