"""What every family gets: initial weights, batches by name, files that say what they hold, and its part of a card."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from core.adapter.card import Card, render
from core.adapter.certificate import Certificate
from core.errors import NetworkFileError, SpecError
from core.methods.adapted import base_copy, merged_copy
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.networks.file import fingerprint, network_bytes, read_network, write_network
from core.networks.forward import forward
from core.networks.network import METADATA, initialize
from core.networks.perceptron import MultilayerPerceptron, PerceptronSpec
from core.networks.registry import FAMILIES, known_spec, spec_of
from core.training.evaluation import batch_of
from tests.networks.convolution import ConvolutionSpec, plain_network
from tests.registered import with_entry

SPEC = ConvolutionSpec.of(num_filters=3, num_hidden=7, dropout=0.5)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    with with_entry(FAMILIES, ConvolutionSpec):
        yield


def used() -> nn.Module:
    """A network whose statistics have moved."""
    network = SPEC.build(1)
    network.train()(torch.rand(40, 784, generator=torch.Generator().manual_seed(0)))
    return network.eval()


def changed(path: Path, tensors: dict[str, Tensor | None], **metadata: str) -> Path:
    """A file of that network with other tensors, or other metadata."""
    state = used().state_dict() | tensors
    about = {"format": "pt", METADATA: SPEC.to_json()} | metadata
    path.write_bytes(safetensors.torch.save({k: v for k, v in state.items() if v is not None}, about))
    return path


# Initial weights


def test_weights_are_drawn_by_seed_alone_within_the_bounds_of_torch() -> None:
    torch.manual_seed(1)
    one, state = SPEC.build(5), torch.get_rng_state()
    torch.manual_seed(2)
    assert fingerprint(one.state_dict()) == fingerprint(SPEC.build(5).state_dict())
    assert fingerprint(one.state_dict()) != fingerprint(SPEC.build(6).state_dict())
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    wide = ConvolutionSpec.of(num_filters=64).build(0).state_dict()
    for seed in range(3):
        torch.manual_seed(seed)
        theirs = plain_network(64).state_dict()
        assert wide.keys() == theirs.keys()
        for name, tensor in wide.items():
            if "norm" in name:
                assert torch.equal(tensor, theirs[name]), name
            elif name.endswith("weight"):
                assert tensor.abs().max() == pytest.approx(float(theirs[name].abs().max()), rel=0.01), name
                assert tensor.std() == pytest.approx(float(theirs[name].std()), rel=0.1), name
    assert {p.device.type for p in SPEC.build().parameters()} == {"meta"}


@pytest.mark.parametrize("layer", [nn.Embedding(3, 4), nn.PReLU(), nn.LSTM(2, 2)], ids=str)
def test_a_layer_whose_initial_weights_are_not_known_is_an_error(layer: nn.Module) -> None:
    with pytest.raises(TypeError, match="no initial weights for"):
        initialize(nn.Sequential(layer), torch.Generator())


# Batches


def test_a_network_takes_the_only_tensor_of_a_batch_or_several_by_their_names() -> None:
    class Two(nn.Module):
        def forward(self, second: Tensor, first: Tensor) -> Tensor:
            return first - 2 * second

    one, two = torch.rand(3), torch.rand(3)
    assert torch.equal(forward(Two(), {"first": one, "second": two}), one - 2 * two)
    assert torch.equal(forward(lambda x: 3 * x, {"whatever": one}), 3 * one)


def test_inputs_of_another_shape_kind_or_value_are_not_read() -> None:
    pixels = torch.rand(4, 784)
    assert SPEC.can_read({"pixels": pixels})
    for other in (pixels[:0], pixels[0], pixels[:, 1:], pixels.long(), pixels / 0):
        assert not SPEC.can_read({"pixels": other})
    assert not SPEC.can_read({"images": pixels})
    assert not SPEC.can_read({"pixels": pixels, "more": pixels})


def test_a_network_carries_its_spec_wherever_it_is_copied() -> None:
    network = used()
    adapted = add_lora(SPEC.build(1), LoRASpec.of(rank=2))
    for each in (network, base_copy(adapted), merged_copy(adapted), adapted):
        assert known_spec(each) == SPEC
        assert batch_of(each) == 1024
    assert spec_of(MultilayerPerceptron(5, 4, 3, 2)) == PerceptronSpec.of(
        num_features=5, num_hidden_1=4, num_hidden_2=3, num_classes=2
    )
    assert spec_of(MultilayerPerceptron(5000, 4, 3, 2)) is None
    assert spec_of(plain_network()) is None
    with pytest.raises(NetworkFileError, match="of no family"):
        known_spec(plain_network())


# Files


def test_it_comes_back_bit_for_bit_with_all_its_sizes_and_the_same_bytes(tmp_path: Path) -> None:
    network = used()
    write_network(tmp_path / "base.safetensors", network)
    found = read_network(tmp_path / "base.safetensors")
    assert known_spec(found) == SPEC
    assert fingerprint(found.state_dict()) == fingerprint(network.state_dict())
    assert found.get_submodule("dropout").p == 0.5
    rows = torch.rand(5, 784)
    assert torch.equal(found.eval()(rows), network(rows))
    assert {network_bytes(network) for _ in range(20)} == {(tmp_path / "base.safetensors").read_bytes()}
    assert network_bytes(found) == network_bytes(network)


def test_a_perceptron_file_has_nothing_but_its_tensors() -> None:
    content = network_bytes(PerceptronSpec.of().build(0))
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["__metadata__"] == {"format": "pt"}


NEWER = json.dumps({"schema": 2, "kind": "diffusion"})
FAULTS: dict[str, tuple[dict[str, Tensor | None], dict[str, str], str]] = {
    "of a newer version": ({}, {METADATA: NEWER}, "of the kind 'diffusion', which this version of LoRA Lab does"),
    "no JSON": ({}, {METADATA: "{"}, "is damaged"),
    "deep JSON": ({}, {METADATA: "[" * 100_000}, "is damaged"),
    "other sizes": ({}, {METADATA: SPEC.but(num_hidden=8).to_json()}, "is of another architecture: "),
    "sizes out of bounds": (
        {},
        {METADATA: SPEC.to_json().replace('"num_hidden": 7', '"num_hidden": 10000')},
        "sizes that LoRA Lab does not support: Hidden layer must be at most 4096",
    ),
    "a tensor missing": ({"norm.running_var": None}, {}, "it has no norm.running_var"),
    "a tensor too many": ({"conv.more": torch.zeros(2)}, {}, "conv.more has shape"),
    "NaN": ({"output.bias": torch.full((10,), torch.nan)}, {}, "output.bias has values that are not finite float32"),
    "a count that is no whole number": (
        {"norm.num_batches_tracked": torch.tensor(1.0)},
        {},
        "norm.num_batches_tracked has values that are not finite int64",
    ),
    "half precision": ({"conv.weight": torch.zeros(3, 1, 5, 5).half()}, {}, "not finite float32"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_with_a_fault_is_refused_in_one_sentence(tmp_path: Path, fault: str) -> None:
    tensors, metadata, sentence = FAULTS[fault]
    path = changed(tmp_path / "base.safetensors", tensors, **metadata)
    with pytest.raises(NetworkFileError, match=r"^base\.safetensors [^\n]{10,300}\.$") as caught:
        read_network(path)
    assert sentence in str(caught.value)


def test_a_file_larger_than_its_family_allows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = changed(tmp_path / "base.safetensors", {})
    monkeypatch.setattr(ConvolutionSpec, "max_bytes", path.stat().st_size)
    read_network(path)
    monkeypatch.setattr(ConvolutionSpec, "max_bytes", path.stat().st_size - 1)
    with pytest.raises(NetworkFileError, match="larger than any convolutional network"):
        read_network(path)


# Cards and tasks


def test_a_card_shows_how_to_build_it_from_torch_where_the_family_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = Certificate("f", "t", "c", 1, 2, {"hidden": 2}, 3, 0.0, 0.0, 0.0)
    card = Card("r", "b")
    assert "Load it with PEFT" in render(card, LoRASpec.of(), SPEC, certificate).decode()
    assert "OrderedDict" not in render(card, LoRASpec.of(), SPEC, certificate).decode()
    monkeypatch.setattr(ConvolutionSpec, "torch_code", "base = nn.Sequential(OrderedDict(flat=nn.Flatten()))")
    text = render(card, LoRASpec.of(), SPEC, certificate).decode()
    assert "from torch import nn\n\nbase = nn.Sequential(OrderedDict(flat=nn.Flatten()))\nbase.load_state_dict(" in text


def test_layers_and_sizes_are_told_without_weights() -> None:
    assert SPEC.linear_layers() == {"hidden": (7, 108), "output": (10, 7)}
    sizes = {"layers.0": (128, 784), "layers.2": (256, 128), "layers.4": (10, 256)}
    assert PerceptronSpec.of().linear_layers() == sizes
    assert PerceptronSpec.of().input_text == "a row of 784 pixels from 0 to 1"
    names: dict[str, nn.Module] = {}
    exec(PerceptronSpec.of().torch_code or "", {"nn": nn, "OrderedDict": OrderedDict}, names)
    names["base"].load_state_dict(PerceptronSpec.of().build(0).state_dict())


def test_a_task_is_learnt_only_if_its_examples_and_classes_fit() -> None:
    for spec in (SPEC, PerceptronSpec.of()):
        spec.check_fit("digits", {"pixels": (784,)}, (0, 9))
        with pytest.raises(SpecError, match="has labels up to 10"):
            spec.check_fit("digits", {"pixels": (784,)}, (0, 10))
        with pytest.raises(SpecError, match=r"reads pixels \(784\), but an example of texts has input_ids \(16\)"):
            spec.check_fit("texts", {"input_ids": (16,)}, (0, 1))
    with pytest.raises(SpecError, match="takes 784 pixels, but images of small have 64: choose 64 input features"):
        PerceptronSpec.of().check_fit("small", {"pixels": (64,)}, (0, 1))
