"""The method's invariants, over both forms, all scalings, ranks and dtypes, on weights as training leaves them."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from core.errors import LoRAError, MergedError
from core.methods.lora import (
    AdaptedLinear,
    LinearWithLoRA,
    LinearWithLoRAMerged,
    LoRALayer,
    adapted_layers,
    add_lora,
    alpha_for,
    base_copy,
    count_parameters,
    find_targets,
    freeze_linear_layers,
    merge,
    merged_copy,
    scaling_factor,
    unmerge,
)
from core.networks.perceptron import build, fingerprint
from core.spec import SCALINGS, STARTS, LoRASpec, ModelSpec, Scaling

FORMS: list[type[AdaptedLinear]] = [LinearWithLoRA, LinearWithLoRAMerged]
RANKS = [1, 3, 8]
DTYPES = [torch.float64, torch.float32, torch.bfloat16]
CLOSE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 4e-2}
"""Relative rounding that a sum of some twenty products may have."""

SMALL = ModelSpec(num_features=12, num_hidden_1=10, num_hidden_2=9, num_classes=8)
each_form = pytest.mark.parametrize("form", FORMS)
each_scaling = pytest.mark.parametrize("scaling", SCALINGS)
each_rank = pytest.mark.parametrize("rank", RANKS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def perturbed(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every A and B values as after training: B is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            layer.lora.A.add_(torch.randn(layer.lora.A.shape, generator=generator).to(layer.lora.A) * 0.2)
            layer.lora.B.copy_(torch.randn(layer.lora.B.shape, generator=generator) * 0.2)
    return model


def network(
    form: type[AdaptedLinear] = LinearWithLoRA,
    scaling: Scaling = "alpha/r",
    rank: int = 3,
    dtype: torch.dtype = torch.float32,
    targets: tuple[str, ...] = ("all-linear",),
) -> nn.Module:
    spec = LoRASpec(rank=rank, alpha=2.5, scaling=scaling, target_modules=targets)
    base = build(SMALL, seed=1).to(dtype)
    return perturbed(add_lora(base, spec, torch.Generator().manual_seed(2), form))


def inputs(dtype: torch.dtype = torch.float32, rows: int = 7) -> Tensor:
    return torch.randn(rows, 12, generator=torch.Generator().manual_seed(3)).to(dtype)


def close(one: Tensor, two: Tensor, dtype: torch.dtype) -> None:
    assert one.dtype == two.dtype
    assert (one - two).abs().max() <= CLOSE[dtype] * max(1.0, two.abs().max().item())


def weights(model: nn.Module) -> str:
    return fingerprint(model.state_dict())


# The two forms compute one thing


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
def test_outputs_and_gradients_follow_the_formula(form: type[AdaptedLinear], scaling: Scaling, rank: int) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(9, 8).double()
    layer = form(linear, rank=rank, alpha=2.5, scaling=scaling)
    perturbed(layer)
    A, B, W, b = layer.lora.A.detach(), layer.lora.B.detach(), linear.weight.detach(), linear.bias.detach()
    s = {"alpha/r": 2.5 / rank, "alpha": 2.5, "alpha/sqrt(r)": 2.5 / math.sqrt(rank)}[scaling]
    x, g = torch.randn(5, 9).double(), torch.randn(5, 8).double()
    y = layer(x)
    torch.testing.assert_close(y, x @ W.T + b + s * (x @ A) @ B)
    torch.testing.assert_close(layer.lora.delta(), s * (A @ B).T)
    y.backward(g)
    torch.testing.assert_close(layer.lora.A.grad, s * x.T @ (g @ B.T))
    torch.testing.assert_close(layer.lora.B.grad, s * (x @ A).T @ g)


@each_form
@each_scaling
def test_gradients_are_those_of_finite_differences(form: type[AdaptedLinear], scaling: Scaling) -> None:
    torch.manual_seed(0)
    layer = form(nn.Linear(5, 4).double(), 3, 2.5, scaling)
    perturbed(layer)

    def output(x: Tensor, A: Tensor, B: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"lora.A": A, "lora.B": B}, (x,))

    x = torch.randn(2, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(output, (x, layer.lora.A, layer.lora.B))


@each_form
@pytest.mark.parametrize("shape", [(12,), (0, 12), (2, 3, 12)])
def test_any_leading_shape_will_do(form: type[AdaptedLinear], shape: tuple[int, ...]) -> None:
    assert network(form)(torch.zeros(shape)).shape == (*shape[:-1], 8)


# The start


@each_form
@each_scaling
@each_dtype
@pytest.mark.parametrize("start", STARTS)
def test_the_start_leaves_the_network_exactly_as_it_was(form, scaling, dtype, start) -> None:
    base, x = build(SMALL, seed=1).to(dtype), inputs(dtype)
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
    models = [
        add_lora(build(SMALL, seed=1), LoRASpec(start=start), torch.Generator().manual_seed(s)) for s in (5, 5, 6)
    ]
    assert weights(models[0]) == weights(models[1]) != weights(models[2])
    assert torch.equal(torch.get_rng_state(), state)


# Scaling


@given(st.sampled_from(SCALINGS), st.floats(1e-3, 4096), st.integers(1, 512))
def test_alpha_for_undoes_scaling_factor(scaling: Scaling, alpha: float, rank: int) -> None:
    assert alpha_for(scaling, scaling_factor(scaling, alpha, rank), rank) == pytest.approx(alpha, rel=1e-14)


BAD_LAYERS = [
    {"rank": 0},
    {"rank": -1},
    {"rank": 5},
    {"rank": 2.0},
    {"rank": True},
    {"rank": "2"},
    {"alpha": 0},
    {"alpha": -1.0},
    {"alpha": math.nan},
    {"alpha": math.inf},
    {"alpha": "8"},
    {"scaling": "r"},
    {"start": "zero"},
]


@each_form
@pytest.mark.parametrize("change", BAD_LAYERS, ids=str)
def test_settings_out_of_range_get_one_sentence(form: type[AdaptedLinear], change: dict[str, object]) -> None:
    with pytest.raises(LoRAError, match=r"^[^\n]+\.$"):
        form(nn.Linear(4, 6), **{"rank": 2, "alpha": 8.0} | change)


@each_form
def test_only_a_linear_layer_takes_an_adapter(form: type[AdaptedLinear]) -> None:
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


# Merging


@each_form
@each_scaling
@each_rank
@each_dtype
def test_merging_changes_no_output_and_unmerging_restores_every_bit(form, scaling, rank, dtype) -> None:
    model, x = network(form, scaling, rank, dtype).eval(), inputs(dtype)
    before, output = weights(model), model(x)
    for _ in range(3):
        merge(model)
        assert all(layer.merged for layer in adapted_layers(model).values())
        close(model(x), output, dtype)
        unmerge(model)
        assert weights(model) == before
        assert torch.equal(model(x), output)
    unmerge(model)
    assert weights(model) == before


@each_form
@each_dtype
def test_merging_twice_is_one_merge(form: type[AdaptedLinear], dtype: torch.dtype) -> None:
    model = network(form, dtype=dtype)
    before = weights(model)
    merge(model)
    merged = weights(model)
    merge(model)
    assert weights(model) == merged != before
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
def test_half_precision_keeps_a_float32_adapter(form: type[AdaptedLinear], dtype: torch.dtype) -> None:
    model = network(form, dtype=dtype)
    wanted = torch.float32 if dtype == torch.bfloat16 else dtype
    assert {layer.lora.A.dtype for layer in adapted_layers(model).values()} == {wanted}
    assert model(inputs(dtype)).dtype == dtype


@each_form
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["A", "B"])
def test_an_adapter_that_is_not_finite_merges_into_nothing(form: type[AdaptedLinear], bad: float, where: str) -> None:
    model = network(form)
    with torch.no_grad():
        getattr(adapted_layers(model)["layers.4"].lora, where)[0, 0] = bad
    before = weights(model)
    with pytest.raises(LoRAError, match=r"layers\.4 has values that are not finite: nothing was merged"):
        merge(model)
    assert weights(model) == before
    assert not any(layer.merged for layer in adapted_layers(model).values())
    with pytest.raises(LoRAError):
        merged_copy(model)


def test_a_sum_that_overflows_merges_into_nothing() -> None:
    model = network(dtype=torch.float16)
    with torch.no_grad():
        adapted_layers(model)["layers.2"].lora.B.fill_(1e6)
    before = weights(model)
    with pytest.raises(LoRAError):
        merge(model)
    assert weights(model) == before


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


def test_a_weight_tied_to_an_embedding_is_not_merged() -> None:
    model = nn.ModuleDict({"words": nn.Embedding(5, 4), "head": nn.Linear(4, 5)})
    model["head"].weight = model["words"].weight
    add_lora(model, LoRASpec(rank=2))
    assert not model["words"].weight.requires_grad
    with pytest.raises(LoRAError):
        merge(model)


@each_form
def test_a_merged_network_refuses_to_train_and_answers_otherwise(form: type[AdaptedLinear]) -> None:
    model, x = network(form), inputs()
    expected = model(x).detach()
    merge(model)
    model.train()
    with pytest.raises(MergedError, match="unmerge"):
        model(x)
    with torch.no_grad():
        close(model(x), expected, torch.float32)
    close(model.eval()(x), expected, torch.float32)
    unmerge(model)
    model.train()(x).sum().backward()


def test_without_adapters_there_is_nothing_to_merge() -> None:
    base = build(SMALL, seed=1)
    before = weights(base)
    with pytest.raises(LoRAError, match="nothing to merge"):
        merge(base)
    unmerge(base)
    assert weights(base) == before


@each_form
@pytest.mark.parametrize("merged", [False, True])
def test_a_merged_copy_is_a_plain_network_and_a_base_copy_is_the_base(form: type[AdaptedLinear], merged: bool) -> None:
    model, x = network(form).eval(), inputs()
    expected = model(x)
    if merged:
        merge(model)
    before = weights(model)
    plain, base = merged_copy(model), base_copy(model)
    assert [type(m) for m in plain.modules()] == [type(m) for m in build(SMALL).modules()]
    close(plain(x), expected, torch.float32)
    assert weights(base) == weights(build(SMALL, seed=1))
    assert weights(model) == before
    with torch.no_grad():
        next(plain.parameters()).zero_()
        next(base.parameters()).zero_()
    assert weights(model) == before


@each_form
@pytest.mark.parametrize("merged", [False, True])
def test_forward_and_mode_change_no_weight(form: type[AdaptedLinear], merged: bool) -> None:
    model = network(form)
    if merged:
        merge(model)
    before = weights(model)
    for mode in (True, False, True):
        model.train(mode)
        with torch.no_grad():
            model(inputs())
    assert weights(model) == before
    assert all(layer.merged == merged for layer in adapted_layers(model).values())


@each_form
def test_training_changes_the_adapters_and_never_the_base(form: type[AdaptedLinear]) -> None:
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


# Adding adapters, finding targets, freezing


@pytest.mark.parametrize(
    ("rank", "count"), [(1, 1562), (2, 3124), (4, 6248), (8, 12_496), (10, 15_620), (16, 16 * 1296 + 10 * 266)]
)
def test_the_trainable_parameters_of_the_default_network_are_exact(rank: int, count: int) -> None:
    model = build(ModelSpec())
    assert count_parameters(model, trainable=True) == 136_074
    add_lora(model, LoRASpec(rank=rank))
    assert count_parameters(model, trainable=True) == count
    assert count_parameters(model) == 136_074 + count


@each_scaling
@pytest.mark.parametrize(("rank", "expected"), [(9, (9, 9, 8)), (10, (10, 9, 8)), (3, (3, 3, 3))])
def test_a_rank_above_a_layers_smaller_side_is_capped_and_keeps_its_scaling(scaling, rank, expected) -> None:
    model = network(scaling=scaling, rank=rank)
    layers = adapted_layers(model).values()
    assert tuple(layer.lora.rank for layer in layers) == expected
    assert tuple(layer.lora.A.shape[1] for layer in layers) == expected
    factor = scaling_factor(scaling, 2.5, rank)
    assert all(layer.lora.scaling == pytest.approx(factor, rel=1e-15) for layer in layers)
    assert all(layer.lora.alpha == 2.5 for layer in layers if layer.lora.rank == rank)


def test_a_rank_above_every_layer_is_refused_and_changes_nothing() -> None:
    base = build(SMALL, seed=1)
    with pytest.raises(LoRAError, match="Rank 11 is above 10, the maximum for the targeted layers"):
        add_lora(base, LoRASpec(rank=11))
    with pytest.raises(LoRAError, match="Rank 9 is above 8"):
        add_lora(base, LoRASpec(rank=9, target_modules=("layers.4",)))
    assert weights(base) == weights(build(SMALL, seed=1))
    assert all(p.requires_grad for p in base.parameters())


class Deep(nn.Module):
    """Names that are easy to confuse, and modules that look linear."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.fc2, self.my_fc = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.block = nn.ModuleDict({"fc": nn.Linear(4, 4), "fc2": nn.Linear(4, 4)})
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(12)])
        self.attention = nn.MultiheadAttention(4, 2)
        self.norm = nn.LayerNorm(4)


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (("fc",), ["fc", "block.fc"]),
        (("fc2",), ["fc2", "block.fc2"]),
        (("block.fc",), ["block.fc"]),
        (("layers.1",), ["layers.1"]),
        (("1", "my_fc"), ["my_fc", "layers.1"]),
        (("layers.11", "layers.1", "11"), ["layers.1", "layers.11"]),
        (("all-linear",), ["fc", "fc2", "my_fc", "block.fc", "block.fc2", *(f"layers.{i}" for i in range(12))]),
    ],
)
def test_a_target_is_a_path_or_whole_last_parts_of_one(targets: tuple[str, ...], found: list[str]) -> None:
    assert list(find_targets(Deep(), targets)) == found
    assert list(adapted_layers(add_lora(Deep(), LoRASpec(rank=2, target_modules=targets)))) == found


