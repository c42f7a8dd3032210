"""Adapter files: what we write PEFT reads, what PEFT writes we read, and nothing else gets in."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import pickle
import random
import re
import shutil
import stat
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from torch import Tensor, nn

from core.adapter import (
    AdapterConfig,
    AdapterFile,
    Card,
    adapter_bytes,
    apply_adapter,
    read_adapter,
    verify_adapter,
    write_adapter,
)
from core.adapter.archive import CARD, CERTIFICATE, CONFIG, TENSORS, json_bytes, zip_bytes
from core.adapter.card import plain
from core.adapter.certificate import logits_of, merged_logits_of
from core.errors import AdapterError, BaseMismatchError, NetworkFileError
from core.lora import (
    AdaptedLinear,
    LinearWithLoRA,
    LinearWithLoRAMerged,
    adapted_layers,
    add_lora,
    count_parameters,
    merge,
    merged_copy,
    scaling_factor,
)
from core.model import MultilayerPerceptron, build, fingerprint
from core.network_file import read_network, write_network
from core.runs.record import Result
from core.spec import LoRASpec, ModelSpec, OptimSpec, RunSpec, Scaling, TaskSpec

WIDE = ModelSpec(num_features=300, num_hidden_1=220, num_hidden_2=210, num_classes=10)
SMALL = ModelSpec(num_features=12, num_hidden_1=11, num_hidden_2=9, num_classes=5)
SCALINGS: list[Scaling] = ["alpha/r", "alpha", "alpha/sqrt(r)"]
HOSTILE = Card(
    "x](http://evil) | <script>", "b`\n# big", ("<img src=x>\r\n| a | www.evil.org", "\u202e*b*"), {"|": "`"}
)


def probe(spec: ModelSpec = SMALL, rows: int = 32) -> Tensor:
    return torch.rand(rows, spec.num_features, generator=torch.Generator().manual_seed(7))


def perturb(*parameters: Tensor, seed: int = 3) -> None:
    """Values as training leaves them: A has moved, B is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=generator) / max(parameter.shape) ** 0.5
            parameter.copy_(parameter.float() + noise)


def trained(
    lora: LoRASpec, spec: ModelSpec = SMALL, form: type[AdaptedLinear] = LinearWithLoRA
) -> tuple[MultilayerPerceptron, nn.Module]:
    base = build(spec, seed=1)
    model = add_lora(copy.deepcopy(base), lora, torch.Generator().manual_seed(2), form)
    perturb(*(p for layer in adapted_layers(model).values() for p in layer.lora.parameters()))
    return base, model


def packed(base: nn.Module, model: nn.Module, lora: LoRASpec, rows: Tensor, card: Card = HOSTILE) -> bytes:
    return adapter_bytes(model, lora, base_fingerprint=fingerprint(base.state_dict()), card=card, probe=rows)


def unzip(content: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
    return folder


def logits(model: nn.Module, rows: Tensor) -> Tensor:
    with torch.no_grad():
        return model.eval()(rows)


def assert_close(one: Tensor, two: Tensor, tolerance: float = 1e-5) -> None:
    assert torch.isfinite(one).all()
    assert (one - two).abs().max() <= tolerance


LORA = LoRASpec(rank=3, alpha=5)
BASE, MODEL = trained(LORA)
WHOLE = packed(BASE, MODEL, LORA, probe())
with zipfile.ZipFile(io.BytesIO(WHOLE)) as _archive:
    ENTRIES = {name: _archive.read(name) for name in _archive.namelist()}


# Ours into PEFT


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("rank", [1, 4, 16, 200])
@pytest.mark.parametrize("targets", [("all-linear",), ("layers.2", "layers.0"), ("layers.4", "0")], ids=str)
@pytest.mark.parametrize("form", [LinearWithLoRA, LinearWithLoRAMerged])
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
    model = apply_adapter(BASE, read_adapter(_saved(loaded, tmp_path / "theirs")))
    assert_close(logits(model, probe()), logits(loaded, probe()))


# PEFT's into ours


def _saved(model: nn.Module, folder: Path, around: str = "") -> bytes:
    """What a person has who zips the folder that PEFT saved, or a folder around it."""
    model.save_pretrained(folder / around)
    return Path(shutil.make_archive(str(folder) + "-zip", "zip", folder)).read_bytes()


PEFT_CONFIGS: list[dict[str, Any]] = [
    {"target_modules": "all-linear"},
    {"target_modules": ["layers.0", "layers.4"], "r": 2, "lora_alpha": 7},
    {"target_modules": ["0", "2"], "r": 4, "lora_alpha": 0.3, "use_rslora": True},
    {"target_modules": r".*layers\.(2|4)", "r": 3, "lora_dropout": 0.5},
    {"target_modules": r"layers\.[024]$", "r": 16, "lora_alpha": 32},
    {"target_modules": ["2", "4"], "r": 8, "rank_pattern": {"layers.4": 2}, "alpha_pattern": {"4": 3, "layers.2": 5}},
    {"target_modules": "all-linear", "rank_pattern": {r"^layers\.(0|4)": 2, "layers.4": 7}, "use_rslora": True},
    {"target_modules": "all-linear", "alpha_pattern": {r".*\.2$": 1.5}, "init_lora_weights": "gaussian"},
]


@pytest.mark.parametrize("values", PEFT_CONFIGS, ids=str)
@pytest.mark.parametrize("around", ["", "my adapter"])
def test_we_compute_what_peft_computes(tmp_path: Path, values: dict[str, Any], around: str) -> None:
    theirs = get_peft_model(copy.deepcopy(BASE), LoraConfig(**values))
    perturb(*(p for name, p in theirs.named_parameters() if "lora_" in name))
    expected = logits(theirs, probe())
    adapter = read_adapter(_saved(theirs, tmp_path / "a", around))
    assert (adapter.base_fingerprint, adapter.certificate) == (None, None)
    ours = apply_adapter(BASE, adapter)
    assert_close(logits(ours, probe()), expected)
    assert_close(logits(merged_copy(ours), probe()), expected)
    layers = {name: m for name, m in theirs.get_base_model().named_modules() if hasattr(m, "lora_A")}
    assert list(adapted_layers(ours)) == list(layers)
    for path, layer in layers.items():
        lora = ours.get_submodule(path).lora
        assert lora.scaling == adapter.scaling(path) == layer.scaling["default"]
        assert lora.rank == layer.r["default"]
        assert torch.equal(lora.A.T, layer.lora_A["default"].weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_tensors_of_peft_are_taken_in_float32_as_peft_does(tmp_path: Path, dtype: torch.dtype) -> None:
    theirs = get_peft_model(copy.deepcopy(BASE), LoraConfig(target_modules="all-linear"))
    perturb(*(p for name, p in theirs.named_parameters() if "lora_" in name))
    content = _saved(theirs.to(dtype), tmp_path / "a")
    adapter = read_adapter(content)
    assert {t.dtype for t in adapter.tensors.values()} == {dtype}
    loaded = PeftModel.from_pretrained(copy.deepcopy(BASE), tmp_path / "a")
    assert_close(logits(apply_adapter(BASE, adapter), probe()), logits(loaded, probe()))


def test_a_pickled_save_of_peft_is_refused(tmp_path: Path) -> None:
    theirs = get_peft_model(copy.deepcopy(BASE), LoraConfig(target_modules="all-linear"))
    theirs.save_pretrained(tmp_path / "a", safe_serialization=False)
    shutil.make_archive(str(tmp_path / "b"), "zip", tmp_path / "a")
    with pytest.raises(AdapterError, match=r"adapter_model\.bin.*run code.*only safetensors"):
        read_adapter(tmp_path / "b.zip")


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
    ]
)


