"""Every layer in the blocks of common architectures has the role and place that its source gives it, or is refused."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch
import transformers as hf
from torch import nn

from core.errors import LoRAError
from core.methods.linear import is_linear
from core.methods.roles import Layers, Position, role_of
from core.methods.targets import find_targets
from core.networks.hugging_face import architecture, build_classifier
from core.networks.perceptron import PerceptronSpec
from tests.networks import tiny

SIZES = tiny.SIZES["bert"]
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 40}
SMALL = {"vocab_size": 40, "d_model": 16, "pad_token_id": 0}
BART = {**SMALL, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
BART |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
XLM = {"emb_dim": 16, "n_layers": 2, "n_heads": 2, "n_words": 40}
POSITIONS = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}

OF_BERT = r"layer\.\d\.(intermediate|output)\.dense"
"""The feed-forward part of BERT and of those that are built like it."""

Case = tuple[dict[str, object], str, str]

CASES: dict[str, Case] = {
    "MPNet": (SIZES, r"attention\.attn\.[qkvo]", r"(intermediate|output)\.dense"),
    "Albert": (
        {**SIZES, "embedding_size": 8},
        r"albert_layers\.\d\.attention\.(query|key|value|dense)",
        r"albert_layers\.\d\.(ffn|ffn_output)",
    ),
    "GPTNeoX": (SIZES, r"attention\.(query_key_value|dense)", r"mlp\.dense_(h_to_4h|4h_to_h)"),
    "GPTNeo": (
        {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "vocab_size": 40, "attention_types": [[["global"], 2]]},
        r"attn\.attention\.(q|k|v|out)_proj",
        r"mlp\.c_(fc|proj)",
    ),
    "Bloom": (
        {"hidden_size": 16, "n_layer": 2, "n_head": 2, "vocab_size": 40},
        r"self_attention\.(query_key_value|dense)",
        r"mlp\.dense_(h_to_4h|4h_to_h)",
    ),
    "GPTJ": ({**GPT, "rotary_dim": 4}, r"attn\.(q|k|v|out)_proj", r"mlp\.fc_(in|out)"),
    "CTRL": ({**GPT, "dff": 32}, r"multi_head_attention\.(W[qkv]|dense)", r"ffn\.[02]"),
    "OPT": ({**SIZES, "ffn_dim": 32, "word_embed_proj_dim": 16}, r"self_attn\.(q|k|v|out)_proj", r"layers\.\d\.fc[12]"),
    "Bart": (BART, r"(self|encoder)_attn\.(q|k|v|out)_proj", r"layers\.\d\.fc[12]"),
    "Phi": (SIZES, r"self_attn\.([qkv]_proj|dense)", r"mlp\.fc[12]"),
    "Phi3": (SIZES, r"self_attn\.(qkv|o)_proj", r"mlp\.(gate_up|down)_proj"),
    "Persimmon": (SIZES, r"self_attn\.(query_key_value|dense)", r"mlp\.dense_(h_to_4h|4h_to_h)"),
    "Deberta": ({**SIZES, **POSITIONS}, r"attention\.(self\.(in_proj|pos_proj|pos_q_proj)|output\.dense)", OF_BERT),
    "DebertaV2": (
        {**SIZES, **POSITIONS, "share_att_key": False},
        r"attention\.(self\.(query|key|value|pos_key|pos_query)_proj|output\.dense)",
        OF_BERT,
    ),
    "Longformer": (
        {**SIZES, "attention_window": 4},
        r"attention\.(self\.(query|key|value)(_global)?|output\.dense)",
        OF_BERT,
    ),
    "ConvBert": (
        {**SIZES, "embedding_size": 8},
        r"attention\.(self\.(query|key|value|conv_(kernel|out)_layer)|output\.dense)",
        OF_BERT,
    ),
    "Funnel": (
        {**SMALL, "n_head": 2, "d_head": 8, "d_inner": 32, "block_sizes": [2], "num_decoder_layers": 1},
        r"attention\.([qkv]_head|post_proj)",
        r"ffn\.linear_[12]",
    ),
    "XLM": (XLM, r"attentions\.\d\.(q|k|v|out)_lin", r"ffns\.\d\.lin[12]"),
    "Mpt": (
        {"d_model": 16, "n_heads": 2, "n_layers": 2, "vocab_size": 40},
        r"attn\.(Wqkv|out_proj)",
        r"ffn\.(up|down)_proj",
    ),
    "MobileBert": (
        {**SIZES, "embedding_size": 8, "intra_bottleneck_size": 8, "true_hidden_size": 8},
        r"attention\.(self\.(query|key|value)|output\.dense)",
        r"(intermediate|layer\.\d\.output|ffn\.\d\.output)\.dense",
    ),
}
BETWEEN_WIDTHS = r".*(bottleneck\.(input|attention)|output\.bottleneck)\.dense"
"""MobileBERT's layers that are neither: they change the width in front of its blocks and behind them."""