@pytest.mark.parametrize(
    "target", ["f", "c2", "layers.12", "fc.", ".fc", "*", "block", "layers", "attention.out_proj", "norm", "all"]
)
@pytest.mark.parametrize("also", [(), ("fc",)])
def test_a_target_that_is_no_linear_layer_is_an_error_and_changes_nothing(target: str, also: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    model = Deep()
    before = weights(model)
    with pytest.raises(LoRAError, match=r"^[^\n]+\.$"):
        add_lora(model, LoRASpec(rank=2, target_modules=(*also, target)))
    assert weights(model) == before
    assert all(p.requires_grad for p in model.parameters())


def test_an_error_names_the_layers_there_are() -> None:
    with pytest.raises(LoRAError, match=r"'fc1'; this network has: layers\.0, layers\.2, layers\.4\."):
        add_lora(build(SMALL), LoRASpec(target_modules=("fc1",)))
    with pytest.raises(LoRAError, match="no linear layer"):
        add_lora(nn.Sequential(nn.ReLU()), LoRASpec())


@each_form
def test_adapters_are_added_once(form: type[AdaptedLinear]) -> None:
    model = network(form, targets=("layers.0",))
    before = weights(model)
    with pytest.raises(LoRAError, match="already has LoRA adapters"):
        add_lora(model, LoRASpec(rank=2, target_modules=("layers.2",)))
    assert weights(model) == before


def test_everything_but_the_adapters_is_frozen_whatever_its_name() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lora_like, self.A, self.norm = nn.Linear(4, 4), nn.Parameter(torch.ones(4)), nn.BatchNorm1d(4)
            self.fc = nn.Linear(4, 4)

    model = add_lora(Named(), LoRASpec(rank=2, target_modules=("fc",)))
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"fc.lora.A", "fc.lora.B"}