@given(
    st.dictionaries(patterns, st.integers(1, 9), max_size=3), st.lists(paths, min_size=1, max_size=2), patterns, paths
)
def test_names_and_patterns_match_as_in_peft(ranks: dict[str, int], names: list[str], pattern: str, path: str) -> None:
    values = {"peft_type": "LORA", "r": 10, "lora_alpha": 11, "rank_pattern": ranks, "alpha_pattern": ranks}
    for targets in (names, pattern):
        config = AdapterConfig.from_json(json.dumps({**values, "target_modules": targets}).encode())
        assert config.targets(path) == bool(check_target_module_exists(LoraConfig(target_modules=targets), path))
        assert config.rank_of(path) == ranks.get(get_pattern_key(list(ranks), path), 10)
        assert config.alpha_of(path) == ranks.get(get_pattern_key(list(ranks), path), 11)


def test_exported_names_hit_their_own_layer_and_no_other() -> None:
    network = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(4, 4) for _ in range(12)]), "0": nn.Linear(4, 4)})
    lora = LoRASpec(rank=3, target_modules=("layers.1", "layers.0"))
    add_lora(network, lora)
    layers = adapted_layers(network)
    layers["layers.1"].lora.rank, layers["layers.1"].lora.scaling = 2, 7.0
    config = AdapterConfig.from_json(AdapterConfig.of(lora, layers).to_json())
    hits = [path for path, _ in network.named_modules() if config.targets(path)]
    assert hits == ["layers.0", "layers.1"]
    assert [config.rank_of(f"layers.{i}") for i in range(12)] == [3, 2, *[3] * 10]
    assert [config.factor_of(f"layers.{i}") for i in (0, 1, 11)] == [8 / 3, 7.0, 8 / 3]


@given(st.sampled_from(SCALINGS), st.floats(1e-3, 4096), st.integers(1, 11), st.integers(1, 512))
def test_an_exported_alpha_gives_back_the_scaling(scaling: Scaling, alpha: float, own: int, rank: int) -> None:
    linear = nn.Linear(11, 11)
    factor = scaling_factor(scaling, alpha, rank)
    layer = LinearWithLoRA(linear, own, factor / scaling_factor(scaling, 1.0, own), scaling)
    config = AdapterConfig.of(LoRASpec(rank=rank, alpha=alpha, scaling=scaling), {"a.1": layer})
    found = AdapterConfig.from_json(config.to_json())
    assert found == config
    assert found.factor_of("a.1") == pytest.approx(factor, rel=4e-16)
    assert torch.tensor(found.factor_of("a.1")) == torch.tensor(layer.lora.scaling)
    assert found.rank_of("a.1") == own


# Writing


