"""What is wrong with a config or a tokenizer is said of it before anything is built, and what is left out is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Theirs
from tokenizers import models
from transformers import AutoTokenizer

from core.errors import NetworkFileError
from core.networks import tokenizer
from core.networks.library.networks import Networks
from core.networks.pretrained import pretrained_files
from core.settings import Settings
from tests.bad_files.sentences import refusal
from tests.networks.tiny import SPECIAL, VOCABULARY, save_tiny


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "tiny")


@pytest.fixture
def networks(settings: Settings) -> Networks:
    return Networks(settings)


def put(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("num_hidden_layers", 2.5), ("hidden_size", "16"), ("vocab_size", None), ("layer_norm_eps", [1])),
        *(("use_cache", "yes"), ("pad_token_id", []), ("dtype", "hub"), ("id2label", 3), ("num_labels", "two")),
    ],
)
def test_a_field_that_transformers_does_not_read_is_one_sentence_which_names_it_where_transformers_does(
    networks: Networks, tiny: Path, field: str, value: object
) -> None:
    put(tiny / "config.json", **{field: value})
    said = refusal(NetworkFileError, networks.import_folder, tiny)
    assert "has a config.json that cannot be read (" in said
    assert field in ("dtype", "id2label", "num_labels") or f"'{field}'" in said


@pytest.mark.parametrize("id_of", [lambda number: number, lambda number: 4], ids=["ids beyond", "one id for all"])
def test_no_tokenizer_is_built_that_knows_more_tokens_than_the_network(
    networks: Networks, tiny: Path, monkeypatch: pytest.MonkeyPatch, id_of: Any
) -> None:
    form = json.loads((tiny / "tokenizer.json").read_text())
    form["model"]["vocab"] |= {f"more{number}": id_of(number) for number in range(20, 9_000)}
    put(tiny / "tokenizer.json", model=form["model"])

    def built(form: str) -> object:
        raise AssertionError("the tokenizer was built")

    monkeypatch.setattr(tokenizer.tokenizers, "Tokenizer", type("Never", (), {"from_str": staticmethod(built)}))
    with pytest.raises(NetworkFileError, match=rf"a tokenizer of 9,000 tokens .* for {VOCABULARY} tokens"):
        networks.import_folder(tiny)


def test_a_decoder_is_no_part_of_what_reads_texts(networks: Networks, tiny: Path) -> None:
    put(tiny / "tokenizer.json", decoder={"type": "Replace", "pattern": {"Regex": r"[ab]*[ab]*c"}, "content": ""})
    opened = tokenizer.opened_tokenizer(tiny)
    assert json.loads(opened.form)["decoder"] is None
    assert networks.import_folder(tiny).vocabulary == opened.size


@pytest.fixture
def dropping(tiny: Path) -> Path:
    """A network whose tokenizer leaves out merges at random."""
    letters = dict.fromkeys((*SPECIAL, "a", "b", "ab", "abab", "o"))
    made = models.BPE({each: number for number, each in enumerate(letters)}, [("a", "b"), ("ab", "ab")], dropout=0.5)
    put(tiny / "tokenizer.json", model=json.loads(Theirs(made).to_str())["model"])
    return tiny


def test_a_text_is_read_alike_each_time_and_the_card_says_what_was_left_out_for_it(
    networks: Networks, dropping: Path
) -> None:
    theirs = AutoTokenizer.from_pretrained(dropping)
    assert len({tuple(theirs("abab" * 9)["input_ids"]) for _ in range(12)}) > 1
    card = networks.import_folder(dropping)
    assert card.tokenizer == "BPE without its dropout of 0.5"
    ours = networks.tokenizer(card.digest)
    expected = [1, *[7] * 9, 2]
    assert ours.encode(["abab" * 9] * 12) == [expected] * 12


def test_what_is_trained_on_it_is_exported_with_a_tokenizer_that_reads_as_in_training(
    networks: Networks, dropping: Path, tmp_path: Path
) -> None:
    card = networks.import_folder(dropping)
    network = networks.start(networks.spec(card.digest), 0)
    out = tmp_path / "out"
    out.mkdir()
    for name, content in pretrained_files(network, networks.folder(card.digest)):
        (out / name).write_bytes(content)
    theirs = AutoTokenizer.from_pretrained(out)
    assert [theirs("abab" * 9)["input_ids"] for _ in range(12)] == [[1, *[7] * 9, 2]] * 12
