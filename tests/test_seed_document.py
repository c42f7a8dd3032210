"""The code of the document that LoRA Lab starts from, run against ``core``: same names, same prints, same figures."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from core import (
    LinearWithLoRA,
    LinearWithLoRAMerged,
    LoRALayer,
    MultilayerPerceptron,
    compute_accuracy,
    freeze_linear_layers,
    train,
)

README = Path(__file__).resolve().parents[1] / "README.md"

TREE = """\
MultilayerPerceptron(
  (layers): Sequential(
    (0): LinearWithLoRAMerged(
      (linear): Linear(in_features=784, out_features=128, bias=True)
      (lora): LoRALayer()
    )
    (1): ReLU()
    (2): LinearWithLoRAMerged(
      (linear): Linear(in_features=128, out_features=256, bias=True)
      (lora): LoRALayer()
    )
    (3): ReLU()
    (4): LinearWithLoRAMerged(
      (linear): Linear(in_features=256, out_features=10, bias=True)
      (lora): LoRALayer()
    )
  )
)
"""

TABLE = """\
layers.0.linear.weight:False
layers.0.linear.bias:False
layers.0.lora.A:True
layers.0.lora.B:True
layers.2.linear.weight:False
layers.2.linear.bias:False
layers.2.lora.A:True
layers.2.lora.B:True
layers.4.linear.weight:False
layers.4.linear.bias:False
layers.4.lora.A:True
layers.4.lora.B:True
"""

Layer = type[LinearWithLoRA] | type[LinearWithLoRAMerged]
each_form = pytest.mark.parametrize("form", [LinearWithLoRA, LinearWithLoRAMerged])


def _model() -> MultilayerPerceptron:
    torch.manual_seed(123)
    return MultilayerPerceptron(num_features=784, num_hidden_1=128, num_hidden_2=256, num_classes=10)


def _with_lora(model: MultilayerPerceptron, form: Layer) -> MultilayerPerceptron:
    model_lora = copy.deepcopy(model)
    for i in (0, 2, 4):
        model_lora.layers[i] = form(model_lora.layers[i], rank=4, alpha=8)
    return model_lora


def test_the_module_tree_prints_as_in_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    print(_with_lora(_model(), LinearWithLoRAMerged))
    assert capsys.readouterr().out == TREE


def test_the_requires_grad_table_prints_as_in_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    model_lora = _with_lora(_model(), LinearWithLoRAMerged)
    freeze_linear_layers(model_lora)
    for name, param in model_lora.named_parameters():
        print(f"{name}:{param.requires_grad}")
    assert capsys.readouterr().out == TABLE


def test_two_small_matrices_stand_for_a_large_one_with_250_times_fewer_parameters() -> None:
    small = sum(p.numel() for p in LoRALayer(in_dim=1000, out_dim=1000, rank=2, alpha=4).parameters())
    large = nn.Linear(1000, 1000, bias=False).weight.numel()
    assert (small, large, large // small) == (4000, 1_000_000, 250)


@each_form
def test_an_untrained_adapter_gives_the_results_of_the_layer(form: Layer) -> None:
    torch.manual_seed(123)
    layer, x = nn.Linear(10, 2), torch.randn(1, 10)
    layer_lora = form(layer, rank=2, alpha=4)
    assert torch.equal(layer_lora(x), layer(x))
    assert "grad_fn=<AddBackward0>" in repr(LinearWithLoRA(layer, rank=2, alpha=4)(x))


def test_the_distributive_law_holds_on_trained_matrices() -> None:
    torch.manual_seed(123)
    x, W, A, B = torch.randn(5, 20), torch.randn(20, 12), torch.randn(20, 3), torch.randn(3, 12)
    torch.testing.assert_close(x @ (W + A @ B), x @ W + x @ A @ B, rtol=1e-4, atol=1e-4)
    layers = []
    for form in (LinearWithLoRA, LinearWithLoRAMerged):
        layer = form(nn.Linear(20, 12), rank=3, alpha=6)
        with torch.no_grad():
            layer.linear.weight.copy_(W.T)
            layer.linear.bias.zero_()
            layer.lora.A.copy_(A)
            layer.lora.B.copy_(B)
        layers.append(layer)
    torch.testing.assert_close(layers[0](x), layers[1](x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layers[0](x), x @ (W + 2 * A @ B), rtol=1e-4, atol=1e-4)


@each_form
def test_the_documents_training_run_teaches_the_adapters_and_leaves_the_base(
    form: Layer, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    centres = torch.rand(10, 1, 28, 28)
    labels = torch.arange(10).repeat(32)
    images = (centres[labels] + 0.1 * torch.randn(320, 1, 28, 28)).clamp(0, 1)
    train_loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True)
    test_loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=False)

    model = _model()
    model_lora = _with_lora(model, form)
    freeze_linear_layers(model_lora)
    optimizer_lora = torch.optim.Adam(model_lora.parameters(), lr=0.005)
    before = compute_accuracy(model_lora, test_loader, "cpu")
    history = train(10, model_lora, optimizer_lora, train_loader, "cpu")
    after = compute_accuracy(model_lora, test_loader, "cpu")

    assert before < 50 < 95 < after <= 100
    assert history[-1] < history[0]
    assert len(capsys.readouterr().out.splitlines()) == 10
    for i in (0, 2, 4):
        assert torch.equal(model_lora.layers[i].linear.weight, model.layers[i].weight)
    x = images.flatten(1)
    reference = model_lora.layers[0].linear(x)
    assert F.mse_loss(model_lora.layers[0](x), reference) > 0


def test_both_ways_of_the_readme_give_the_same_network() -> None:
    section = README.read_text(encoding="utf-8").partition("## From Python")[2].partition("\n## ")[0]
    by_hand, by_one_line = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict[str, object] = {}
    exec(by_hand, names)
    adapted = names["adapted"]
    exec(by_one_line, names)
    also = names["adapted"]
    assert isinstance(adapted, nn.Module)
    assert isinstance(also, nn.Module)
    assert also is not adapted
    assert str(also) == str(adapted)
    assert {n: p.requires_grad for n, p in also.named_parameters()} == {
        n: p.requires_grad for n, p in adapted.named_parameters()
    }