def test_a_file_holds_what_the_network_holds() -> None:
    adapter = read_adapter(WHOLE)
    assert set(ENTRIES) == {TENSORS, CONFIG, CERTIFICATE, CARD}
    assert adapter.base_fingerprint == fingerprint(BASE.state_dict())
    assert adapter.layers == ("layers.0", "layers.2", "layers.4")
    assert adapter.parameters == count_parameters(MODEL, trainable=True)
    for path, layer in adapted_layers(MODEL).items():
        A, B = adapter.matrices(path)
        assert torch.equal(A, layer.lora.A)
        assert torch.equal(B, layer.lora.B)
        assert adapter.scaling(path) == layer.lora.scaling
    assert all(t.dtype == torch.float32 and t.is_contiguous() for t in adapter.tensors.values())
    header = json.loads(ENTRIES[TENSORS][8 : 8 + int.from_bytes(ENTRIES[TENSORS][:8], "little")])
    assert header["__metadata__"] == {"format": "pt", "base_fingerprint": adapter.base_fingerprint}


def test_the_certificate_says_what_was_measured() -> None:
    base, model = trained(LoRASpec(rank=4, alpha=8), ModelSpec())
    rows = probe(ModelSpec(), 50)
    certificate = read_adapter(packed(base, model, LoRASpec(rank=4, alpha=8), rows)).certificate
    assert certificate is not None
    assert certificate.parameters == 6248
    assert (certificate.rank, certificate.layers) == (4, {"layers.0": 4, "layers.2": 4, "layers.4": 4})
    assert certificate.base_fingerprint == fingerprint(base.state_dict())
    assert certificate.probe_rows == 50
    assert certificate.largest_logit == logits(model, rows).abs().max().item()
    assert certificate.reloaded_difference == 0
    assert 0 < certificate.merged_difference < 1e-5
    assert certificate.merged_difference == pytest.approx(
        (logits(merged_copy(model), rows) - logits(model, rows)).abs().max().item(), rel=0.5
    )


def test_the_same_adapter_gives_the_same_bytes() -> None:
    assert {packed(BASE, MODEL, LORA, probe()) for _ in range(12)} == {WHOLE}
    other_order = LORA.but(target_modules=("layers.4", "layers.0", "layers.2"))
    assert packed(BASE, MODEL, other_order, probe()) == WHOLE
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == sorted(ENTRIES)
    for name in (CONFIG, CERTIFICATE):
        assert ENTRIES[name] == json_bytes(json.loads(ENTRIES[name]))


@pytest.mark.parametrize("form", [LinearWithLoRA, LinearWithLoRAMerged])
def test_a_merged_network_gives_the_same_file_and_stays_merged(form: type[AdaptedLinear]) -> None:
    base, model = trained(LORA, form=form)
    model.train()
    merge(model)
    before = fingerprint(model.state_dict())
    found = read_adapter(packed(base, model, LORA, probe()))
    assert (found.config, found.tensors_sha256) == (GOOD.config, GOOD.tensors_sha256)
    # The reloaded network has two branches: it repeats the outputs of its own form bit for bit.
    assert found.certificate.reloaded_difference <= (0 if form is LinearWithLoRA else 1e-6)
    assert fingerprint(model.state_dict()) == before
    assert model.training
    assert all(layer.merged for layer in adapted_layers(model).values())


@settings(max_examples=25)
@given(
    st.sampled_from(SCALINGS),
    st.sampled_from([1e-3, 1.0, 4096.0]),
    st.sampled_from([0.01, 1.0, 30.0]),
    st.integers(1, 11),
)
def test_wild_but_finite_weights_can_be_taken_home(scaling: Scaling, alpha: float, size: float, rank: int) -> None:
    lora = LoRASpec(rank=rank, alpha=alpha, scaling=scaling)
    base, model = trained(lora)
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            layer.lora.A.mul_(size)
            layer.lora.B.mul_(size)
    reloaded = apply_adapter(base, read_adapter(packed(base, model, lora, probe())))
    assert torch.equal(logits(reloaded, probe()), logits(model, probe()))


def _poison(model: nn.Module) -> None:
    with torch.no_grad():
        adapted_layers(model)["layers.2"].lora.B[0, 0] = torch.nan


def _overflow(model: nn.Module) -> None:
    with torch.no_grad():
        for layer in adapted_layers(model).values():
            layer.lora.B.fill_(1e25)


def _drift(model: nn.Module) -> None:
    with torch.no_grad():
        adapted_layers(model)["layers.2"].linear.weight[0, 0] += 1e-6


def _rescale(model: nn.Module) -> None:
    adapted_layers(model)["layers.4"].lora.scaling *= 1.01


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (_poison, AdapterError, "not finite"),
        (_overflow, AdapterError, "not finite"),
        (_drift, BaseMismatchError, "not those of its base"),
        (_rescale, AdapterError, "not those of its LoRA settings"),
    ],
)
@pytest.mark.parametrize("old", [None, b"old"])
def test_what_does_not_hold_is_not_written(
    tmp_path: Path, change: Callable[[nn.Module], None], error: type[AdapterError], sentence: str, old: bytes | None
) -> None:
    base, model = trained(LORA)
    change(model)
    path = tmp_path / "adapter.zip"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error, match=sentence):
        write_adapter(path, model, LORA, base_fingerprint=fingerprint(base.state_dict()), card=HOSTILE, probe=probe())
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([] if old is None else [old])


@pytest.mark.parametrize(
    "change", [{"rank": 2}, {"alpha": 6}, {"scaling": "alpha"}, {"target_modules": ("layers.0", "layers.2")}], ids=str
)
def test_settings_of_another_run_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(AdapterError, match="not those of its LoRA settings"):
        packed(BASE, MODEL, LORA.but(**change), probe())


