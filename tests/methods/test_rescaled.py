"""A method that is no product A·B, and that only this test registers, goes through the whole job unnoticed by core.

Its layers and files are compared with PEFT's IA3.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from peft import IA3Config, PeftModel, get_peft_model
from torch import nn

from core.adapter import apply_adapter, read_adapter, verify_adapter
from core.adapter.archive import CARD, CONFIG, TENSORS, json_bytes, read_entries, zip_bytes
from core.artifacts.artifacts import MERGED
from core.artifacts.exports import FORMATS
from core.engine.jobs.run_files import ADAPTER
from core.errors import AdapterError, BaseMismatchError, SpecError
from core.methods.adapted import adapted_layers, merge, merged_copy, unmerge
from core.methods.registry import METHODS
from core.networks.file import read_network
from core.results.arm import arms_of
from core.results.row import rows_of
from core.run_spec import RunSpec
from core.serving.predictor import Predictor
from core.study.arms.tables import comparison_table, comparison_text, runs_table
from core.study.figures.palette import colours_of
from core.study.report.html import report_html
from core.study.report.report import report_of
from core.study.weights.change import read_change
from tests.adapter.samples import SMALL, assert_close, logits, perturb, probe, unzip
from tests.extended import Done, check_goes_on, check_recipe, check_served
from tests.methods.conftest import ARMS, WIDE
from tests.methods.rescaled import RescaledLinear, RescaledSpec
from tests.methods.samples import saved_by_peft
from tests.study.samples import decided_on


def moved(spec: RescaledSpec, base: nn.Module) -> nn.Module:
    """The base with factors as training leaves them."""
    model = spec.prepare(copy.deepcopy(base))
    perturb(*(layer.factors_of_groups for layer in adapted_layers(model).values()))
    return model


# The layer, beside PEFT's


@pytest.mark.parametrize("group", [1, 4])
def test_outputs_gradients_and_merged_weights_are_those_of_peft(group: int) -> None:
    base = SMALL.build(1).double()
    ours, paths = moved(RescaledSpec.of(group=group), base), ["layers.0", "layers.2", "layers.4"]
    config = IA3Config(target_modules=paths, feedforward_modules=paths)
    theirs = get_peft_model(copy.deepcopy(base), config)
    for path, layer in adapted_layers(ours).items():
        theirs.get_submodule(f"base_model.model.{path}").ia3_l["default"].data.copy_(layer.scale[None])
    rows = probe().double()
    found, expected = ours(rows), theirs(rows)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert (found - base(rows)).abs().max() > 1e-2
    for each in (found, expected):
        (each**2).sum().backward()
    for path, layer in adapted_layers(ours).items():
        own = theirs.get_submodule(f"base_model.model.{path}").ia3_l["default"].grad[0]
        sums = torch.stack([part.sum() for part in own.split(group)])
        torch.testing.assert_close(layer.factors_of_groups.grad, sums, rtol=1e-9, atol=1e-12)
        weight = base.get_submodule(path).weight
        torch.testing.assert_close(layer.delta(), weight * layer.scale - weight, rtol=1e-12, atol=1e-12)
    merged, other = merged_copy(ours).state_dict(), theirs.merge_and_unload().state_dict()
    for name, weight in merged.items():
        torch.testing.assert_close(weight, other[name], rtol=1e-12, atol=1e-12)


def test_it_starts_from_the_base_and_unmerges_bit_for_bit() -> None:
    base = SMALL.build(1)
    assert torch.equal(RescaledSpec.of().prepare(copy.deepcopy(base))(probe()), base(probe()))
    model = moved(RescaledSpec.of(group=3), base)
    before, state = logits(model, probe()), copy.deepcopy(model.state_dict())
    merge(model)
    assert_close(logits(model, probe()), before)
    unmerge(model)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


# Training


def test_its_runs_train_what_it_says_and_leave_the_base_alone(done: Done) -> None:
    trained = {run.spec.label: run.result.trainable_parameters for run in done.runs if run.result}
    assert trained["IA3 g=1"] == 784 + 128 + 256
    assert trained["IA3 g=16"] == 784 // 16 + 128 // 16
    for run in done.runs:
        assert run.score > run.result.measures["accuracy_before"]
        if run.spec.kind == "rescaled":
            assert run.result.bank == 1
            base = read_network(done.lab.artifacts.base(run)).state_dict()
            merged = read_network(done.lab.artifacts.path(run.id, MERGED)).state_dict()
            changed = {name for name in base if not torch.equal(base[name], merged[name])}
            layers = (0, 2, 4) if run.spec.method == WIDE else (0, 2)
            assert changed == {f"layers.{layer}.weight" for layer in layers}


@pytest.mark.minutes  # test_new_family.py has one that goes on
def test_an_interrupted_run_goes_on_to_the_last_bit(done: Done, tmp_path: Path) -> None:
    check_goes_on(done, done.of("IA3 g=16"), tmp_path)


# Files


@pytest.mark.parametrize("label", ["IA3 g=1", "IA3 g=16"])
def test_its_file_is_certified_and_peft_gives_the_same_logits(done: Done, tmp_path: Path, label: str) -> None:
    adapter, base = done.path(label, ADAPTER), done.lab.artifacts.base(done.of(label))
    found = verify_adapter(adapter, base)
    assert found.certified
    assert str(found).startswith("The adapter is valid: on layers.0, layers.2")
    unzip(adapter.read_bytes(), tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    assert (config["peft_type"], config["feedforward_modules"]) == ("IA3", config["target_modules"])
    expected = logits(done.lab.artifacts.trained(done.of(label)), done.pixels)
    loaded = PeftModel.from_pretrained(read_network(base), str(tmp_path))
    assert_close(logits(loaded, done.pixels), expected)
    assert (expected - logits(read_network(base), done.pixels)).abs().max() > 0.1
    assert_close(logits(read_network(done.path(label, MERGED)), done.pixels), expected)


def test_what_peft_saves_is_read_back(registered: None, tmp_path: Path) -> None:
    base, paths = SMALL.build(1), ["layers.0", "layers.2"]
    theirs = get_peft_model(copy.deepcopy(base), IA3Config(target_modules=paths, feedforward_modules=paths))
    perturb(*(p for p in theirs.parameters() if p.requires_grad))
    file = saved_by_peft(theirs, tmp_path)
    model = apply_adapter(base, read_adapter(file))
    assert {type(layer) for layer in adapted_layers(model).values()} == {RescaledLinear}
    assert_close(logits(model, probe()), logits(theirs, probe()))
    other = SMALL.but(num_features=13).build(1)
    with pytest.raises(BaseMismatchError, match=r"layer layers\.0 maps 13 to 11, its adapter 12 to any"):
        apply_adapter(other, read_adapter(file))


def test_a_file_that_does_not_hold_gets_one_sentence(done: Done) -> None:
    entries = read_entries(done.path("IA3 g=1", ADAPTER))
    config = json.loads(entries[CONFIG])
    for changes, sentence in (
        ({"feedforward_modules": []}, "must be all layers: only inputs may be scaled"),
        ({"peft_type": "LORA", "feedforward_modules": None, "init_ia3_weights": None}, "not part of a LoRA adapter"),
        ({"peft_type": "VERA"}, "has the type 'VERA'; only LORA and IA3 are supported"),
        ({"r": 4}, "uses r=4, which is not supported"),
    ):
        with pytest.raises(AdapterError, match=sentence):
            read_adapter(zip_bytes({CONFIG: json_bytes(config | changes), TENSORS: entries[TENSORS]}))


def test_its_card_names_it_and_its_own_settings(done: Done) -> None:
    card = read_entries(done.path("IA3 g=16", ADAPTER))[CARD].decode()
    assert "tags:\n- ia3\n" in card
    assert "# IA3 adapter of run" in card
    assert "add_weighted_adapter" not in card
    assert "- IA3 trains a factor on each input of a layer\n- Group 16, spread 0.1\n- Layers: `layers.0`, `la" in card


def test_it_is_exported_as_a_network(done: Done) -> None:
    run = done.of("IA3 g=1")
    for name in ("peft", "safetensors", "onnx"):
        export = done.lab.exports.make(run, FORMATS[name])
        assert export.certificate.equal_predictions == export.certificate.examples


def test_a_recipe_gives_its_very_weights_again(done: Done, tmp_path: Path) -> None:
    check_recipe(done, "IA3 g=16", tmp_path)


def test_rows_of_one_request_have_it_lora_or_no_adapter(done: Done) -> None:
    lab = done.lab
    predictor = Predictor(lab.store, lab.artifacts, lab.catalog, lab.networks.tokenizer_of)
    try:
        assert {(each.label, each.rank) for each in predictor.adapters().adapters} >= {("IA3 g=1", None)}
        check_served(done, predictor, "IA3 g=1", None, "LoRA r=2", "IA3 g=16")
    finally:
        predictor.close()


# Tables, report and weights


def test_tables_and_report_show_its_own_fields(done: Done) -> None:
    runs = done.lab.store.members(done.experiment)
    assert [arm.label for arm in arms_of(rows_of(runs))] == ["Full", "LoRA r=2", "IA3 g=1", "IA3 g=16"]
    for table in (comparison_table(arms_of(rows_of(runs))), runs_table(runs)):
        by_setting = table.groupby("Setting").first()
        assert (by_setting["Group"]["IA3 g=16"], by_setting["Rank"]["LoRA r=2"]) == (16, 2)
        assert table.isna()["Rank"].sum() > table.isna()["Group"].sum() - len(table)
    assert list(comparison_text(arms_of(rows_of(runs)))["Group"]) == ["–", "–", "1", "16"]
    assert len(set(colours_of(run.spec for run in runs).values())) == len(ARMS)
    assert decided_on(rows_of(runs)).told is not None
    html = report_html(report_of(done.lab, done.experiment))
    assert "spread 0.1, on layers.0 layers.2" in html
    assert "data order, the draw of LoRA's A and the draw of IA3's factors" in html.replace("&#x27;", "'")
    assert "could not be measured again" not in html


def test_its_change_of_the_weights_is_that_of_the_merged_network(done: Done) -> None:
    run = done.of("IA3 g=1")
    change = read_change(done.lab, run)
    merged = read_network(done.path("IA3 g=1", MERGED)).state_dict()
    for path in change.layers:
        expected = merged[f"{path}.weight"].double() - torch.from_numpy(change.weight(path))
        torch.testing.assert_close(torch.from_numpy(change.delta(path)), expected, rtol=1e-4, atol=1e-6)
    assert change.spectrum("layers.2").rank > 2


def test_it_is_known_only_while_it_is_registered(done: Done) -> None:
    spec = done.of("IA3 g=16").spec
    METHODS.remove(RescaledSpec)
    try:
        with pytest.raises(SpecError, match="There is no method 'rescaled'"):
            RunSpec.from_json(spec.to_json())
        with pytest.raises(AdapterError, match="has the type 'IA3'; only LORA is supported"):
            read_adapter(done.path("IA3 g=16", ADAPTER))
    finally:
        METHODS.append(RescaledSpec)
    assert RunSpec.from_json(spec.to_json()) == spec
