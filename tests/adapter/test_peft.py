"""What we write PEFT reads, and what PEFT writes we read; the real PEFT says what is computed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from torch import nn

from core.adapter import AdapterConfig, apply_adapter, read_adapter
from core.errors import AdapterError, BaseMismatchError
from core.methods.adapted import adapted_layers, merged_copy
from core.methods.layers import SCALINGS, LinearWithLoRA, LinearWithLoRAMerged, Scaling, scaling_factor
from core.methods.linear import count_parameters
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.networks.file import fingerprint
from tests.adapter.samples import (
    BASE,
    MODEL,
    SMALL,
    WHOLE,
    WIDE,
    assert_close,
    factor_of,
    logits,
    packed,
    perturb,
    probe,
    saved,
    trained,
    unzip,
    with_whole_head,
)
from tests.pairs import pairwise

pytestmark = pytest.mark.usefixtures("read_here")

# Ours into PEFT


TARGETS = (("all-linear",), ("layers.2", "layers.0"), ("layers.4", "0"))


@pytest.mark.parametrize(
    ("scaling", "rank", "targets", "form"),
    pairwise(SCALINGS, (1, 4, 16, 200), TARGETS, (LinearWithLoRA, LinearWithLoRAMerged)),
    ids=str,
)
def test_peft_computes_what_the_trained_network_computes(tmp_path: Path, scaling, rank, targets, form) -> None:
    alpha = {"alpha/r": 2 * rank, "alpha": 1.7, "alpha/sqrt(r)": 3.1}[scaling]
    lora = LoRASpec(rank=rank, alpha=alpha, scaling=scaling, target_modules=targets)
    base, model = trained(lora, WIDE, form)
    rows = probe(WIDE)
    expected = logits(model, rows)
    folder = unzip(packed(base, model, lora, rows), tmp_path)

    loaded = PeftModel.from_pretrained(copy.deepcopy(base), folder)
    assert_close(logits(loaded, rows), expected)
    assert (expected - logits(base, rows)).abs().max() > 1e-2
    layers = {name: m for name, m in loaded.get_base_model().named_modules() if hasattr(m, "lora_A")}
    assert layers.keys() == adapted_layers(model).keys()
    for path, layer in adapted_layers(model).items():
        assert layers[path].r["default"] == layer.lora.rank
        assert layers[path].scaling["default"] == pytest.approx(layer.lora.scaling, rel=1e-15)
    assert_close(logits(loaded.merge_and_unload(), rows), expected)


def test_peft_loads_it_onto_plain_torch_layers_too(tmp_path: Path) -> None:
    plain_base = nn.Sequential()
    plain_base.add_module("layers", copy.deepcopy(BASE.layers))
    loaded = PeftModel.from_pretrained(plain_base, unzip(WHOLE, tmp_path))
    assert_close(logits(loaded, probe()), logits(MODEL, probe()))


def test_peft_can_go_on_training_and_its_save_is_read_back(tmp_path: Path) -> None:
    loaded = PeftModel.from_pretrained(copy.deepcopy(BASE), unzip(WHOLE, tmp_path / "ours"), is_trainable=True)
    assert sum(p.numel() for p in loaded.parameters() if p.requires_grad) == count_parameters(MODEL, trainable=True)
    perturb(*(p for p in loaded.parameters() if p.requires_grad), seed=9)
    model = apply_adapter(BASE, read_adapter(saved(loaded, tmp_path / "theirs")))
    assert_close(logits(model, probe()), logits(loaded, probe()))


def test_peft_sums_two_of_them_with_weights_as_the_card_says(tmp_path: Path) -> None:
    loaded: Any = None
    change = torch.zeros(())
    for name, rank, weight in (("one", 3, 0.5), ("two", 5, 2.0)):
        lora = LoRASpec.of(rank=rank, target_modules=("layers.4",))  # the last one, in which outputs are linear
        base, model = trained(lora)
        change = change + weight * (logits(model, probe()) - logits(base, probe()))
        folder = unzip(packed(base, model, lora, probe()), tmp_path / name)
        assert "add_weighted_adapter" in (folder / "README.md").read_text()
        if loaded is None:
            loaded = PeftModel.from_pretrained(copy.deepcopy(base), folder, adapter_name=name)
        else:
            loaded.load_adapter(folder, adapter_name=name)
    loaded.add_weighted_adapter(["one", "two"], [0.5, 2.0], "sum", combination_type="cat")
    loaded.set_adapter("sum")
    assert_close(logits(loaded, probe()) - logits(BASE, probe()), change)


# PEFT's into ours


PEFT_CONFIGS: list[dict[str, Any]] = [
    {"target_modules": "all-linear"},
    {"target_modules": ["layers.0", "layers.4"], "r": 2, "lora_alpha": 7},
    {"target_modules": ["0", "2"], "r": 4, "lora_alpha": 0.3, "use_rslora": True},
    {"target_modules": r".*layers\.(2|4)", "r": 3, "lora_dropout": 0.5},
    {"target_modules": r"layers\.[024]$", "r": 16, "lora_alpha": 32},
    {"target_modules": r"(.*\.)?layers\.(?:0|2)", "rank_pattern": {r"layers\.\d+": 3}},
    {"target_modules": ["2", "4"], "r": 8, "rank_pattern": {"layers.4": 2}, "alpha_pattern": {"4": 3, "layers.2": 5}},
    {"target_modules": "all-linear", "rank_pattern": {r"^layers\.(0|4)": 2, "layers.4": 7}, "use_rslora": True},
    {"target_modules": r"(?!.*4)layers\.[024]", "r": 3},
    {"target_modules": "all-linear", "alpha_pattern": {r".*\.2$": 1.5}, "init_lora_weights": "gaussian"},
]


@pytest.mark.parametrize("values", PEFT_CONFIGS, ids=str)
@pytest.mark.parametrize("around", ["", "my adapter"])
def test_we_compute_what_peft_computes(tmp_path: Path, values: dict[str, Any], around: str) -> None:
    torch.manual_seed(0)  # PEFT draws A; some draws come near the tolerance
    theirs = get_peft_model(copy.deepcopy(BASE), LoraConfig(**values))
    perturb(*(p for name, p in theirs.named_parameters() if "lora_" in name))
    expected = logits(theirs, probe())
    adapter = read_adapter(saved(theirs, tmp_path / "a", around))
    assert (adapter.base_fingerprint, adapter.certificate) == (None, None)
    ours = apply_adapter(BASE, adapter)
    assert_close(logits(ours, probe()), expected)
    assert_close(logits(merged_copy(ours), probe()), expected)
    layers = {name: m for name, m in theirs.get_base_model().named_modules() if hasattr(m, "lora_A")}
    assert list(adapted_layers(ours)) == list(layers)
    for path, layer in layers.items():
        lora = ours.get_submodule(path).lora
        assert lora.scaling == factor_of(adapter.config, path) == layer.scaling["default"]
        assert lora.rank == layer.r["default"]
        assert torch.equal(lora.A.T, layer.lora_A["default"].weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("whole", [None, ["layers.4"]], ids=str)
def test_half_precision_tensors_of_peft_are_taken_in_float32_as_peft_does(
    tmp_path: Path, dtype: torch.dtype, whole: list[str] | None
) -> None:
    config = LoraConfig(target_modules=["layers.0", "layers.2"], modules_to_save=whole)
    theirs = get_peft_model(copy.deepcopy(BASE), config)
    perturb(*(p for p in theirs.parameters() if p.requires_grad))
    content = saved(theirs.to(dtype), tmp_path / "a")
    adapter = read_adapter(content)
    assert {t.dtype for t in adapter.tensors.values()} == {dtype}
    loaded = PeftModel.from_pretrained(copy.deepcopy(BASE), tmp_path / "a")
    assert_close(logits(apply_adapter(BASE, adapter), probe()), logits(loaded, probe()))


@pytest.mark.parametrize("targets", [["layers.0"], "all-linear"], ids=str)
def test_a_last_layer_that_peft_trained_whole_takes_the_place_of_the_bases(tmp_path: Path, targets: Any) -> None:
    theirs = get_peft_model(copy.deepcopy(BASE), LoraConfig(target_modules=targets, modules_to_save=["layers.4"]))
    perturb(*(p for p in theirs.parameters() if p.requires_grad))
    before = fingerprint(BASE.state_dict())
    adapter = read_adapter(saved(theirs, tmp_path / "a"))
    ours = apply_adapter(BASE, adapter)
    assert_close(logits(ours, probe()), logits(theirs, probe()))
    assert_close(logits(merged_copy(ours), probe()), logits(theirs, probe()))
    trained = {name for name, p in ours.named_parameters() if p.requires_grad}
    assert {"layers.4.weight", "layers.4.bias"} < trained
    assert adapter.head_parameters == count_parameters(BASE.layers[4])
    assert fingerprint(BASE.state_dict()) == before


def test_an_adapter_with_a_head_of_its_own_is_peft_s_with_modules_to_save(tmp_path: Path) -> None:
    lora = LoRASpec.of(rank=3, alpha=7)
    model = with_whole_head(lora)
    content = packed(BASE, model, lora, probe())
    loaded = PeftModel.from_pretrained(copy.deepcopy(BASE), unzip(content, tmp_path))
    assert_close(logits(loaded, probe()), logits(model, probe()))
    assert_close(logits(loaded.merge_and_unload(), probe()), logits(model, probe()))
    adapter = read_adapter(content)
    assert adapter.config.modules_to_save == ("layers.4",)
    assert adapter.head_parameters == count_parameters(BASE.layers[4])
    assert torch.equal(apply_adapter(BASE, adapter).layers[4].weight, model.layers[4].weight)
    other = SMALL.build(seed=9)
    with pytest.raises(BaseMismatchError, match="frozen weights are not those of its base"):
        packed(other, model, lora, probe())


WHOLE_LAYER = r"layer layers\.2 trained whole \(modules_to_save\), but only the last layer"


@pytest.mark.parametrize(
    ("values", "how", "sentence"),
    [
        ({}, {"safe_serialization": False}, r"adapter_model\.bin.*run code.*only safetensors"),
        ({"bias": "lora_only"}, {}, "uses bias='lora_only', which is not supported"),
        *(
            ({"target_modules": targets, "modules_to_save": ["layers.2"]}, {}, WHOLE_LAYER)
            for targets in (["layers.0"], "all-linear")
        ),
    ],
    ids=str,
)
def test_what_peft_saves_and_we_do_not_apply_is_refused_by_its_name(
    tmp_path: Path, values: dict[str, Any], how: dict[str, bool], sentence: str
) -> None:
    theirs = get_peft_model(copy.deepcopy(BASE), LoraConfig(**{"target_modules": "all-linear"} | values))
    content = saved(theirs, tmp_path / "a", **how)
    with pytest.raises(AdapterError, match=sentence):
        apply_adapter(BASE, read_adapter(content))


paths = st.lists(st.sampled_from(["layers", "0", "1", "11", "fc", "fc2", "a"]), min_size=1, max_size=3).map(".".join)
patterns = paths | st.sampled_from(
    [
        r".*\.1",
        r"^layers\.1",
        r"layers\.(1|11)",
        "layers..",
        r".*fc\d",
        r"1$",
        "(0|fc)2",
        r"layers\.\d",
        r"layers\.[0-1]",
        r"(.*\.)?layers\.(0|1)",
        r"layers\.(?:0|11)",
        "layers.*(0|1)$",
        r"layers\.\d+",
        r"fc2?\.1{1,2}",
        r"(?:fc|a)?[^.]+?\.[\d]",
        r"1|\w+\.\D*",
        r"\ba\b.?",
        r".*layers.*1",
        r"(?:.*\.)?\d+\.a",
        r"[^1]*?fc.*",
        r"(?!.*fc).*\.1",
        r"(a|\d)+",
    ]
)


@given(
    st.dictionaries(patterns, st.integers(1, 9), max_size=3), st.lists(paths, min_size=1, max_size=2), patterns, paths
)
def test_names_and_patterns_match_as_in_peft(ranks: dict[str, int], names: list[str], pattern: str, path: str) -> None:
    values = {"peft_type": "LORA", "r": 10, "lora_alpha": 11, "rank_pattern": ranks, "alpha_pattern": ranks}
    for targets in (names, pattern):
        config = AdapterConfig.from_json(json.dumps({**values, "target_modules": targets}).encode())
        layer = config.layers([path])[path]
        assert layer.is_target == bool(check_target_module_exists(LoraConfig(target_modules=targets), path))
        assert layer.settings.rank == ranks.get(get_pattern_key(list(ranks), path), 10)
        assert layer.settings.alpha == ranks.get(get_pattern_key(list(ranks), path), 11)


def test_exported_names_hit_their_own_layer_and_no_other() -> None:
    network = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(4, 4) for _ in range(12)]), "0": nn.Linear(4, 4)})
    lora = LoRASpec(rank=3, target_modules=("layers.1", "layers.0"))
    add_lora(network, lora)
    layers = adapted_layers(network)
    layers["layers.1"].lora.rank, layers["layers.1"].lora.scaling = 2, 7.0
    config = AdapterConfig.from_json(AdapterConfig.of(lora, layers).to_json())
    found = config.layers([path for path, _ in network.named_modules() if path])
    assert [path for path, layer in found.items() if layer.is_target] == ["layers.0", "layers.1"]
    assert [found[f"layers.{i}"].settings.rank for i in range(12)] == [3, 2, *[3] * 10]
    assert [factor_of(config, f"layers.{i}") for i in (0, 1, 11)] == [8 / 3, 7.0, 8 / 3]


@given(st.sampled_from(SCALINGS), st.floats(1e-3, 4096), st.integers(1, 11), st.integers(1, 512))
def test_an_exported_alpha_gives_back_the_scaling(scaling: Scaling, alpha: float, own: int, rank: int) -> None:
    linear = nn.Linear(11, 11)
    factor = scaling_factor(scaling, alpha, rank)
    layer = LinearWithLoRA(linear, own, factor / scaling_factor(scaling, 1.0, own), scaling)
    config = AdapterConfig.of(LoRASpec(rank=rank, alpha=alpha, scaling=scaling), {"a.1": layer})
    found = AdapterConfig.from_json(config.to_json())
    assert found == config
    assert factor_of(found, "a.1") == pytest.approx(factor, rel=4e-16)
    assert torch.tensor(factor_of(found, "a.1")) == torch.tensor(layer.lora.scaling)
    assert found.layers(["a.1"])["a.1"].settings.rank == own