def test_only_an_adapted_perceptron_and_a_fitting_probe_are_taken() -> None:
    for model in (BASE, nn.Linear(2, 2), LinearWithLoRA(nn.Linear(4, 4), 2, 8)):
        with pytest.raises(AdapterError, match="carries adapters"):
            packed(BASE, model, LORA, probe())
    for rows in (probe()[:0], probe()[0], torch.rand(3, 13), probe() * torch.nan):
        with pytest.raises(AdapterError, match="one row of 12 finite inputs"):
            packed(BASE, MODEL, LORA, rows)


def test_a_written_file_is_whole_and_its_hash_is_told(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "adapter.zip"
    digest = write_adapter(
        path, MODEL, LORA, base_fingerprint=fingerprint(BASE.state_dict()), card=HOSTILE, probe=probe()
    )
    assert path.read_bytes() == WHOLE
    assert digest == hashlib.sha256(WHOLE).hexdigest()


# The model card


def test_the_code_in_the_model_card_loads_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "base.safetensors", BASE)
    (tmp_path / "adapter.zip").write_bytes(WHOLE)
    blocks = re.findall(r"```python\n(.*?)```", ENTRIES[CARD].decode(), re.DOTALL)
    assert ["core." in block for block in blocks] == [False, True, True]
    assert ["peft" in block for block in blocks] == [True, True, False]
    for block in blocks:
        names: dict[str, Any] = {}
        exec(block, names)
        assert_close(logits(names["model"], probe()), logits(MODEL, probe()))


def test_hostile_names_stay_text_in_the_model_card() -> None:
    shown = ENTRIES[CARD].decode()
    calm = packed(BASE, MODEL, LORA, probe(), Card("x", "b", ("one", "two"), {"a": "b"}))
    with zipfile.ZipFile(io.BytesIO(calm)) as archive:
        assert len(shown.splitlines()) == len(archive.read(CARD).decode().splitlines())
    assert "\\<script\\>" in shown
    assert not re.search(
        r"(?<!\\)<|(?<!\\)\]\(|^# big|www\.evil|http:|\u202e", shown.split("## Load", 1)[0], re.MULTILINE
    )


@given(st.text(max_size=300))
def test_any_text_becomes_one_harmless_line(text: str) -> None:
    line = plain(text)
    assert line.isprintable()
    assert len(line) <= 400
    assert not re.match(r"\d*[-+=.]", line)
    assert not re.search(r"(?<!\\)(\\\\)*[`*_{}\[\]<>()#|~!&$@:]", line)
    assert re.sub(r"\\(.)", r"\1", line) == " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def test_a_card_of_a_run_states_task_and_results() -> None:
    spec = RunSpec(
        method="lora",
        base="base-1",
        source=TaskSpec(dataset="mnist"),
        task=TaskSpec(dataset="mnist", classes=(5, 6), rotation=45, invert=True, permutation=3, shots=10),
        lora=LORA,
        optim=OptimSpec(learning_rate=0.005, epochs=3),
        seed=4,
    )
    result = Result(
        accuracy=97.125, accuracy_before=None, source_accuracy=80.0, source_accuracy_before=96.5,
        source_accuracy_masked=None, source_accuracy_masked_before=None, parameters=1, trainable_parameters=1,
        seconds=1.0, examples_per_second=1.0, memory=1, checkpoint_bytes=1, adapter_bytes=None, epochs=2, steps=5,
        kept_epoch=2, device="cpu", threads=1,
    )  # fmt: skip
    card = Card.of("run-7", spec, result)
    assert (card.run, card.base) == ("run-7", "base-1")
    told = "\n".join(card.task)
    for word in ("mnist", "classes 5, 6", "45 degrees", "inverted", "seed 3", "10 images", "0.005", "2 of 3", "seed 4"):
        assert word in told
    assert list(card.results.values()) == ["97.12 %", "80.00 %", "96.50 %"]


# Putting an adapter on a base


def test_applying_leaves_the_base_and_the_random_numbers_alone() -> None:
    before, state = fingerprint(BASE.state_dict()), torch.get_rng_state()
    base_logits = logits(BASE, probe())
    model = apply_adapter(BASE, read_adapter(WHOLE))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(logits(model, probe()), logits(MODEL, probe()))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert fingerprint(BASE.state_dict()) == before
    assert torch.equal(logits(BASE, probe()), base_logits)
    assert all(p.requires_grad for p in BASE.parameters())
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        n for n, p in model.named_parameters() if ".lora." in n
    }


@pytest.mark.parametrize("training", [True, False])
def test_an_applied_adapter_has_the_mode_of_the_base(training: bool) -> None:
    model = apply_adapter(copy.deepcopy(BASE).train(training), read_adapter(WHOLE))
    assert {m.training for m in model.modules()} == {training}


def test_another_base_is_refused_however_small_the_difference() -> None:
    other = copy.deepcopy(BASE)
    with torch.no_grad():
        other.layers[0].bias[0] = torch.nextafter(other.layers[0].bias[0], torch.tensor(9.0))
    for base in (other, build(SMALL, seed=2), build(WIDE, seed=1)):
        with pytest.raises(BaseMismatchError, match="trained on another base"):
            apply_adapter(base, read_adapter(WHOLE))


def test_a_network_with_adapters_takes_no_second_one() -> None:
    with pytest.raises(AdapterError, match="carries LoRA adapters already"):
        apply_adapter(MODEL, read_adapter(WHOLE))


