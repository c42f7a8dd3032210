"""Networks as ONNX files: onnxruntime computes what torch computes, for batches of any size and texts of any length."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from core.errors import NetworkFileError
from core.methods.adapted import merged_copy
from core.methods.dora import DoRASpec
from core.methods.lora import LoRASpec
from core.networks.forward import forward
from core.networks.onnx_file import OPSET, OnnxNetwork, onnx_bytes
from core.networks.perceptron import PerceptronSpec
from tests.adapter.classifiers import ARCHITECTURES, sample
from tests.adapter.samples import assert_close
from tests.conftest import some_of


def test_a_perceptron_takes_any_number_of_images() -> None:
    network = PerceptronSpec.of(num_hidden_1=16, num_hidden_2=8).build(0)
    pixels = torch.rand(300, 784)
    found = OnnxNetwork(onnx_bytes(network, {"pixels": pixels[:4]}))
    for rows in (1, 2, 300):
        with torch.no_grad():
            assert_close(found(pixels[:rows]), network(pixels[:rows]), 1e-5)


@pytest.mark.parametrize("architecture", some_of(((one,) for one in ARCHITECTURES), lambda one: one == "bert"))
def test_a_transformer_takes_any_number_of_texts_of_any_length(architecture: str) -> None:
    one = sample(architecture)
    network = merged_copy(one.trained((DoRASpec if architecture == "bert" else LoRASpec).of(rank=3, alpha=5)))
    # Traced with texts that are shorter than some and longer than others.
    traced = {name: tensor[:4, :8].contiguous() for name, tensor in one.probe.items()}
    found = OnnxNetwork(onnx_bytes(network, traced))
    shorter = {name: tensor[:2, :5].contiguous() for name, tensor in one.probe.items()}
    single = {name: tensor[:1] for name, tensor in one.probe.items()}
    for batch in (one.probe, shorter, single):
        with torch.no_grad():
            assert_close(forward(found, batch), forward(network, batch), 1e-4)


def test_a_damaged_file_and_a_missing_package_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NetworkFileError, match="onnxruntime cannot read this file"):
        OnnxNetwork(b"PK no model")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(NetworkFileError, match=r"pip install -r requirements-onnx\.txt"):
        onnx_bytes(PerceptronSpec().build(0), {"pixels": torch.rand(2, 784)})


def test_a_network_that_is_too_large_for_one_file_is_a_sentence() -> None:
    network = torch.nn.Linear(2**15, 2**14, bias=False, device="meta")  # 2 GiB that take no memory
    with pytest.raises(NetworkFileError, match=r"has 2\.15 GB, and one ONNX file holds 2\.13 GB: export it as"):
        onnx_bytes(network, {"pixels": torch.rand(2, 2**15)})


def test_the_file_is_one_that_onnx_itself_finds_valid(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_bytes(PerceptronSpec().build(0), {"pixels": torch.rand(2, 784)}))
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path))
    assert [known.version for known in model.opset_import if not known.domain] == [OPSET]
    assert [given.name for given in model.graph.input] == ["pixels"]
    assert [given.name for given in model.graph.output] == ["logits"]
    first = model.graph.input[0].type.tensor_type.shape.dim
    assert first[0].dim_param
    assert first[1].dim_value == 784
