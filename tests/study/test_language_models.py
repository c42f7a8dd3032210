"""What Learn draws and counts of a transformer is what PEFT trains in the real one."""

from __future__ import annotations

import json
from itertools import product
from xml.etree import ElementTree

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from core.errors import LoRAError
from core.forecast.forecast import target_layers
from core.methods.dora import DoRASpec
from core.methods.linear import count_parameters
from core.methods.lora import LoRASpec
from core.networks.causal import CausalSpec
from core.networks.library.place import KNOWN
from core.study.learn.architectures import CONFIGS, adapted, alt_text, known_architectures
from core.study.learn.counting import kinds_table
from pages.learn.adapters import network_drawing
from tests.conftest import some_of
from tests.study.transformers_changed import tiny_spec

# PEFT asks transformers for what that calls otherwise now.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")

SVG = "{http://www.w3.org/2000/svg}"
PUBLISHED = {"minilm": 22_713_216, "smollm2": 134_515_008}
"""Parameters of the encoder and decoder, from huggingface.co; MiniLM's package has its 512 position ids as well."""

names = pytest.mark.parametrize("name", [known.name for known in KNOWN])


def real(name: str, kind: type = AutoModelForSequenceClassification) -> torch.nn.Module:
    values = json.loads((CONFIGS / f"{name}.json").read_text())
    architecture = values.pop("model_type")
    with torch.device("meta"):
        return kind.from_config(AutoConfig.for_model(architecture, **values, num_labels=2))


@names
def test_every_known_network_can_be_drawn_and_has_its_published_size(name):
    found = adapted(known_architectures()[name], LoRASpec.of(rank=8))
    assert found.parameters == count_parameters(real(name))
    assert found.parameters - found.head == PUBLISHED[name]


@pytest.mark.parametrize(
    ("method", "name"),
    some_of(
        product((LoRASpec, DoRASpec), [known.name for known in KNOWN]),
        lambda method, name: method is LoRASpec or name == "minilm",
    ),
)
def test_each_choice_of_layers_trains_what_peft_trains(method, name):
    spec = known_architectures()[name]
    choices = target_layers(spec)
    for chosen in choices.groups:
        targets = choices.targets([chosen])
        found = adapted(spec, method.of(rank=8, target_modules=targets))
        paths = [path for kind in found.kinds for path in kind.chosen]
        config = LoraConfig(r=8, target_modules=paths, task_type="SEQ_CLS", use_dora=method is DoRASpec)
        peft = get_peft_model(real(name), config, low_cpu_mem_usage=True)
        assert found.adapters + found.head == count_parameters(peft, trainable=True), chosen
        assert sorted(paths) == sorted(choices.groups[chosen])
        if method is LoRASpec:
            assert kinds_table(found.kinds, 8)["lora_all"].sum() == found.adapters


def test_a_language_model_has_no_new_head_and_trains_what_peft_trains():
    spec = known_architectures()["smollm2"]
    found = adapted(CausalSpec.of(weights=spec.weights, config=spec.config), LoRASpec.of(rank=8))
    assert (found.parameters, found.head) == (PUBLISHED["smollm2"], 0)
    config = LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM")
    peft = get_peft_model(real("smollm2", AutoModelForCausalLM), config, low_cpu_mem_usage=True)
    assert found.adapters == count_parameters(peft, trainable=True)
    assert "output layer: frozen" in network_drawing(found)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "deberta-v2", "modernbert"])
@pytest.mark.parametrize("targets", [("attention",), ("feed-forward",), ("all-linear",)])
def test_drawings_stay_in_their_frame_and_colour_the_chosen_layers(kind, targets):
    found = adapted(tiny_spec(kind), LoRASpec.of(rank=2, target_modules=targets))
    root = ElementTree.fromstring(network_drawing(found))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    boxes = list(root.iter(f"{SVG}rect"))
    for box in boxes:
        x, y, w, h = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height
    assert sum(box.attrib["class"] == "lora" for box in boxes) == sum(bool(each.chosen) for each in found.kinds)
    shown = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert f"{found.blocks} blocks like this" in shown
    assert all(each.label in shown for each in found.kinds)
    assert f"{found.blocks} blocks" in alt_text(found)


def test_a_layer_that_is_chosen_in_some_blocks_says_in_how_many():
    spec = known_architectures()["minilm"]
    targets = target_layers(spec).targets(["attention.self.query"], [4, 5])
    found = adapted(spec, LoRASpec.of(rank=8, target_modules=targets))
    assert "2 of 6 · 384 → 384" in network_drawing(found)


def test_a_rank_that_no_layer_can_have_is_refused():
    with pytest.raises(LoRAError, match="Rank 128 is above 16"):
        adapted(tiny_spec("bert"), LoRASpec.of(rank=128))