@pytest.mark.parametrize(
    "base",
    [
        build(WIDE, seed=1),
        build(SMALL.but(num_hidden_1=10), seed=1),
        build(SMALL.but(num_classes=6), seed=1),
        nn.Sequential(nn.Linear(12, 11)),
        nn.ModuleDict({"layers": nn.Sequential(*list(BASE.layers)[:3])}),
    ],
    ids=["wide", "hidden", "classes", "flat", "shallower"],
)
@pytest.mark.parametrize("targets", [["layers.0", "layers.2", "layers.4"], "all-linear"], ids=str)
def test_shapes_that_do_not_fit_are_refused_without_a_fingerprint_too(base: nn.Module, targets: Any) -> None:
    adapter = read_adapter(peft_like(config={"target_modules": targets}))
    with pytest.raises(BaseMismatchError, match="does not fit this base"):
        apply_adapter(base, adapter)


# Strict reading: the tensors and the config


def peft_like(
    tensors: Mapping[str, Tensor | None] | None = None, config: Mapping[str, Any] | None = None, **entries: bytes
) -> bytes:
    """A sound file without certificate, with some tensors, settings or entries changed; None takes a tensor out."""
    sound = safetensors.torch.load(ENTRIES[TENSORS]) | dict(tensors or {})
    kept = {name: tensor for name, tensor in sound.items() if tensor is not None}
    settings = json.loads(ENTRIES[CONFIG]) | dict(config or {})
    return zip_bytes({TENSORS: safetensors.torch.save(kept), CONFIG: json.dumps(settings).encode(), **entries})


A0, B0 = ("base_model.model.layers.0.lora_A.weight", "base_model.model.layers.0.lora_B.weight")
BAD_TENSORS: list[tuple[dict[str, Tensor | None], str]] = [
    ({A0: None}, "lacks matrix A of layer layers.0"),
    ({B0: None}, "lacks matrix B of layer layers.0"),
    ({A0: None, B0: None}, "lacks the adapter of layer layers.0"),
    ({A0: torch.zeros(2, 12)}, r"shape \(2, 12\), which is not of rank 3"),
    ({A0: torch.zeros(12, 3)}, "which is not of rank 3"),
    ({B0: torch.zeros(3, 11)}, "which is not of rank 3"),
    ({B0: torch.zeros(3)}, "which is not of rank 3"),
    ({A0: torch.zeros(3, 0)}, "which is not of rank 3"),
    ({A0: torch.zeros(3, 12, 1)}, "which is not of rank 3"),
    ({A0: torch.full((3, 12), torch.nan)}, "not finite floats"),
    ({B0: torch.full((11, 3), torch.inf)}, "not finite floats"),
    ({A0: torch.zeros(3, 12, dtype=torch.int64)}, "not finite floats"),
    ({A0: torch.zeros(3, 12, dtype=torch.float64)}, "not finite floats"),
    ({A0: torch.zeros(3, 12, dtype=torch.float8_e4m3fn)}, "not finite floats"),
    ({"extra": torch.zeros(1)}, "'extra', which is not part of a LoRA adapter"),
    ({"base_model.model.layers.0.lora_A.bias": torch.zeros(1)}, "not part of a LoRA adapter"),
    ({"base_model.model.layers.0.base_layer.weight": torch.zeros(1)}, "not part of a LoRA adapter"),
    ({"base_model.model.layers.0.lora_magnitude_vector": torch.zeros(1)}, "not part of a LoRA adapter"),
    ({"base_model.model.layers.0.lora_embedding_A": torch.zeros(1)}, "not part of a LoRA adapter"),
    ({"base_model.model.layers.1.lora_A.weight": torch.zeros(3, 4)}, "layers.1, which .* does not name"),
    (dict.fromkeys(safetensors.torch.load(ENTRIES[TENSORS])), "lacks the adapter"),
]  # fmt: skip


def test_the_sound_file_that_the_bad_ones_are_made_of_is_read() -> None:
    model = apply_adapter(BASE, read_adapter(peft_like()))
    assert torch.equal(logits(model, probe()), logits(MODEL, probe()))


@pytest.mark.parametrize(("tensors", "sentence"), BAD_TENSORS, ids=[s for _, s in BAD_TENSORS])
def test_tensors_that_are_missing_extra_or_misshapen_are_refused(
    tensors: dict[str, Tensor | None], sentence: str
) -> None:
    with pytest.raises(AdapterError, match=sentence) as caught:
        read_adapter(peft_like(tensors))
    assert "\n" not in str(caught.value)


def test_a_pair_that_only_the_base_can_miss_is_missed_there() -> None:
    everywhere = {"target_modules": "all-linear"}
    with pytest.raises(BaseMismatchError, match=r"layer layers\.0 is in only one"):
        apply_adapter(BASE, read_adapter(peft_like({A0: None, B0: None}, everywhere)))
    deeper = nn.ModuleDict({"layers": nn.Sequential(*BASE.layers, nn.ReLU(), nn.Linear(5, 5))})
    with pytest.raises(BaseMismatchError, match=r"layer layers\.6 is in only one"):
        apply_adapter(deeper, read_adapter(peft_like(config=everywhere)))


