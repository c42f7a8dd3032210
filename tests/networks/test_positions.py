"""A network reads texts of the longest input that its spec says, and no longer ones."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoConfig

from core.networks.forward import forward
from core.networks.hugging_face import architecture
from core.networks.transformer import TransformerSpec

SIZES = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 26,
    "pad_token_id": 1,
}


@pytest.mark.parametrize(
    ("kind", "padding"),
    [(kind, 1) for kind in ("bert", "camembert", "mpnet", "roberta-prelayernorm")]
    + [(kind, 4) for kind in ("bert", "esm", "markuplm", "roberta", "xlm-roberta")],
)
def test_the_longest_input_is_the_longest_that_can_be_read(kind: str, padding: int) -> None:
    values = json.loads(AutoConfig.for_model(kind, **SIZES | {"pad_token_id": padding}).to_json_string(use_diff=False))
    spec = TransformerSpec.of(weights="0" * 64, config=architecture(values), num_classes=2)
    longest = spec.longest_input
    assert longest == (26 if kind == "bert" else 25 - padding)
    network = spec.build(0)

    def read(tokens: int) -> torch.Size:
        ids = torch.full((1, tokens), 5)
        with torch.no_grad():
            return forward(network, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}).shape

    assert read(longest) == (1, 2)
    with pytest.raises((IndexError, RuntimeError)):
        read(longest + 1)
