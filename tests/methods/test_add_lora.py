"""Adding adapters to a network: counts, ranks, targets, and what is frozen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.errors import LoRAError
from core.methods.adapted import adapted_layers, base_copy, merge, merged_copy
from core.methods.layers import LowRankLinear, scaling_factor
from core.methods.linear import count_parameters, freeze_linear_layers
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.methods.targets import find_targets
from core.networks.perceptron import PerceptronSpec
from tests.methods.samples import SMALL, each_form, each_scaling, inputs, network, perturbed, weights


@pytest.mark.parametrize(
    ("rank", "count"), [(1, 1562), (2, 3124), (4, 6248), (8, 12_496), (10, 15_620), (16, 16 * 1296 + 10 * 266)]
)
def test_the_trainable_parameters_of_the_default_network_are_exact(rank: int, count: int) -> None:
    model = PerceptronSpec().build()
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
    base = SMALL.build(seed=1)
    with pytest.raises(LoRAError, match="Rank 11 is above 10, the maximum for the targeted layers"):
        add_lora(base, LoRASpec(rank=11))
    with pytest.raises(LoRAError, match="Rank 9 is above 8"):
        add_lora(base, LoRASpec(rank=9, target_modules=("layers.4",)))
    assert weights(base) == weights(SMALL.build(seed=1))
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
        add_lora(SMALL.build(), LoRASpec(target_modules=("fc1",)))
    with pytest.raises(LoRAError, match="no linear layer"):
        add_lora(nn.Sequential(nn.ReLU()), LoRASpec())


@each_form
def test_adapters_are_added_once(form: type[LowRankLinear]) -> None:
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
def test_freezing_linear_layers_leaves_adapters_and_other_layers_trainable(form: type[LowRankLinear]) -> None:
    model = nn.Sequential(form(nn.Linear(4, 4), 2, 8), nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 4)))
    for root, trained in (
        (model, {"0.lora.A", "0.lora.B", "1.weight", "1.bias"}),
        (nn.Linear(4, 4), set()),
        (form(nn.Linear(4, 4), 2, 8), {"lora.A", "lora.B"}),
    ):
        freeze_linear_layers(root)
        assert {name for name, p in root.named_parameters() if p.requires_grad} == trained


@each_form
def test_a_state_dict_carries_all_that_is_needed(form: type[LowRankLinear]) -> None:
    model, other = network(form), add_lora(SMALL.build(seed=9), LoRASpec(rank=3, alpha=2.5), layer=form)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(inputs()), model(inputs()))
    names = set(model.state_dict())
    merge(model)
    assert set(model.state_dict()) == names
