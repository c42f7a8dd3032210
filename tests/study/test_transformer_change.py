"""What fine-tuning changed in transformers: the same numbers as of plain torch, for every orientation of weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from core.methods.dora import DoRASpec
from core.methods.linear import is_linear, is_transposed
from core.methods.lora import LoRASpec
from core.methods.targets import head_paths, is_in_head
from core.networks.forward import evaluating, forward
from core.study.weights.change import layer_shapes, scaled_networks
from core.study.weights.curves import cut_curves
from core.study.weights.spectrum import singular_values, spectrum, truncations
from core.study.weights.subspace import directions
from tests.study.transformers_changed import adapted_transformer, full_transformer, text_evaluator, texts, tiny_spec

KINDS = ("bert", "gpt2", "llama")
kinds = pytest.mark.parametrize("kind", KINDS)


def logits(network, batch):
    with torch.no_grad(), evaluating(network):
        return forward(network, batch)


def with_the_head_of(base, tuned):
    """The base with the head of another network."""
    network, after = copy.deepcopy(base), dict(tuned.named_parameters())
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if is_in_head(name, head_paths(base)):
                parameter.copy_(after[name])
    return network


@kinds
def test_deltas_lead_from_the_base_to_the_tuned_weight_as_out_by_in(kind):
    change = full_transformer(kind)
    linear = {p for p, m in change.base.named_modules() if is_linear(m) and not is_in_head(p, head_paths(change.base))}
    assert set(change.layers) == linear == set(layer_shapes(tiny_spec(kind)))
    for path in linear:
        before, after = (net.get_submodule(path) for net in (change.base, change.tuned))
        expected = (after.weight.double() - before.weight.double()).detach()
        expected = expected.T if is_transposed(before) else expected
        assert change.delta(path).shape == change.weight(path).shape == layer_shapes(tiny_spec(kind))[path]
        np.testing.assert_array_equal(change.delta(path), expected.numpy())
        np.testing.assert_allclose(change.spectrum(path).values, torch.linalg.svdvals(expected).numpy(), rtol=1e-9)
    assert all(change.delta(path).any() for path in change.layers)
    embeddings = next(name for name in dict(change.base.named_parameters()) if "emb" in name or "wte" in name)
    assert embeddings in change.changed_elsewhere
    assert not any(is_in_head(name, head_paths(change.base)) for name in change.changed_elsewhere)
    assert not change.elsewhere_text


@kinds
@pytest.mark.parametrize("method", [LoRASpec, DoRASpec])
def test_spectra_of_adapters_are_those_of_their_product(kind, method):
    change = adapted_transformer(kind, method.of(rank=3, alpha=5.0, target_modules=("attention",)))
    changed = [path for path in change.layers if change.delta(path).any()]
    assert 0 < len(changed) < len(change.layers)
    assert not change.changed_elsewhere
    for path in change.layers:
        delta = torch.from_numpy(change.delta(path))
        found = change.spectrum(path)
        np.testing.assert_allclose(found.values, torch.linalg.svdvals(delta).numpy(), atol=1e-12)
        assert found.relative_norm == pytest.approx(float(delta.norm()) / np.linalg.norm(change.weight(path)))
        if path in changed and method is LoRASpec:
            assert found.rank == 3


@kinds
@pytest.mark.parametrize("full", [True, False])
def test_strength_1_is_the_trained_network_and_0_the_base_with_the_trained_head(kind, full):
    change = full_transformer(kind) if full else adapted_transformer(kind, LoRASpec.of(rank=2))
    batch = texts(kind, 6).batch(slice(None))
    none, half, whole = (logits(each, batch) for each in scaled_networks(change, [0.0, 0.5, 1.0]))
    torch.testing.assert_close(whole, logits(change.tuned, batch), atol=1e-5, rtol=1e-5)
    assert torch.equal(none, logits(with_the_head_of(change.base, change.plain), batch))
    assert not torch.allclose(half, none)
    assert not torch.allclose(half, whole)
    (middle,) = scaled_networks(change, [0.5])
    for name, parameter in middle.named_parameters():
        before, after = (dict(net.named_parameters())[name] for net in (change.base, change.plain))
        expected = after if is_in_head(name, head_paths(change.base)) else (before + after) / 2
        torch.testing.assert_close(parameter, expected)


@kinds
def test_a_cut_at_full_rank_is_the_trained_network(kind):
    change, evaluator = full_transformer(kind), text_evaluator(kind)
    validation, test = cut_curves(change, [evaluator, evaluator])
    assert validation.scores.target.tolist() == test.scores.target.tolist()
    assert validation.scores.target[-1] == pytest.approx(evaluator.of_networks([change.tuned]).target[0], abs=2.6)
    assert validation.base.target[0] == evaluator.of_networks([change.base]).target[0]


def test_some_texts_are_the_same_texts_with_their_labels():
    whole = texts("bert", 12)
    rows = torch.tensor([7, 0, 3])
    some = whole.at(rows)
    assert some.labels.tolist() == whole.labels[rows].tolist()
    assert torch.equal(some.batch(slice(None))["input_ids"], whole.batch(rows)["input_ids"])


def test_a_large_matrix_of_low_rank_has_as_many_singular_values_and_directions():
    rng = np.random.default_rng(0)
    low = rng.normal(size=(100, 4)) @ rng.normal(size=(4, 80))
    assert directions(low, "outputs", 10).shape == (100, 4)
    assert spectrum(low, low).rank == 4


@pytest.mark.parametrize("shape", [(70, 70), (64, 200), (200, 64), (9, 6)])
def test_one_decomposition_gives_the_nearest_matrix_of_each_rank(shape):
    matrix, ranks = np.random.default_rng(0).normal(size=shape), [0, 3, 5, 6, 99, 1]
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    np.testing.assert_allclose(singular_values(matrix), values, rtol=1e-9)
    for rank, cut in zip(ranks, truncations(matrix, ranks), strict=True):
        np.testing.assert_allclose(cut, (left[:, :rank] * values[:rank]) @ right[:rank], atol=1e-9)
