"""Layer shapes of well-known language models, and the parameters that LoRA would train in them.

The shapes follow from each model's published ``config.json``. Including embeddings, norms and output layer, they add up
exactly to the published parameter counts.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from core.methods.roles import ALL, ROLES, LayerRole
from core.study.learn.counting import ADAM_STATE, BFLOAT16, FLOAT32, LayerCount, Network, Projection


def bert_like(
    name: str,
    checkpoint: str,
    *,
    hidden_size: int,
    intermediate_size: int,
    num_hidden_layers: int,
    num_attention_heads: int,
    vocab_size: int,
    max_position_embeddings: int,
    type_vocab_size: int,
) -> Network:
    """Describe a BERT-like encoder with its language model head, whose output layer is the embedding.

    Args: display name, repository on huggingface.co, and fields of its ``config.json``.
    """
    d = hidden_size
    projections = _projections(
        {"hidden_size": d, "intermediate_size": intermediate_size},
        num_hidden_layers,
        ("attention.self.query", "attention", "hidden_size", "hidden_size", True),
        ("attention.self.key", "attention", "hidden_size", "hidden_size", True),
        ("attention.self.value", "attention", "hidden_size", "hidden_size", True),
        ("attention.output.dense", "attention", "hidden_size", "hidden_size", True),
        ("intermediate.dense", "feed-forward", "hidden_size", "intermediate_size", True),
        ("output.dense", "feed-forward", "intermediate_size", "hidden_size", True),
    )
    head = Projection("lm_head.dense", None, d, d, 1, True, "hidden_size → hidden_size")
    # Norms: two per block, one after the embeddings, one in the head, which also has a bias per token.
    other = (vocab_size + max_position_embeddings + type_vocab_size) * d
    other += (2 * num_hidden_layers + 2) * 2 * d + vocab_size
    config = {
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "num_hidden_layers": num_hidden_layers,
        "num_attention_heads": num_attention_heads,
        "vocab_size": vocab_size,
        "max_position_embeddings": max_position_embeddings,
        "type_vocab_size": type_vocab_size,
    }
    return Network(name, (*projections, head), other, FLOAT32, checkpoint, config)


def gpt2(
    name: str, checkpoint: str, *, n_embd: int, n_layer: int, n_head: int, n_positions: int, vocab_size: int
) -> Network:
    """Describe a GPT-2 network: one fused projection for q, k and v, biases, and a tied output layer.

    Args: fields of its ``config.json``.
    """
    d = n_embd
    projections = _projections(
        {"n_embd": d, "3 · n_embd": 3 * d, "4 · n_embd": 4 * d},
        n_layer,
        ("c_attn", "attention", "n_embd", "3 · n_embd", True),
        ("attn.c_proj", "attention", "n_embd", "n_embd", True),
        ("c_fc", "feed-forward", "n_embd", "4 · n_embd", True),
        ("mlp.c_proj", "feed-forward", "4 · n_embd", "n_embd", True),
    )
    # Each norm has a scale and a shift; there are two norms per block and one at the end.
    other = (vocab_size + n_positions) * d + (2 * n_layer + 1) * 2 * d
    config = {
        "n_embd": n_embd,
        "n_layer": n_layer,
        "n_head": n_head,
        "n_positions": n_positions,
        "vocab_size": vocab_size,
    }
    return Network(name, projections, other, BFLOAT16, checkpoint, config)


def llama_like(
    name: str,
    checkpoint: str,
    *,
    hidden_size: int,
    intermediate_size: int,
    num_hidden_layers: int,
    num_attention_heads: int,
    num_key_value_heads: int,
    vocab_size: int,
    head_dim: int | None = None,
    tied: bool = False,
    qkv_bias: bool = False,
    norms: int = 2,
) -> Network:
    """Describe a Llama-like network: four attention and three gated feed-forward projections per block.

    With grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245), keys and values have fewer heads than queries,
    so ``k_proj`` and ``v_proj`` are narrower.

    Args:
        name: display name.
        checkpoint: repository on huggingface.co with its config.
        hidden_size: width of the residual stream; this and the next five are fields of ``config.json``.
        intermediate_size: width of the feed-forward part.
        num_hidden_layers: number of blocks.
        num_attention_heads: number of query heads.
        num_key_value_heads: number of key and value heads.
        vocab_size: number of tokens.
        head_dim: width of a head; hidden_size / num_attention_heads if the config has none.
        tied: whether the output layer is the embedding (``tie_word_embeddings``).
        qkv_bias: whether q, k and v have biases.
        norms: norms per block, each with a scale of hidden_size.
    """
    head = head_dim or hidden_size // num_attention_heads
    hidden, inner = "hidden_size", "intermediate_size"
    queries, keys = "num_attention_heads · head_dim", "num_key_value_heads · head_dim"
    projections = _projections(
        {
            hidden: hidden_size,
            inner: intermediate_size,
            queries: num_attention_heads * head,
            keys: num_key_value_heads * head,
        },
        num_hidden_layers,
        ("q_proj", "attention", hidden, queries, qkv_bias),
        ("k_proj", "attention", hidden, keys, qkv_bias),
        ("v_proj", "attention", hidden, keys, qkv_bias),
        ("o_proj", "attention", queries, hidden, False),
        ("gate_proj", "feed-forward", hidden, inner, False),
        ("up_proj", "feed-forward", hidden, inner, False),
        ("down_proj", "feed-forward", inner, hidden, False),
    )
    other = vocab_size * hidden_size * (1 if tied else 2) + (norms * num_hidden_layers + 1) * hidden_size
    config = {
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "num_hidden_layers": num_hidden_layers,
        "num_attention_heads": num_attention_heads,
        "num_key_value_heads": num_key_value_heads,
        "head_dim": head,
        "vocab_size": vocab_size,
    }
    return Network(name, projections, other, BFLOAT16, checkpoint, config)


def _projections(
    widths: Mapping[str, int], copies: int, *layers: tuple[str, LayerRole, str, str, bool]
) -> tuple[Projection, ...]:
    """Projections of a block, whose shapes are given by config fields.

    Args:
        widths: value of each expression of config fields.
        copies: number of blocks.
        layers: name, role, inputs and outputs as keys of ``widths``, and whether it has a bias.
    """
    return tuple(
        Projection(name, role, widths[inputs], widths[outputs], copies, bias, f"{inputs} → {outputs}")
        for name, role, inputs, outputs, bias in layers
    )


LANGUAGE_MODELS: tuple[Network, ...] = (
    bert_like(
        "RoBERTa base",
        "FacebookAI/roberta-base",
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        vocab_size=50265,
        max_position_embeddings=514,
        type_vocab_size=1,
    ),
    gpt2("GPT-2 small", "openai-community/gpt2", n_embd=768, n_layer=12, n_head=12, n_positions=1024, vocab_size=50257),
    llama_like(
        "Llama 3.2 1B",
        "meta-llama/Llama-3.2-1B",
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
        tied=True,
    ),
    llama_like(
        "Gemma 2 2B",
        "google/gemma-2-2b",
        hidden_size=2304,
        intermediate_size=9216,
        num_hidden_layers=26,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=256,
        vocab_size=256000,
        tied=True,
        norms=4,
    ),
    llama_like(
        "Llama 2 7B",
        "meta-llama/Llama-2-7b-hf",
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        vocab_size=32000,
    ),
    llama_like(
        "Mistral 7B v0.1",
        "mistralai/Mistral-7B-v0.1",
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=32000,
    ),
    llama_like(
        "Qwen2.5 7B",
        "Qwen/Qwen2.5-7B",
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
        qkv_bias=True,
    ),
    llama_like(
        "Llama 3 8B",
        "meta-llama/Meta-Llama-3-8B",
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
    ),
    llama_like(
        "Gemma 2 9B",
        "google/gemma-2-9b",
        hidden_size=3584,
        intermediate_size=14336,
        num_hidden_layers=42,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=256,
        vocab_size=256000,
        tied=True,
        norms=4,
    ),
    llama_like(
        "Llama 3 70B",
        "meta-llama/Meta-Llama-3-70B",
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        vocab_size=128256,
    ),
)
"""Language models by size; tests check the shapes against the real architectures."""


QUERY_VALUE = ("query", "value", "q_proj", "v_proj", "c_attn")
"""Names of the layers that compute q and v; GPT-2 has one for q, k and v."""


def target_choices(network: Network) -> dict[str, tuple[str, ...]]:
    """Return targets to choose from, by their names on the page."""
    last = {projection.name.rpartition(".")[2] for projection in network.projections}
    return {
        "q and v": tuple(name for name in QUERY_VALUE if name in last),
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
    for network in LANGUAGE_MODELS:
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
    """Return one row per projection of ``network``: shape, config fields, copies and trained numbers.

    Returns:
        Columns ``layer``, ``role``, ``fields``, ``in``, ``out``, ``copies``, ``full`` and ``lora`` for one copy,
        ``times_fewer``, and ``lora_all`` for all copies.
    """
    rows = []
    for projection in network.projections:
        count = LayerCount(projection.in_features, projection.out_features, rank)
        rows.append(
            {
                "layer": projection.name,
                "role": projection.role,
                "fields": projection.fields,
                "in": projection.in_features,
                "out": projection.out_features,
                "copies": projection.copies,
                "full": count.full,
                "lora": count.lora,
                "times_fewer": count.times_fewer,
                "lora_all": projection.lora(rank),
            }
        )
    return pd.DataFrame(rows)
