"""Networks as the engine computes them give what the networks themselves give, to rounding."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from core.methods.linear import is_linear
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.registry import method_of
from core.networks.forward import evaluating, forward
from core.networks.network import SPEC
from core.networks.perceptron import PerceptronSpec
from core.training.fast_network import FastNetwork, fast, first_token_only, is_exact
from core.training.frozen import block_list
from core.training.products import Swapped, fast_layers
from tests.training.tiny_texts import ARCHITECTURES, network_of, spec_of, texts

METHODS: dict[str, MethodSpec] = {
    "full": method_of("full"),
    "biases": method_of("biases"),
    "head": method_of("head"),
    "lora": LoRASpec.of(rank=2),
    "dora": method_of("dora"),
}

BY_FIRST_TOKEN = {"bert", "roberta", "deberta-v2"}
"""Architectures whose last block is computed for its first token."""


def prepared(kind: str, method: MethodSpec) -> nn.Module:
    """A network whose adapters, if it has some, do something."""
    network = method.prepare(network_of(spec_of(kind, dropout=0.0)), torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("lora.B"):
                parameter.normal_(0, 0.2, generator=generator)
    return network.train()


def gradients(network: nn.Module, model: nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    batch = texts(16)
    logits = forward(model, batch.batch(slice(None)))
    F.cross_entropy(logits, batch.labels).backward()
    return logits.detach(), {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_logits_and_gradients_are_those_of_the_network(kind: str, method: str) -> None:
    network = prepared(kind, METHODS[method])
    other = copy.deepcopy(network)
    model = fast(network, network)
    assert isinstance(model, FastNetwork)
    (found, own), (expected, wanted) = gradients(network, model), gradients(other, other)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    # A parameter that only lost tokens would reach has no gradient here, and zeros there.
    assert own.keys() <= wanted.keys()
    for name, gradient in wanted.items():
        scale = float(gradient.abs().max()) + 1e-3
        assert torch.allclose(own.get(name, torch.zeros(())), gradient, rtol=0, atol=2e-4 * scale), name


@pytest.mark.parametrize("trained", [("x",), ("weight",), ("bias",), ("x", "weight"), ("x", "bias")])
def test_a_layer_keeps_for_its_gradients_what_torchs_own_keeps(trained: tuple[str, ...]) -> None:
    layer = nn.Linear(6, 5)
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_(name in trained)
    x = torch.randn(2, 3, 6, requires_grad="x" in trained)

    def kept() -> set[int]:
        found: set[int] = set()
        with saved_tensors_hooks(lambda tensor: found.add(tensor.data_ptr()) or tensor, lambda tensor: tensor):
            layer(x)
        return found - {layer.weight.data_ptr()}  # there anyway

    own = kept()
    with Swapped(fast_layers(layer)):
        assert kept() == own


class Queries(TorchFunctionMode):
    """Counts the queries that each product of attention has."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            self.counts.append(args[0].shape[-2])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_last_block_is_computed_for_one_token_where_no_other_is_read(kind: str) -> None:
    network = prepared(kind, METHODS["full"]).eval()
    _, blocks = block_list(network)
    shapes: list[torch.Size] = []
    last = [module for module in blocks[-1].modules() if is_linear(module)][-1]
    last.register_forward_hook(lambda module, args, result: shapes.append(args[0].shape[:-1]))
    batch = texts(16).batch(slice(None))
    model = fast(network, network)
    with Queries() as queries:
        forward(model, batch)
    assert (shapes[-1][1] == 1) == (kind in BY_FIRST_TOKEN)
    if kind != "deberta-v2":  # whose attention is its own
        whole = batch["input_ids"].shape[1]
        assert queries.counts == [whole] * (len(blocks) - 1) + [1 if kind in BY_FIRST_TOKEN else whole]


def test_a_classifier_that_reads_all_tokens_gets_them() -> None:
    network = prepared("bert", METHODS["full"])

    class Mean(nn.Module):
        """Classifies by the mean of all tokens."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> object:
            states = self.network.bert(input_ids, attention_mask).last_hidden_state
            return SimpleNamespace(logits=self.network.classifier(states.mean(1)))

    pooled = Mean()
    setattr(pooled, SPEC, getattr(network, SPEC))
    forwards = first_token_only(block_list(network)[1][-1])
    probe = texts(4).batch(slice(None))
    assert forwards
    assert is_exact(network, forwards, probe)
    assert not is_exact(pooled, forwards, probe)
    with evaluating(pooled):
        assert torch.allclose(forward(fast(pooled, pooled), probe), forward(pooled, probe), atol=1e-5)


def test_the_network_is_as_it_was_afterwards_whoever_leaves_last() -> None:
    network = prepared("bert", METHODS["lora"]).eval()
    model, batch = fast(network, network), texts(16).batch(slice(None))
    with torch.no_grad():
        expected = forward(model, batch)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: forward(model, batch).detach(), range(16)))
    assert all(torch.equal(one, expected) for one in found)
    assert not any("forward" in module.__dict__ for module in network.modules())


def test_an_error_inside_leaves_the_network_as_it_was() -> None:
    network = prepared("bert", METHODS["full"])
    with pytest.raises(ValueError):
        fast(network, network)(nothing=torch.zeros(1))
    assert not any("forward" in module.__dict__ for module in network.modules())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_number_formats_and_families_are_left_alone(precision: str) -> None:
    network = prepared("bert", METHODS["full"])
    assert (fast(network, network, precision) is network) == (precision != "float32")
    assert fast(network.double(), network) is network
    perceptron = PerceptronSpec.of().build(0)
    assert fast(perceptron, perceptron) is perceptron


def test_swapped_forwards_end_with_the_last_thread_that_uses_them() -> None:
    layer = nn.Linear(2, 2)
    swapped, x = Swapped({layer: lambda x: x}), torch.ones(1, 2)
    with swapped:
        with swapped:
            assert layer(x) is x
        assert layer(x) is x
    assert layer(x) is not x
