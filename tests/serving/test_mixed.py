"""Batches in which each row has another adapter give what each adapter gives alone; the base's rows are the base's."""

from __future__ import annotations

import copy
import json
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoConfig

from core.adapter import AdapterFile, apply_adapter, read_adapter
from core.errors import BaseMismatchError, ServingError
from core.methods.dora import DoRASpec
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec, add_lora
from core.networks.forward import forward
from core.networks.hugging_face import architecture
from core.networks.transformer import TransformerSpec
from core.serving.mixed import MixedNetwork
from core.serving.rows import FIRST_ROWS, Places
from tests.adapter.samples import SMALL, packed, perturb, probe, with_whole_head
from tests.networks.tiny import SIZES

BASE = SMALL.build(1)
SPECS: list[LowRankSpec] = [
    LoRASpec.of(rank=3),
    LoRASpec.of(rank=1, alpha=3.0),
    LoRASpec.of(rank=7, scaling="alpha", alpha=0.7),
    LoRASpec.of(rank=4, scaling="alpha/sqrt(r)", target_modules=("layers.2",)),
    DoRASpec.of(rank=2),
    DoRASpec.of(rank=5, target_modules=("layers.0", "layers.4")),
    LoRASpec.of(rank=2, alpha=5.0),
    LoRASpec.of(rank=4, target_modules=("layers.0",)),
]
WITH_HEAD = ("r-6", "r-7")
"""Those whose last layer is trained whole."""


def made(spec: LowRankSpec, seed: int, base: nn.Module = BASE) -> AdapterFile:
    model = add_lora(copy.deepcopy(base), spec, torch.Generator().manual_seed(seed))
    perturb(*(parameter for parameter in model.parameters() if parameter.requires_grad), seed=seed)
    return read_adapter(packed(base, model, spec, probe()))


def with_head(spec: LoRASpec) -> AdapterFile:
    return read_adapter(packed(BASE, with_whole_head(spec, BASE), spec, probe()))


FILES = {
    name: with_head(spec) if name in WITH_HEAD else made(spec, number)
    for number, spec in enumerate(SPECS)
    for name in [f"r-{number}"]
}
ALONE = {name: apply_adapter(BASE, file).eval() for name, file in FILES.items()}


def mixed(max_bytes: int = 2**20) -> MixedNetwork:
    return MixedNetwork(BASE, FILES.__getitem__, max_bytes)


def assert_right(network: MixedNetwork, names: list[str | None]) -> None:
    rows = probe(rows=len(names))
    answers = network.answer({"pixels": rows}, names)
    with torch.no_grad():
        base = BASE(rows)
        for row, name in enumerate(names):
            if name is None:
                assert torch.equal(answers[row], base[row])
            else:
                torch.testing.assert_close(answers[row], ALONE[name](rows[row]), rtol=1e-5, atol=1e-5)


@given(st.lists(st.none() | st.sampled_from(sorted(FILES)), min_size=1, max_size=40))
def test_every_mix_is_what_each_gives_alone(names: list[str | None]) -> None:
    assert_right(mixed(), names)


@given(st.lists(st.lists(st.none() | st.sampled_from(sorted(FILES)), min_size=1, max_size=3), min_size=1, max_size=8))
def test_adapters_come_and_go_and_answers_stay_right(batches: list[list[str | None]]) -> None:
    size = {name: mixed_bytes(name) for name in FILES}
    limit = sum(sorted(size.values())[-3:])
    network = mixed(limit)
    for names in batches:
        assert_right(network, names)
        assert network.use.nbytes <= limit
        assert set(filter(None, names)) <= set(network.held)
    asked = sum(name is not None for names in batches for name in names)
    assert network.use.hits + network.use.misses == asked


@cache
def mixed_bytes(name: str) -> int:
    network = mixed()
    network.answer({"pixels": probe(rows=1)}, [name])
    return network.use.nbytes


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    network = mixed(mixed_bytes("r-0") + mixed_bytes("r-1") + mixed_bytes("r-2") - 1)
    for name in ("r-0", "r-1", "r-0", "r-2"):
        assert_right(network, [name])
    assert network.held == ("r-0", "r-2")
    assert (network.use.hits, network.use.misses) == (1, 3)


def test_memory_stays_near_the_limit_also_where_adapters_are_in_one_layer_only() -> None:
    spec = LoRASpec.of(rank=4, target_modules=("layers.4",))
    limit = 2**18
    file = made(spec, 1)
    network = MixedNetwork(BASE, lambda name: file, limit)
    for number in range(3 * limit // (4 * sum(tensor.nbytes for tensor in file.tensors.values()))):
        network.answer({"pixels": probe(rows=1)}, [str(number)])
    rows = [layer.rows for layer in network._layers.values()]
    assert 0.8 * limit < network.use.nbytes <= limit
    assert sum(each._A.nbytes + each._B.nbytes for each in rows) < 1.3 * limit + FIRST_ROWS * sum(
        each.row_bytes for each in rows
    )


def test_adapters_of_the_same_batch_are_kept_however_long_ago_they_were_used() -> None:
    network = mixed(mixed_bytes("r-0") + mixed_bytes("r-1") + mixed_bytes("r-2"))
    for names in (["r-0"], ["r-1"], ["r-2"], ["r-0", "r-3", "r-3", None]):
        assert_right(network, names)
    assert {"r-0", "r-3"} <= set(network.held)
    assert "r-1" not in network.held
    assert (network.use.hits, network.use.misses) == (1, 5)


def test_each_row_has_the_places_of_its_adapter_also_where_a_larger_one_had_them_before() -> None:
    places = Places()
    large, _ = places.take(5)
    places.give_back(large)
    own = {number: taken.tolist() for number, taken in (places.take(rank) for rank in (1, 3, 100, 3))}
    a, b, c, d = own
    for numbers in ([a, None, b], [b, d, b], [c, a, d, None], [b, d], [d, b], [b, None, b]):
        places.select(numbers)
        assert places.selected is not None
        assert places.selected.wanted.col_indices().tolist() == [
            place for number in numbers if number is not None for place in own[number]
        ]
        assert places.selected.batch == len(numbers)


def test_more_adapters_than_fit_at_once_are_one_sentence_and_what_is_held_still_answers() -> None:
    network = mixed(mixed_bytes("r-0") + mixed_bytes("r-1"))
    assert_right(network, ["r-0", "r-1"])
    with pytest.raises(ServingError, match="send them in several requests"):
        network.answer({"pixels": probe(rows=3)}, ["r-0", "r-1", "r-2"])
    assert_right(network, ["r-1", None, "r-0"])


def test_an_adapter_of_another_base_is_refused() -> None:
    other = SMALL.build(2)
    network = MixedNetwork(BASE, {"r-x": made(LoRASpec.of(rank=2), 1, other)}.__getitem__, 2**20)
    with pytest.raises(BaseMismatchError):
        network.answer({"pixels": probe(rows=1)}, ["r-x"])
    assert_right(network, [None] * 4)


@pytest.mark.parametrize(
    ("kind", "padding"),
    [(kind, 1) for kind in ("bert", "camembert", "mpnet", "roberta-prelayernorm")]
    + [(kind, 4) for kind in ("bert", "esm", "markuplm", "roberta", "xlm-roberta")],
)
def test_the_longest_input_is_the_longest_that_can_be_read(kind: str, padding: int) -> None:
    own = SIZES["bert"] | {"max_position_embeddings": 26, "pad_token_id": padding}
    values = json.loads(AutoConfig.for_model(kind, **own).to_json_string(use_diff=False))
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
