"""A trained or merged network as a folder that transformers reads as it reads any other."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from core.errors import NetworkFileError
from core.files import sha256_of
from core.methods.adapted import merged_copy
from core.methods.dora import DoRASpec
from core.methods.lora import LoRASpec
from core.networks.file import fingerprint, read_network
from core.networks.perceptron import PerceptronSpec
from core.networks.pretrained import pretrained_files, write_pretrained
from core.networks.tokenizer import Tokenizer
from tests.adapter.classifiers import ARCHITECTURES, Sample, logits, sample
from tests.adapter.samples import assert_close

LABELS = ("cat", "dog", 'a "quoted"\nname')

LENGTH = 9
"""Tokens after which training cut texts off."""

TEXTS = ("The red cat sat on the very small mat and ran far", "a dog", "not a cat, not a dog!")


def written(path: Path, one: Sample, network: torch.nn.Module, labels: tuple[str, ...] = LABELS) -> Path:
    """The unpacked folder."""
    digest = write_pretrained(path / "merged.zip", network, one.folder, labels, LENGTH)
    assert digest == sha256_of(path / "merged.zip")
    with zipfile.ZipFile(path / "merged.zip") as archive:
        archive.extractall(path / "merged")
    return path / "merged"


@pytest.mark.parametrize(("architecture", "method"), [*zip(ARCHITECTURES, cycle((LoRASpec, DoRASpec)), strict=False)])
def test_transformers_computes_what_the_network_computes(tmp_path: Path, architecture: str, method) -> None:
    one = sample(architecture)
    model = one.trained(method.of(rank=3, alpha=5))
    merged = merged_copy(model)
    folder = written(tmp_path, one, merged)
    loaded, report = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    assert_close(logits(loaded, one.probe), logits(merged, one.probe), 1e-6)
    assert loaded.config.id2label == dict(enumerate(LABELS))
    assert loaded.config.label2id == {name: label for label, name in enumerate(LABELS)}
    assert loaded.config.pad_token_id == one.spec.padding
    ours = read_network(folder / "model.safetensors")
    assert fingerprint(ours.state_dict()) == fingerprint(merged.state_dict())
    assert torch.equal(logits(ours, one.probe), logits(merged, one.probe))


def without_padding(folder: Path) -> None:
    """Make a folder one of those whose tokenizer says nothing of padding or lengths, as that of GPT-2."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            values = json.loads((folder / name).read_text())
            kept = {key: value for key, value in values.items() if key not in ("pad_token", "model_max_length")}
            (folder / name).write_text(json.dumps(kept | ({"padding_side": "left"} if "config" in name else {})))


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "qwen2"])
def test_its_tokenizer_pads_and_cuts_as_in_training_though_that_of_the_network_does_not(
    tmp_path: Path, architecture: str
) -> None:
    one = sample(architecture)
    plain = replace(one, folder=Path(shutil.copytree(one.folder, tmp_path / "plain")))
    without_padding(plain.folder)
    assert AutoTokenizer.from_pretrained(plain.folder).model_max_length > 1e20
    theirs = AutoTokenizer.from_pretrained(written(tmp_path, plain, one.base))
    found = theirs(list(TEXTS), padding=True, truncation=True)
    expected = Tokenizer("", one.folder).encode(TEXTS, LENGTH)
    width = max(map(len, expected))
    assert width == LENGTH
    assert found["input_ids"] == [[*ids, *[one.spec.padding] * (width - len(ids))] for ids in expected]
    assert [sum(row) for row in found["attention_mask"]] == list(map(len, expected))


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    one = sample("roberta")
    digests = {write_pretrained(tmp_path / f"{i}.zip", one.base, one.folder, LABELS) for i in range(3)}
    assert len(digests) == 1


@pytest.mark.parametrize("labels", [(), ("cat",), (*LABELS, "of another dataset")])
def test_classes_without_a_name_have_a_number(labels: tuple[str, ...]) -> None:
    one = sample("bert")
    config = json.loads(dict(pretrained_files(one.base, one.folder, labels))["config.json"])
    names = [*labels, *(f"LABEL_{label}" for label in range(len(labels), 3))][:3]
    assert config["id2label"] == {str(label): name for label, name in enumerate(names)}


def test_what_cannot_be_saved_leaves_nothing_behind(tmp_path: Path) -> None:
    one, path = sample("bert"), tmp_path / "out" / "merged.zip"
    with pytest.raises(NetworkFileError, match="Only transformers can be saved for Hugging Face, not a multilayer"):
        write_pretrained(path, PerceptronSpec().build(0), one.folder)
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(NetworkFileError, match="There is no tokenizer in"):
            write_pretrained(path, one.base, folder)
    assert not list((tmp_path / "out").iterdir())