UNLABELLED = r"[\w.]*(global|conv_\w+_layer)"
"""Layers that no other architecture has: they keep their own name on the map of layers."""

WORDS = {
    **dict.fromkeys(("bert", "roberta", "deberta-v2"), ("query", "key", "value", "output", "in", "out")),
    **dict.fromkeys(("modernbert", "gpt2"), ("q, k, v", "output", "in", "out")),
    **dict.fromkeys(("llama", "qwen2"), ("query", "key", "value", "output", "gate", "up", "down")),
}
"""What the map says of the layers in the blocks of common architectures."""

each_network = pytest.mark.parametrize("name", CASES)


@cache
def network(name: str) -> nn.Module:
    config = getattr(hf, f"{name}Config")(**CASES[name][0])
    with torch.device("meta"):  # no weights are needed
        model: nn.Module = getattr(hf, f"{name}ForSequenceClassification")(config)
    return model


@each_network
def test_roles_are_those_of_the_source_and_no_layer_of_a_block_is_left_out(name: str) -> None:
    model = network(name)
    linears = {path for path, module in model.named_modules() if is_linear(module)}
    found = [set(find_targets(model, (role,))) for role in ("attention", "feed-forward")]
    for paths, pattern in zip(found, CASES[name][1:], strict=True):
        assert paths == {path for path in linears if re.fullmatch(rf".*\b{pattern}", path)}
        assert paths
    inside = {path for path in linears if re.search(r"\.\d+\.", path) and not re.fullmatch(BETWEEN_WIDTHS, path)}
    assert set.union(*found) == inside


@each_network
def test_the_map_says_in_a_word_what_each_layer_computes(name: str) -> None:
    model = network(name)
    words = {"query", "key", "value", "q, k, v", "position query", "position key", "output"}
    words |= {"in", "out", "gate", "gate, up", "up", "down"}
    for path in find_targets(model, ("attention", "feed-forward")):
        label = Position.of(path).kind.label
        assert label in words or re.fullmatch(UNLABELLED, label), (path, label)


def attention(**changes: nn.Module) -> nn.ModuleDict:
    """DeBERTa's attention, with layers put in or replaced."""
    inside = nn.ModuleDict({"query_proj": nn.Linear(4, 4), **changes})
    return nn.ModuleDict({"self": inside, "output": nn.ModuleDict({"dense": nn.Linear(4, 4)})})


def block(**parts: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict({"layer": nn.ModuleList([nn.ModuleDict(parts)])})


@pytest.mark.parametrize(
    ("model", "odd"),
    [
        (block(attention=attention(packed=nn.Linear(4, 12))), "layer.0.attention.self.packed"),
        (block(attention=attention(), attn=nn.ModuleDict({"qkv": nn.Linear(4, 12)})), "layer.0.attn.qkv"),
    ],
    ids=["in a part of the same attention", "in another attention"],
)
def test_an_attention_is_never_adapted_in_part(model: nn.Module, odd: str) -> None:
    with pytest.raises(LoRAError, match=rf"^In this network the role of layer {re.escape(odd)} is not known: "):
        find_targets(model, ("attention",))


def test_an_unknown_layer_elsewhere_in_a_block_or_in_the_head_is_no_obstacle() -> None:
    model = block(attention=attention(), router=nn.Linear(4, 2))
    model["pooler"] = nn.Linear(4, 4)
    assert list(find_targets(model, ("attention",))) == [
        "layer.0.attention.self.query_proj",
        "layer.0.attention.output.dense",
    ]


def paths_of(kind: str) -> list[str]:
    config = architecture(tiny.tiny_config(kind).to_dict(), 0)
    network = build_classifier(config, 2, torch.device("meta"))
    return [path for path, module in network.named_modules() if is_linear(module)]


@pytest.mark.parametrize("kind", list(WORDS))
def test_every_layer_is_of_one_kind_which_says_its_role(kind: str) -> None:
    paths = paths_of(kind)
    layers = Layers(tuple(paths))
    assert sorted(path for own in layers.by_kind.values() for path in own) == sorted(paths)
    assert tuple(column.label for column in layers.by_kind if column.role) == WORDS[kind]
    for column, own in layers.by_kind.items():
        assert {role_of(path) for path in own} == {column.role}
        assert all(path.endswith(column.name) for path in own)


def test_a_network_without_blocks_names_its_layers_by_their_paths() -> None:
    assert not Layers(tuple(PerceptronSpec().linear_layers())).blocks
    assert Position.of("layers.0").block is None
    assert Position.of("layers.0").kind.label == "layers.0"
    assert Position.of("bert.pooler.dense").kind.label == "pooler"
    assert Position.of("pre_classifier").kind.label == "pre_classifier"
