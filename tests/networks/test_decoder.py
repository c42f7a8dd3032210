"""Language models: a decoder's weights and tokenizer are what transformers reads, and imported ones must be causal."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from core.errors import NetworkFileError, SpecError
from core.methods.linear import count_parameters
from core.networks.decoder import MAX_PARAMETERS, DecoderSpec
from core.networks.file import read_network, write_network
from core.networks.library.networks import Networks
from core.networks.pretrained import pretrained_files
from core.networks.scoring import last_logits
from core.networks.tokenizer import ByteTokenizer
from core.reader import reading_here
from core.settings import Settings
from core.tasks.views.language import scored_examples
from tests.networks.tiny import save_tiny
from tests.training.tiny_passages import CONFIGS, network_of, passages, tokenizer_folder

SMALL = DecoderSpec.of(width=16, blocks=2, heads=2, feed_forward=24)
TEXTS = ["hello", "naïve 日本 🙂\n\t x", "", " lead and trail ", "<s> </s>"]


@pytest.mark.parametrize("spec", [SMALL, DecoderSpec.of()])
def test_parameters_are_counted_with_the_embedding_once(spec: DecoderSpec) -> None:
    assert spec.parameters == count_parameters(spec.build()) <= MAX_PARAMETERS


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecError, match="at most 1,000,000 weights"):
        DecoderSpec.of(width=512, blocks=16)
    with pytest.raises(SpecError, match="multiple of twice the heads"):
        DecoderSpec.of(width=20, heads=4)


def test_transformers_reads_a_decoder_and_its_tokenizer_from_a_folder(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = SMALL.build(3)
    for name, content in pretrained_files(network, None, length=16):
        (tmp_path / name).write_bytes(content)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer(TEXTS[:-1], truncation=True)["input_ids"] == ByteTokenizer().encode(TEXTS[:-1], 16)
    assert tokenizer.decode(tokenizer(TEXTS[1])["input_ids"], skip_special_tokens=True) == TEXTS[1]
    other = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    batch = scored_examples(passages(8), ByteTokenizer(), 60).batch(slice(None))
    with torch.no_grad():
        assert torch.equal(last_logits(network, batch), last_logits(other, batch))


@pytest.mark.parametrize("is_twice", [False, True], ids=["once", "twice, as earlier versions wrote it"])
def test_its_file_has_tied_weights_once_and_is_read_back_with_them(is_twice: bool, tmp_path: Path) -> None:
    network, path = SMALL.build(0), tmp_path / "network.safetensors"
    write_network(path, network)
    with safe_open(path, "pt") as file:
        assert [{*network.state_dict()} - {*file.keys()}] == [{"lm_head.weight"}]
        assert path.stat().st_size < 1.1 * 4 * sum(each.numel() for each in network.parameters()) + 10_000
        if is_twice:
            save_file({name: each.clone() for name, each in network.state_dict().items()}, path, file.metadata())
    found = read_network(path)
    assert found.get_output_embeddings().weight is found.get_input_embeddings().weight
    assert all(torch.equal(tensor, found.state_dict()[name]) for name, tensor in network.state_dict().items())


def imported(folder: Path, home: Path) -> tuple[Networks, str]:
    networks = Networks(Settings(home=home))
    with reading_here():
        return networks, networks.import_folder(folder).digest


@pytest.mark.parametrize("name", ["llama", "llama tied", "gpt2"])
def test_the_same_files_are_a_language_model_and_a_classifier(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    own = network_of(name, dtype=torch.float32)
    own.save_pretrained(folder)
    shutil.copytree(tokenizer_folder(), folder, dirs_exist_ok=True)
    networks, digest = imported(folder, tmp_path / "home")
    network = networks.start(networks.spec(digest, learns="language"), 0)
    assert networks.start(networks.spec(digest, 3), 0).config.num_labels == 3
    with reading_here():
        tokenizer = networks.tokenizer(digest)
    batch = scored_examples(passages(8), tokenizer, 24).batch(slice(None))
    with torch.no_grad():
        assert torch.equal(last_logits(network, batch), last_logits(own.eval(), batch))


def test_networks_that_do_not_continue_texts_are_refused_by_name(tmp_path: Path) -> None:
    networks, digest = imported(save_tiny(tmp_path / "bert"), tmp_path / "home")
    with pytest.raises(SpecError, match="gpt2, llama, qwen2, qwen3, not 'bert'"):
        networks.spec(digest, learns="language")
    networks, digest = imported(save_tiny(tmp_path / "llama", "llama"), tmp_path / "home")
    with pytest.raises((SpecError, NetworkFileError), match=r"no weights for lm_head.weight: choose one"):
        networks.start(networks.spec(digest, learns="language"), 0)


def test_every_tested_architecture_is_in_the_parity() -> None:
    from core.networks.causal import TESTED

    assert {config["model_type"] for config in CONFIGS.values()} == set(TESTED)
