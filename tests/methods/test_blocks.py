"""Layers of transformers stand in the block and the column that their names say."""

from __future__ import annotations

import pytest
import torch

from core.methods.linear import is_linear
from core.methods.roles import OUTSIDE, Layers, Position, role_of
from core.networks.hugging_face import architecture, build_classifier
from core.networks.perceptron import PerceptronSpec
from tests.networks.tiny import SIZES, tiny_config

LABELS = {
    "bert": ["query", "key", "value", "output", "in", "out"],
    "roberta": ["query", "key", "value", "output", "in", "out"],
    "deberta-v2": ["query", "key", "value", "output", "in", "out"],
    "modernbert": ["q, k, v", "output", "in", "out"],
    "gpt2": ["q, k, v", "output", "in", "out"],
    "llama": ["query", "key", "value", "output", "gate", "up", "down"],
    "qwen2": ["query", "key", "value", "output", "gate", "up", "down"],
}


def paths_of(kind: str) -> list[str]:
    config = architecture(tiny_config(kind).to_dict(), 0)
    network = build_classifier(config, 2, torch.device("meta"))
    return [path for path, module in network.named_modules() if is_linear(module)]


@pytest.mark.parametrize("kind", list(SIZES))
def test_every_layer_has_its_place_and_no_other_one_has_it(kind: str) -> None:
    paths = paths_of(kind)
    blocks = Layers(tuple(paths))
    kinds = list(blocks.by_kind)
    assert set(blocks.places) == set(paths)
    assert len(set(blocks.places.values())) == len(paths)
    known = [column.label for column in kinds if column.role]
    assert known == LABELS[kind]
    assert blocks.rows[:2] == ("0", "1")
    for path, (row, column) in blocks.places.items():
        assert kinds[column].role == role_of(path)
        assert path.endswith(kinds[column].name)
        assert (blocks.rows[row] == OUTSIDE) == (f".{blocks.rows[row]}." not in path)


def test_layers_of_two_stacks_have_rows_of_their_own() -> None:
    blocks = Layers(tuple(f"{stack}.block.{i}.attn.c_proj" for stack in ("encoder", "decoder") for i in range(2)))
    assert blocks.rows == ("encoder.block.0", "encoder.block.1", "decoder.block.0", "decoder.block.1")
    assert len(set(blocks.places.values())) == 4


def test_a_network_without_blocks_has_no_map() -> None:
    assert not Layers(tuple(PerceptronSpec().linear_layers())).places
    assert Position.of("layers.0").block is None
    assert Position.of("layers.0").kind.label == "layers.0"
    assert Position.of("bert.pooler.dense").kind.label == "pooler"
    assert Position.of("pre_classifier").kind.label == "pre_classifier"
