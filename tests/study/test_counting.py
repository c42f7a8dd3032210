"""Counts are those of the real layers, the real architectures and the published totals."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from core.errors import LoRAError, SpecError
from core.methods.layers import LoRALayer
from core.methods.linear import count_parameters
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.methods.roles import ALL, ROLES
from core.methods.targets import find_targets
from core.networks.hugging_face import build_language_model
from core.networks.perceptron import PerceptronSpec
from core.study.learn.counting import PUBLISHED as CONFIGS
from core.study.learn.counting import (
    LayerCount,
    Network,
    count_config,
    count_file,
    count_spec,
    language_models,
)
from tests.study.transformers_changed import tiny_spec

PUBLISHED = {  # safetensors totals on huggingface.co
    "RoBERTa base": 124_697_433,
    "GPT-2 small": 124_439_808,
    "SmolLM2 135M": 134_515_008,
    "Llama 3.2 1B": 1_235_814_400,
    "Gemma 2 2B": 2_614_341_888,
    "Llama 2 7B": 6_738_415_616,
    "Mistral 7B v0.1": 7_241_732_096,
    "Qwen2.5 7B": 7_615_616_512,
    "Llama 3 8B": 8_030_261_248,
    "Gemma 2 9B": 9_241_705_984,
    "Llama 3 70B": 70_553_706_496,
}
LANGUAGE_MODELS = tuple(language_models().values())
ATTENTION, FEED_FORWARD = ROLES
KINDS = {  # as in the code of the architectures: role, inputs, outputs, layers
    "RoBERTa base": {
        **dict.fromkeys((f"attention.self.{name}" for name in ("query", "key", "value")), (ATTENTION, 768, 768, 12)),
        "attention.output.dense": (ATTENTION, 768, 768, 12),
        "intermediate.dense": (FEED_FORWARD, 768, 3072, 12),
        "output.dense": (FEED_FORWARD, 3072, 768, 12),
        "lm_head.dense": (None, 768, 768, 1),
    },
    "GPT-2 small": {
        "attn.c_attn": (ATTENTION, 768, 3 * 768, 12),
        "attn.c_proj": (ATTENTION, 768, 768, 12),
        "mlp.c_fc": (FEED_FORWARD, 768, 4 * 768, 12),
        "mlp.c_proj": (FEED_FORWARD, 4 * 768, 768, 12),
    },
    "Gemma 2 2B": {
        "self_attn.q_proj": (ATTENTION, 2304, 8 * 256, 26),
        **dict.fromkeys(("self_attn.k_proj", "self_attn.v_proj"), (ATTENTION, 2304, 4 * 256, 26)),
        "self_attn.o_proj": (ATTENTION, 8 * 256, 2304, 26),
        **dict.fromkeys(("mlp.gate_proj", "mlp.up_proj"), (FEED_FORWARD, 2304, 9216, 26)),
        "mlp.down_proj": (FEED_FORWARD, 9216, 2304, 26),
    },
}
ONE_EACH = {"RoBERTa base", "GPT-2 small", "Llama 3.2 1B", "Gemma 2 2B", "Qwen2.5 7B"}
"""The smallest of each kind of block; that of Mistral is Llama's. The whole suite adds adapters to these; larger ones
have more of the same."""

sizes = st.integers(1, 300)
by_name = pytest.mark.parametrize("network", LANGUAGE_MODELS, ids=lambda network: network.name)


def real(network: Network) -> nn.Module:
    """The network as transformers builds it, without memory for weights."""
    return build_language_model(json.dumps(json.loads(CONFIGS.read_text())[network.name]["config"]))


def trained(network: Network, choice: str, rank: int) -> int:
    """The numbers in A and B of all layers of a choice, as the page shows them."""
    return int(network.table(network.choices[choice], rank)["A and B, all"].sum())


def test_the_documents_example_is_250_times_fewer():
    count = LayerCount(1000, 1000, 2)
    assert (count.full, count.lora, count.first_rank_without_saving) == (1_000_000, 4_000, 500)


@given(sizes, sizes, sizes)
def test_a_layer_counts_what_its_matrices_hold(in_features, out_features, rank):
    count = LayerCount(in_features, out_features, rank)
    layer = LoRALayer(in_features, out_features, count.used_rank, 1.0)
    assert count.lora == count_parameters(layer)
    assert count.full == layer.delta().numel()
    assert count.used_rank == min(rank, in_features, out_features)


@given(sizes, sizes)
def test_the_first_rank_without_saving_is_the_first(in_features, out_features):
    first = LayerCount(in_features, out_features, 1).first_rank_without_saving
    ranks = range(1, min(in_features, out_features) + 1)
    counts = [LayerCount(in_features, out_features, rank) for rank in ranks]
    assert [count.rank for count in counts if count.lora < count.full] == list(range(1, first))


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1, -1, 1), (1, 1, 0)])
def test_sizes_below_one_are_refused_with_a_sentence(wrong):
    with pytest.raises(LoRAError, match="whole number of at least 1"):
        LayerCount(*wrong)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(2, 40), st.data())
def test_the_perceptrons_counts_are_the_librarys(features, hidden_1, hidden_2, classes, data):
    spec = PerceptronSpec(num_features=features, num_hidden_1=hidden_1, num_hidden_2=hidden_2, num_classes=classes)
    own, built = count_spec(spec.sizes, spec), spec.build()
    assert own.parameters == count_parameters(built)
    most = max(min(kind.in_features, kind.out_features) for kind in own.kinds)
    rank = data.draw(st.integers(1, most))
    assert trained(own, "all linear", rank) == count_parameters(add_lora(built, LoRASpec(rank=rank)), trainable=True)


@by_name
def test_shapes_embeddings_and_norms_sum_to_the_published_total(network):
    assert network.parameters == PUBLISHED[network.name]


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_layers_are_those_of_the_architecture(name):
    kinds = language_models()[name].kinds
    found = {kind.name: (kind.role, kind.in_features, kind.out_features, len(kind.paths)) for kind in kinds}
    assert found == KINDS[name]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2"])
def test_the_whole_config_of_a_decoder_is_counted_as_transformers_saves_it(kind, tied, read_here):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 40}
    config = AutoConfig.for_model(kind, **sizes, tie_word_embeddings=tied, intermediate_size=32)
    found = count_file(config.to_json_string().encode())
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config)
    assert found.parameters == sum(each.numel() for each in set(plain.parameters()))
    peft = inject_adapter_in_model(LoraConfig(r=2, target_modules=ALL, fan_in_fan_out=kind == "gpt2"), plain)
    assert trained(found, "all linear", 2) == count_parameters(peft, trainable=True)


def test_any_language_model_is_counted_from_its_config_and_others_are_refused_by_name():
    config = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config |= {"vocab_size": 40, "pad_token_id": 0}
    found = count_config({"model_type": "phi3", **config}, "Phi")
    assert trained(found, "attention", 2) == 2 * 2 * (16 + 3 * 16 + 16 + 16)
    with pytest.raises(SpecError, match="'vit'"):
        count_config({"model_type": "vit"}, "ViT")


@pytest.mark.parametrize(
    "network",
    [each if each.name in ONE_EACH else pytest.param(each, marks=pytest.mark.minutes) for each in LANGUAGE_MODELS],
    ids=lambda network: network.name,
)
def test_trainable_counts_are_those_of_peft(network):
    gpt2 = network.name == "GPT-2 small"
    for choice, kinds in network.choices.items():
        modules = [path for kind in kinds for path in kind.paths]
        if choice in ROLES:
            assert sorted(modules) == sorted(find_targets(real(network), [choice]))
        config = LoraConfig(r=16, target_modules=ALL if choice == "all linear" else modules, fan_in_fan_out=gpt2)
        adapted = inject_adapter_in_model(config, real(network), low_cpu_mem_usage=True)
        assert count_parameters(adapted, trainable=True) == trained(network, choice, 16)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_an_imported_classifier_trains_its_adapters_and_its_new_head(kind):
    spec = tiny_spec(kind)
    found = count_spec(kind, spec)
    tuned = add_lora(spec.build(), LoRASpec.of(rank=2))
    assert found.head > 0
    assert trained(found, "all linear", 2) + found.head == count_parameters(tuned, trainable=True)
    assert found.parameters == count_parameters(spec.build())


def test_roberta_base_trains_294_912_numbers_at_rank_8_on_q_and_v_as_in_the_paper():
    assert trained(language_models()["RoBERTa base"], "q and v", 8) == 294_912


def test_a_network_without_attention_does_not_offer_it():
    assert list(count_spec("digits", PerceptronSpec()).choices) == ["all linear"]


@given(st.integers(1, 100_000), st.integers(1, 10**9), st.sampled_from(LANGUAGE_MODELS))
def test_full_copies_grow_by_a_network_a_customer_and_shared_storage_by_an_adapter(customers, adapter, network):
    base = network.parameters * network.bytes_each
    full, shared = network.storage(adapter, customers)
    assert full == customers * base
    assert shared - base == customers * adapter * network.bytes_each