def test_a_module_at_two_paths_gets_one_adapter() -> None:
    shared = nn.Linear(4, 4)
    model = add_lora(nn.Sequential(shared, nn.ReLU(), shared), LoRASpec(rank=2))
    assert model[0] is model[2]
    perturbed(model)
    x = torch.randn(3, 4)
    expected = model(x).detach()
    plain = merged_copy(model)
    assert plain[0] is plain[2]
    torch.testing.assert_close(plain(x), expected)
    base = base_copy(model)
    assert base[0] is base[2]
    assert weights(base) == weights(nn.Sequential(shared, nn.ReLU(), shared))
    merge(model)
    torch.testing.assert_close(model.eval()(x), expected)


@each_form
def test_freezing_linear_layers_leaves_adapters_and_other_layers_trainable(form: type[AdaptedLinear]) -> None:
    model = nn.Sequential(form(nn.Linear(4, 4), 2, 8), nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 4)))
    freeze_linear_layers(model)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable == {"0.lora.A", "0.lora.B", "1.weight", "1.bias"}


@each_form
def test_a_linear_root_is_frozen_too(form: type[AdaptedLinear]) -> None:
    root, adapted = nn.Linear(4, 4), form(nn.Linear(4, 4), 2, 8)
    freeze_linear_layers(root)
    freeze_linear_layers(adapted)
    assert count_parameters(root, trainable=True) == 0
    assert count_parameters(adapted, trainable=True) == 16


@each_form
def test_a_state_dict_carries_all_that_is_needed(form: type[AdaptedLinear]) -> None:
    model, other = network(form), add_lora(build(SMALL, seed=9), LoRASpec(rank=3, alpha=2.5), layer=form)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(inputs()), model(inputs()))
    names = set(model.state_dict())
    merge(model)
    assert set(model.state_dict()) == names
