"""Merging, unmerging and copies change no output, and training never changes the base."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from core.errors import LoRAError, MergedError
from core.methods.adapted import adapted_layers, base_copy, merge, merged_copy, unmerge
from core.methods.layers import LinearWithLoRA, LowRankLinear
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from tests.methods.samples import (
    SMALL,
    close,
    each_dtype,
    each_form,
    each_rank,
    each_scaling,
    inputs,
    network,
    perturbed,
    weights,
)


@each_form
@each_scaling
@each_rank
@each_dtype
def test_merging_once_or_twice_changes_no_output_and_unmerging_restores_every_bit(form, scaling, rank, dtype) -> None:
    model, x = network(form, scaling, rank, dtype).eval(), inputs(dtype)
    before, output = weights(model), model(x)
    for _ in range(3):
        merge(model)
        assert all(layer.merged for layer in adapted_layers(model).values())
        close(model(x), output, dtype)
        merged = weights(model)
        merge(model)
        assert weights(model) == merged != before
        unmerge(model)
        assert weights(model) == before
        assert torch.equal(model(x), output)
    unmerge(model)
    assert weights(model) == before


@each_dtype
@pytest.mark.parametrize("adapter", [torch.float32, torch.bfloat16], ids=str)
def test_a_merged_weight_is_the_exact_sum_rounded_once(dtype: torch.dtype, adapter: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = LinearWithLoRA(nn.Linear(64, 48).to(dtype), 4, 0.05)
    perturbed(layer)
    layer.lora.to(adapter if dtype != torch.float64 else dtype)
    exact = layer.linear.weight.double() + layer.lora.scaling * (layer.lora.A.double() @ layer.lora.B.double()).T
    merge(layer)
    found = layer.linear.weight
    assert ((found.double() - exact).abs() <= torch.finfo(dtype).eps * exact.abs().clamp(min=0.1)).all()
    # Float32 arithmetic on the way tips few of the values that lie halfway between two bfloat16 ones.
    assert dtype != torch.bfloat16 or (found != exact.to(dtype)).float().mean() < 0.002


@each_form
@each_dtype
def test_half_precision_keeps_a_float32_adapter(form: type[LowRankLinear], dtype: torch.dtype) -> None:
    model = network(form, dtype=dtype)
    wanted = torch.float32 if dtype == torch.bfloat16 else dtype
    assert {layer.lora.A.dtype for layer in adapted_layers(model).values()} == {wanted}
    assert model(inputs(dtype)).dtype == dtype


@each_form
@pytest.mark.parametrize(
    ("dtype", "bad"),
    [*((torch.float32, bad) for bad in (math.nan, math.inf, -math.inf)), (torch.float16, 1e6)],
    ids=str,
)
@pytest.mark.parametrize("where", ["A", "B"])
def test_an_adapter_or_a_sum_that_is_not_finite_merges_into_nothing(
    form: type[LowRankLinear], dtype: torch.dtype, bad: float, where: str
) -> None:
    model = network(form, dtype=dtype)
    with torch.no_grad():
        getattr(adapted_layers(model)["layers.4"].lora, where)[0, 0] = bad
    before = weights(model)
    with pytest.raises(LoRAError, match=r"layers\.4 has values that are not finite: nothing was merged"):
        merge(model)
    assert weights(model) == before
    assert not any(layer.merged for layer in adapted_layers(model).values())
    with pytest.raises(LoRAError):
        merged_copy(model)


def test_tied_weights_are_not_merged() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    add_lora(model, LoRASpec(rank=2, target_modules=("1", "0")))
    perturbed(model)
    before = weights(model)
    with pytest.raises(LoRAError, match="Layer 0 shares its weight with another layer"):
        merge(model)
    assert weights(model) == before
    assert not any(layer.merged for layer in adapted_layers(model).values())


@each_form
def test_a_merged_network_refuses_to_train_and_answers_otherwise(form: type[LowRankLinear]) -> None:
    model, x = network(form), inputs()
    expected = model(x).detach()
    merge(model)
    merged = weights(model)
    model.train()
    with pytest.raises(MergedError, match="unmerge"):
        model(x)
    with torch.no_grad():
        close(model(x), expected, torch.float32)
    close(model.eval()(x), expected, torch.float32)
    assert weights(model) == merged  # neither mode nor forward changes them
    unmerge(model)
    model.train()(x).sum().backward()


def test_without_adapters_there_is_nothing_to_merge() -> None:
    base = SMALL.build(seed=1)
    before = weights(base)
    with pytest.raises(LoRAError, match="nothing to merge"):
        merge(base)
    unmerge(base)
    assert weights(base) == before


@each_form
@pytest.mark.parametrize("merged", [False, True])
def test_a_merged_copy_is_a_plain_network_and_a_base_copy_is_the_base(form: type[LowRankLinear], merged: bool) -> None:
    model, x = network(form).eval(), inputs()
    expected = model(x)
    if merged:
        merge(model)
    before = weights(model)
    plain, base = merged_copy(model), base_copy(model)
    assert [type(m) for m in plain.modules()] == [type(m) for m in SMALL.build().modules()]
    close(plain(x), expected, torch.float32)
    assert weights(base) == weights(SMALL.build(seed=1))
    assert weights(model) == before
    with torch.no_grad():
        next(plain.parameters()).zero_()
        next(base.parameters()).zero_()
    assert weights(model) == before


@each_form
def test_training_changes_the_adapters_and_never_the_base(form: type[LowRankLinear]) -> None:
    model = network(form, rank=4)
    base, before = weights(base_copy(model)), copy.deepcopy(dict(model.named_parameters()))
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        adam.zero_grad()
        model(inputs()).square().sum().backward()
        adam.step()
    assert weights(base_copy(model)) == base
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name in before if ".lora." in name}