BAD_CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"peft_type": "IA3"}, "only LORA"),
    ({"peft_type": None}, "only LORA"),
    ({"peft_type": ["LORA"]}, "only LORA"),
    *[
        ({name: value}, f"uses {name}=.* which LoRA Lab cannot honour")
        for name, value in {
            "bias": "all", "fan_in_fan_out": True, "use_dora": True, "modules_to_save": ["layers.4"], "lora_bias": True,
            "layers_to_transform": [0], "layers_pattern": "layers", "exclude_modules": ["layers.4"],
            "target_parameters": ["layers.0.weight"], "trainable_token_indices": [1], "use_qalora": True,
            "alora_invocation_tokens": [1], "layer_replication": [[0, 2]], "loftq_config": {"loftq_bits": 4},
            "megatron_config": {"a": 1}, "use_bdlora": {"nblocks": 2}, "velora_config": {"a": 1}, "of_2031": 1,
        }.items()
    ],
    *[({"init_lora_weights": how}, "changes the base") for how in ("pissa", "olora", "corda", "loftq", "mica", ["x"])],
    *[({"r": rank}, "A rank") for rank in (0, -1, 1.5, "3", True, None, 10**9, [3])],
    *[({"rank_pattern": {"layers.0": rank}}, "A rank") for rank in (0, "3", None)],
    *[({"lora_alpha": alpha}, "A lora_alpha") for alpha in (0, -1, "8", True, None, 10**400, [8])],
    *[({"alpha_pattern": {"layers.0": alpha}}, "A lora_alpha") for alpha in (0, "3", None)],
    *[({"target_modules": value}, "target_modules") for value in (None, [], [3], {"layers.0": 1}, 3)],
    *[
        ({"target_modules": value}, "selects layers by")
        for value in (
            "(a+)+$", "(.*)*x", "layers[^0]", "[", "layers.[a", "(", r"\1", "a{9}", "(?=a)", "x" * 999, r"layers\.\N",
        )
    ],
    ({"rank_pattern": {"(a|a)*b": 3}}, "selects layers by"),
    ({"alpha_pattern": {"(": 3}}, "selects layers by"),
    ({"rank_pattern": ["layers.0"]}, "rank_pattern"),
    ({"use_rslora": "yes"}, "use_rslora"),
    ({"use_rslora": 1}, "use_rslora"),
    ({"rank_pattern": {"layers.2": 2}}, "which is not of rank 2"),
    ({"r": 4}, "which is not of rank 4"),
    ({"target_modules": ["layers.0", "layers.2"]}, "does not name"),
    ({"target_modules": ["layers.0", "layers.2", "layers.4", "fc"]}, "lacks the adapter of layer fc"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "sentence"), BAD_CONFIGS, ids=[f"{c!r:.50}" for c, _ in BAD_CONFIGS])
def test_settings_that_cannot_be_honoured_are_refused_by_name(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AdapterError, match=sentence) as caught:
        read_adapter(peft_like(config=config))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


JUNK = [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000, b'{"r": NaN}', b'{"r": ' + b"9" * 9_999 + b"}"]


@pytest.mark.parametrize("content", JUNK, ids=lambda c: repr(c[:12]))
@pytest.mark.parametrize("name", [CONFIG, CERTIFICATE])
def test_json_that_is_none_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(AdapterError, match=name):
        read_adapter(zip_bytes(ENTRIES | {name: content}))


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", bytes(8), b"\xff" * 16, pickle.dumps({"a": 1})], ids=repr)
def test_tensors_in_another_format_are_refused(content: bytes) -> None:
    with pytest.raises(AdapterError, match="no safetensors file"):
        read_adapter(zip_bytes(ENTRIES | {TENSORS: content}))


@pytest.mark.parametrize("metadata", ["null", "{}", '{"base_fingerprint": 3}', '{"base_fingerprint": null}', "[]"])
def test_odd_metadata_is_refused_or_says_nothing(metadata: str) -> None:
    content = ENTRIES[TENSORS]
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]) | {"__metadata__": json.loads(metadata)}).encode()
    changed = len(header).to_bytes(8, "little") + header + content[end:]
    with pytest.raises(AdapterError):
        read_adapter(zip_bytes(ENTRIES | {TENSORS: changed}))


# Strict reading: the certificate


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"parameters": 1}, "parameters differs"),
        ({"rank": 4}, "rank differs"),
        ({"layers": {"layers.0": 3}}, "layers differs"),
        ({"tensors_sha256": "0" * 64}, "tensors_sha256 differs"),
        ({"config_sha256": "0" * 64}, "config_sha256 differs"),
        ({"base_fingerprint": "0" * 64}, "base_fingerprint differs"),
        ({"parameters": "97"}, "unusable parameters"),
        ({"rank": True}, "unusable rank"),
        ({"layers": None}, "unusable layers"),
        ({"merged_difference": "0"}, "unusable merged_difference"),
        ({"signed_by": "me"}, "lacks or adds fields: signed_by"),
    ],
    ids=str,
)
def test_a_certificate_that_claims_otherwise_is_refused(change: dict[str, Any], sentence: str) -> None:
    claims = json.loads(ENTRIES[CERTIFICATE]) | change
    with pytest.raises(AdapterError, match=sentence):
        read_adapter(zip_bytes(ENTRIES | {CERTIFICATE: json_bytes(claims)}))


def test_a_certified_file_without_its_certificate_is_incomplete() -> None:
    with pytest.raises(AdapterError, match="belong together"):
        read_adapter(zip_bytes({name: data for name, data in ENTRIES.items() if name != CERTIFICATE}))
    with pytest.raises(AdapterError, match="belong together"):
        read_adapter(peft_like(**{CERTIFICATE: ENTRIES[CERTIFICATE]}))


