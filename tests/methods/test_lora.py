"""The adapter of one layer: both forms compute one thing, which starts at zero and follows its scaling."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from core.errors import LoRAError
from core.methods.adapted import merge
from core.methods.layers import (
    SCALINGS,
    STARTS,
    LinearWithLoRA,
    LoRALayer,
    LowRankLinear,
    Scaling,
    alpha_for,
    scaling_factor,
)
from core.methods.linear import count_parameters
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from tests.methods.samples import (
    FORMS,
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


@each_scaling
@each_rank
@each_dtype
def test_the_two_forms_agree_in_outputs_and_gradients(scaling: Scaling, rank: int, dtype: torch.dtype) -> None:
    outputs, gradients = [], []
    for form in FORMS:
        model, x = network(form, scaling, rank, dtype).train(), inputs(dtype).requires_grad_()
        y = model(x)
        (y.float() ** 2).sum().backward()
        outputs.append(y.detach())
        own = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
        assert all(".lora." in name and grad is not None and grad.abs().sum() > 0 for name, grad in own.items())
        gradients.append([*own.values(), x.grad])
    close(outputs[0], outputs[1], dtype)
    for one, two in zip(*gradients, strict=True):
        scale = two.abs().max().item()
        close(one / scale, two / scale, dtype)


@each_form
@each_scaling
@each_rank
def test_outputs_and_gradients_follow_the_formula(form: type[LowRankLinear], scaling: Scaling, rank: int) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(9, 8).double()
    layer = form(linear, rank=rank, alpha=2.5, scaling=scaling)
    perturbed(layer)
    A, B, W, b = layer.lora.A.detach(), layer.lora.B.detach(), linear.weight.detach(), linear.bias.detach()
    s = {"alpha/r": 2.5 / rank, "alpha": 2.5, "alpha/sqrt(r)": 2.5 / math.sqrt(rank)}[scaling]
    x, g = torch.randn(5, 9).double().requires_grad_(), torch.randn(5, 8).double()
    y = layer(x)
    torch.testing.assert_close(y, x @ W.T + b + s * (x @ A) @ B)
    torch.testing.assert_close(layer.lora.delta(), s * (A @ B).T)
    y.backward(g)
    torch.testing.assert_close(x.grad, g @ W + s * (g @ B.T) @ A.T)
    torch.testing.assert_close(layer.lora.A.grad, s * x.T @ (g @ B.T))
    torch.testing.assert_close(layer.lora.B.grad, s * (x @ A).T @ g)


@each_form
@pytest.mark.parametrize("shape", [(12,), (0, 12), (2, 3, 12)])
def test_any_leading_shape_will_do(form: type[LowRankLinear], shape: tuple[int, ...]) -> None:
    assert network(form)(torch.zeros(shape)).shape == (*shape[:-1], 8)


@each_form
@each_scaling
@each_dtype
@pytest.mark.parametrize("start", STARTS)
def test_the_start_leaves_the_network_exactly_as_it_was(form, scaling, dtype, start) -> None:
    base, x = SMALL.build(seed=1).to(dtype), inputs(dtype)
    before, spec = base(x), LoRASpec(rank=4, alpha=7, scaling=scaling, start=start)
    model = add_lora(base, spec, layer=form)
    assert torch.equal(model(x), before)
    merge(model)
    assert torch.equal(model.eval()(x), before)


def test_the_start_of_a_is_drawn_as_documented() -> None:
    layer = LoRALayer(10_000, 500, 4, 8).requires_grad_(False)
    assert layer.A.abs().max() <= 0.01
    assert layer.A.std() == pytest.approx(0.01 / math.sqrt(3), rel=0.05)
    assert LoRALayer(10_000, 500, 4, 8, start="gaussian").A.detach().std() == pytest.approx(1 / 4, rel=0.05)
    assert not layer.B.any()


@pytest.mark.parametrize("start", STARTS)
def test_a_generator_fixes_the_start_and_spares_the_global_one(start) -> None:
    state = torch.get_rng_state()
    models = [add_lora(SMALL.build(seed=1), LoRASpec(start=start), torch.Generator().manual_seed(s)) for s in (5, 5, 6)]
    assert weights(models[0]) == weights(models[1]) != weights(models[2])
    assert torch.equal(torch.get_rng_state(), state)


@given(st.sampled_from(SCALINGS), st.floats(1e-3, 4096), st.integers(1, 512))
def test_alpha_for_undoes_scaling_factor(scaling: Scaling, alpha: float, rank: int) -> None:
    assert alpha_for(scaling, scaling_factor(scaling, alpha, rank), rank) == pytest.approx(alpha, rel=1e-14)


BAD_LAYERS = [
    *({"rank": rank} for rank in (0, -1, 5, 2.0, True, "2")),
    *({"alpha": alpha} for alpha in (0, -1.0, math.nan, math.inf, "8")),
    {"scaling": "r"},
    {"start": "zero"},
]


@each_form
@pytest.mark.parametrize("change", BAD_LAYERS, ids=str)
def test_settings_out_of_range_get_one_sentence(form: type[LowRankLinear], change: dict[str, object]) -> None:
    with pytest.raises(LoRAError, match=r"^[^\n]+\.$"):
        form(nn.Linear(4, 6), **{"rank": 2, "alpha": 8.0} | change)


@each_form
def test_only_a_linear_layer_takes_an_adapter(form: type[LowRankLinear]) -> None:
    with pytest.raises(LoRAError, match="not ReLU"):
        form(nn.ReLU(), 2, 8)


@pytest.mark.parametrize("shapes", [((4, 2), (2, 5)), ((5, 2), (2, 6)), ((4, 2), (3, 6)), ((4,), (2, 6))])
def test_matrices_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(LoRAError):
        LinearWithLoRA.holding(nn.Linear(4, 6), torch.zeros(shapes[0]), torch.zeros(shapes[1]), 8, "alpha")


@each_form
@each_scaling
@pytest.mark.parametrize("rank", [1, 4, 9])
def test_a_layer_that_holds_given_matrices_computes_with_them(form, scaling, rank) -> None:
    torch.manual_seed(0)
    A, B, linear, x = torch.randn(4, rank), torch.randn(rank, 6), nn.Linear(4, 6), torch.randn(3, 4)
    state = torch.get_rng_state()
    layer = form.holding(linear, A, B, 2.5, scaling)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(layer(x), linear(x) + scaling_factor(scaling, 2.5, rank) * x @ A @ B)
    assert (layer.lora.rank, count_parameters(layer.lora)) == (rank, rank * 10)
    A.zero_()
    assert layer.lora.A.any()
