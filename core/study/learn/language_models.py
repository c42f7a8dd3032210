"""Well-known language models, counted from their published configs, and what LoRA would train in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import NetworkFileError
from core.methods.linear import count_parameters
from core.methods.roles import ALL, ROLES
from core.networks.hugging_face import build_language_model
from core.networks.library.files import check_kind, check_numbers
from core.networks.scoring import output_layer
from core.reader import Limits, in_reader
from core.study.learn.counting import ADAM_STATE, BFLOAT16, KindOfLayer, Network, kinds_of, kinds_table

PUBLISHED = Path(__file__).parent / "configs" / "language_models.json"
"""Names, and the fields of each ``config.json`` that shapes depend on."""

OWN = "Your config.json"
"""Display name of a language model that somebody else's config describes."""

HEADS = {"query": "num_attention_heads", "key": "num_key_value_heads", "value": "num_key_value_heads"}
"""Field with the number of heads that a layer computes, by what it is for."""

WIDTHS = ("hidden_size", "n_embd", "d_model")
"""Fields with the width of a network, of which some layers have multiples."""

QUERY_VALUE = ("query", "value", "q, k, v")
"""What the layers that compute q and v are for; GPT-2 has one for q, k and v."""


def counted(name: str, config: Mapping[str, Any], bytes_each: int = BFLOAT16, checkpoint: str = "") -> Network:
    """Count a language model from its config, without memory for its weights.

    Args:
        name: display name.
        config: content of its ``config.json``.
        bytes_each: bytes per stored number.
        checkpoint: repository on huggingface.co with its config.

    Raises:
        SpecError: transformers has no language model of this architecture.
        LoRAError: it has no linear layer.
    """
    network: Any = build_language_model(json.dumps(dict(config)))
    layer: Any = output_layer(network)
    separate = layer is not None and layer.weight is not network.get_input_embeddings().weight
    fields = {field: value for field, value in config.items() if type(value) is int}
    kinds, output = kinds_of(network), layer.weight.numel() if separate else 0
    return Network(name, count_parameters(network), kinds, bytes_each, checkpoint, fields, output)


@lru_cache(maxsize=1)
def language_models() -> Mapping[str, Network]:
    """The well-known language models by name, from small to large."""
    return {each["name"]: counted(**each) for each in json.loads(PUBLISHED.read_text(encoding="utf-8"))}


@in_reader(
    NetworkFileError,
    "This config.json",
    Limits(memory=2**31, cpu=60, wall=180),
    imports=("transformers.models.auto.modeling_auto",),
)
def counted_file(content: bytes) -> Network:
    """Count a language model from the ``config.json`` that somebody has.

    Raises:
        NetworkFileError: not a config, or a number in it is out of bounds.
        SpecError, LoRAError: see :func:`counted`.
    """
    values = check_kind(content, "This network")
    check_numbers(values, (), "This network")
    return counted(OWN, values)


def target_choices(network: Network) -> dict[str, tuple[str, ...]]:
    """Return targets to choose from, by their names on the page."""
    return {
        "q and v": tuple(kind.name.rpartition(".")[2] for kind in network.kinds if kind.label in QUERY_VALUE),
        **{role: (role,) for role in ROLES},
        "all linear": (ALL,),
    }


def model_table(rank: int) -> pd.DataFrame:
    """Return one row per language model: what LoRA of this rank trains, and the optimizer state it saves.

    Returns:
        Columns ``model``, ``parameters``, then the trained numbers and their percentage for attention only and for all
        linear layers, and the bytes of Adam's state with full fine-tuning, with LoRA on all linear layers, and saved.
    """
    rows = []
    for network in language_models().values():
        attention, everything = network.trainable(rank, "attention"), network.trainable(rank)
        rows.append(
            {
                "model": network.name,
                "parameters": network.parameters,
                "attention": attention,
                "attention_percent": 100 * attention / network.parameters,
                "all_linear": everything,
                "all_linear_percent": 100 * everything / network.parameters,
                "adam_full": ADAM_STATE * network.parameters,
                "adam_lora": ADAM_STATE * everything,
                "adam_saved": ADAM_STATE * (network.parameters - everything),
            }
        )
    return pd.DataFrame(rows)


def projection_table(network: Network, rank: int) -> pd.DataFrame:
    """Return one row per kind of layer, as :func:`kinds_table` does, and the config fields that give its shape."""
    return kinds_table(network.kinds, rank).assign(fields=[_fields(kind, network.config) for kind in network.kinds])


def _fields(kind: KindOfLayer, config: Mapping[str, int]) -> str:
    """The fields of a config that give a shape, in → out, such as ``hidden_size → 3 · n_embd``."""
    heads = HEADS["query"] if kind.label == "output" else None
    inputs, outputs = _size(kind.in_features, heads, config), _size(kind.out_features, HEADS.get(kind.label), config)
    return f"{inputs} → {outputs}"


def _size(size: int, heads: str | None, config: Mapping[str, int]) -> str:
    """A number of features by the fields that give it: those of heads first, else a width or a multiple of one."""
    if heads and config.get(heads, 0) * config.get("head_dim", 0) == size:
        return f"{heads} · head_dim"
    multiples = {f"{times} · {name}": times * config[name] for name in WIDTHS if name in config for times in (3, 4)}
    return next((name for name, value in {**config, **multiples}.items() if value == size), f"{size:,}")