def test_changed_settings_break_the_certificate() -> None:
    config = json.loads(ENTRIES[CONFIG]) | {"lora_alpha": 50}
    with pytest.raises(AdapterError, match="config_sha256 differs"):
        read_adapter(zip_bytes(ENTRIES | {CONFIG: json_bytes(config)}))


# Strict reading: the zip


def zipped(*extra: tuple[zipfile.ZipInfo | str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", how) as archive:
        for name, data in (*ENTRIES.items(), *extra):
            archive.writestr(name, data)
    return target.getvalue()


def _entry(name: str, mode: int = stat.S_IFREG | 0o644, how: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = how
    return info


def _nameless() -> bytes:
    """A sound file with one more entry, whose name is empty."""
    target = io.BytesIO(WHOLE)
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(zipfile.ZipInfo(""), b"")
    return target.getvalue()


def _named(name: str) -> bytes:
    """A zip whose last entry has a name that the zip module itself would not write."""
    return zipped(("x" * len(name), b"1")).replace(b"x" * len(name), name.encode())


BAD_ZIPS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a zip file"),
    "text": (b"hello" * 99, "not a zip file"),
    "pickle": (pickle.dumps({"a": [1]}), "not a zip file"),
    "no entries": (zip_bytes({}), "exactly once, not 0 times"),
    "no tensors": (zip_bytes({CONFIG: ENTRIES[CONFIG]}), "holds no adapter_model.safetensors"),
    "tensors elsewhere": (zip_bytes({CONFIG: ENTRIES[CONFIG], f"a/{TENSORS}": ENTRIES[TENSORS]}), "holds no"),
    "two configs": (zipped((f"a/{CONFIG}", ENTRIES[CONFIG])), "exactly once, not 2 times"),
    "many entries": (zipped(*((f"f{i}", b"") for i in range(20))), "more than 16 entries"),
    "very many entries": (zipped(*((f"f{i}", b"") for i in range(2000))), "more than 16 entries"),
    "parent folder": (zipped(("../evil", b"1")), "unsafe name"),
    "inner parent": (zipped(("a/../../evil", b"1")), "unsafe name"),
    "absolute": (_named("/etc/passwd"), "unsafe name"),
    "backslash": (_named("..\\evil"), "unsafe name"),
    "drive": (zipped(("c:evil", b"1")), "unsafe name"),
    "no name": (_nameless(), "unsafe name"),
    "null": (_named("note\0.bin"), "unsafe name"),
    "symbolic link": (zipped((_entry("link", stat.S_IFLNK | 0o777), b"/etc/passwd")), "a link or a device"),
    "device": (zipped((_entry("null", stat.S_IFCHR | 0o666), b"")), "a link or a device"),
    "bzip2": (zipped((_entry("note.txt", how=zipfile.ZIP_BZIP2), b"1")), "packed in an unusual way"),
    "lzma": (zipped((_entry("note.txt", how=zipfile.ZIP_LZMA), b"1")), "packed in an unusual way"),
    "bomb": (zipped((_entry("b.safetensors", how=zipfile.ZIP_DEFLATED), bytes(2**26))), "far more than it is"),
    "large text": (zipped(("LICENSE", random.Random(0).randbytes(2**21))), "too large"),
    **{f"pickle {end}": (zipped((f"a{end}", b"\x80\x04.")), "run code") for end in (".bin", ".pt", ".PKL", ".pth")},
}


@pytest.mark.parametrize(("content", "sentence"), BAD_ZIPS.values(), ids=BAD_ZIPS.keys())
def test_unsafe_and_strange_zips_are_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "adapter.zip").write_bytes(content)
    for source in (content, tmp_path / "adapter.zip"):
        with pytest.raises(AdapterError, match=sentence) as caught:
            read_adapter(source)
        assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["adapter.zip"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused() -> None:
    with pytest.raises(AdapterError, match="two entries of one name"):
        read_adapter(zipped((CONFIG, ENTRIES[CONFIG])))


def test_a_saved_torch_file_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "adapter.zip")
    with pytest.raises(AdapterError, match="run code"):
        read_adapter(tmp_path / "adapter.zip")


def test_a_bomb_that_lies_about_its_size_is_never_unpacked() -> None:
    size = 2**27 + 0x30201
    bomb = zipped((_entry("b.safetensors", how=zipfile.ZIP_DEFLATED), bytes(size)))
    liar = bomb.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert liar != bomb
    assert _peak_of_refusing(liar) < 2**24


def test_a_zip_of_very_many_entries_is_refused_before_they_are_listed() -> None:
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for i in range(40_000):
            archive.writestr(f"{i}", b"")
    assert _peak_of_refusing(many.getvalue()) < 2**20


def _peak_of_refusing(content: bytes) -> int:
    """Bytes that were allocated at once until the file was refused."""
    tracemalloc.start()
    try:
        with pytest.raises(AdapterError):
            read_adapter(content)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_file_that_is_too_large_or_not_there_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "big.zip").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(AdapterError, match="larger than 128 MiB"):
        read_adapter(tmp_path / "big.zip")
    for path in (tmp_path / "none.zip", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(AdapterError, match="cannot be read"):
            read_adapter(path)


def test_files_that_do_no_harm_are_passed_over() -> None:
    for extra in ((".gitattributes", b"*"), ("__MACOSX/._adapter_config.json", b"1"), ("empty/", b"")):
        assert_same(read_adapter(zipped(extra)), read_adapter(WHOLE))


def assert_same(one: AdapterFile, two: AdapterFile) -> None:
    assert (one.config, one.certificate, one.base_fingerprint) == (two.config, two.certificate, two.base_fingerprint)
    assert one.tensors.keys() == two.tensors.keys()
    assert all(torch.equal(one.tensors[name], two.tensors[name]) for name in one.tensors)


GOOD = read_adapter(WHOLE)


@given(st.integers(0, len(WHOLE) - 1))
def test_a_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(AdapterError):
        read_adapter(WHOLE[:length])


PACKED = zipped()


@settings(max_examples=500)
@given(st.sampled_from([WHOLE, PACKED]), st.data())
def test_flipped_bits_change_nothing_or_are_noticed(content: bytes, data: st.DataObject) -> None:
    flipped = bytearray(content)
    near_the_end = st.integers(max(0, len(content) - 400), len(content) - 1)
    for _ in range(data.draw(st.integers(1, 3))):
        flipped[data.draw(st.integers(0, len(content) - 1) | near_the_end)] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = read_adapter(bytes(flipped))
    except AdapterError:
        return
    assert_same(found, GOOD)


@settings(max_examples=300)
@given(st.sampled_from([TENSORS, CONFIG, CERTIFICATE]), st.data())
def test_flipped_bits_under_a_fresh_checksum_are_noticed_too(name: str, data: st.DataObject) -> None:
    flipped = bytearray(ENTRIES[name])
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = read_adapter(zip_bytes(ENTRIES | {name: bytes(flipped)}))
    except AdapterError:
        return
    assert name == CERTIFICATE
    assert_same(AdapterFile(found.config, found.tensors, found.base_fingerprint, GOOD.certificate, ""), GOOD)


@settings(max_examples=300)
@given(st.sampled_from([TENSORS, CONFIG]), st.data())
def test_damage_without_a_certificate_gives_an_adapter_or_an_error_and_nothing_else(
    name: str, data: st.DataObject
) -> None:
    with zipfile.ZipFile(io.BytesIO(peft_like())) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    changed = bytearray(entries[name])
    at = data.draw(st.integers(0, min(len(changed), 900) - 1))
    changed[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        model = apply_adapter(BASE, read_adapter(zip_bytes(entries | {name: bytes(changed)})))
    except AdapterError:
        return
    assert all(torch.isfinite(p).all() for p in model.parameters())


# Verifying


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "adapter.zip").write_bytes(WHOLE)
    write_network(tmp_path / "base.safetensors", BASE)
    return tmp_path / "adapter.zip", tmp_path / "base.safetensors"


def test_a_sound_adapter_is_verified_in_full(files: tuple[Path, Path]) -> None:
    found = verify_adapter(*files)
    assert found.base_fingerprint == fingerprint(BASE.state_dict())
    assert (found.fingerprint_matches, found.certified) == (True, True)
    assert (found.layers, found.tensors, found.rank) == (GOOD.layers, 6, 3)
    assert found.parameters == count_parameters(MODEL, trainable=True)
    assert 0 < found.merged_difference < 1e-5
    assert found == verify_adapter(*files)


def test_an_adapter_of_peft_is_verified_without_claims(files: tuple[Path, Path]) -> None:
    files[0].write_bytes(peft_like())
    found = verify_adapter(*files)
    assert (found.fingerprint_matches, found.certified) == (None, False)


def test_another_base_a_broken_base_and_a_broken_adapter_do_not_verify(files: tuple[Path, Path]) -> None:
    adapter, base = files
    write_network(base, build(SMALL, seed=2))
    with pytest.raises(BaseMismatchError):
        verify_adapter(adapter, base)
    for broken in (b"", WHOLE):
        base.write_bytes(broken)
        with pytest.raises(NetworkFileError):
            verify_adapter(adapter, base)
    write_network(base, BASE)
    adapter.write_bytes(WHOLE[:-1])
    with pytest.raises(AdapterError):
        verify_adapter(adapter, base)


@pytest.mark.parametrize(
    "change", [{"reloaded_difference": 0.1}, {"merged_difference": 0.1}, {"merged_difference": -1}]
)
def test_a_certificate_that_admits_a_difference_does_not_verify(
    files: tuple[Path, Path], change: dict[str, float]
) -> None:
    claims = json.loads(ENTRIES[CERTIFICATE]) | change
    files[0].write_bytes(zip_bytes(ENTRIES | {CERTIFICATE: json_bytes(claims)}))
    with pytest.raises(AdapterError, match="above the tolerance"):
        verify_adapter(*files)


def test_measuring_leaves_the_network_as_it_was() -> None:
    before = fingerprint(MODEL.state_dict())
    for training in (True, False):
        MODEL.train(training)
        assert_close(merged_logits_of(MODEL, probe()), logits_of(MODEL, probe()))
        assert MODEL.training == training
        assert not any(layer.merged for layer in adapted_layers(MODEL).values())
    assert fingerprint(MODEL.state_dict()) == before


def test_a_network_that_is_read_back_takes_the_adapter(files: tuple[Path, Path]) -> None:
    model = apply_adapter(read_network(files[1]), read_adapter(files[0]))
    assert torch.equal(logits(model, probe()), logits(MODEL, probe()))
