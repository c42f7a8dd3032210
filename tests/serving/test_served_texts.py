"""Texts: rows of one batch have other adapters and other heads, as every architecture has them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from core.adapter import AdapterFile, apply_adapter, read_adapter
from core.adapter.card import Card
from core.adapter.write import adapter_bytes
from core.data.dataset import TextDataset
from core.data.examples import Batch
from core.errors import ServingError, UnknownRunError
from core.lab import Lab
from core.methods.dora import DoRASpec
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.networks.file import base_fingerprint
from core.networks.forward import forward
from core.networks.hugging_face import architecture
from core.networks.transformer import TransformerSpec
from core.serving import mixed
from core.serving.mixed import MixedNetwork
from core.serving.panes import BASE, Panes
from core.serving.request import PredictRequest, Row
from core.settings import Settings
from tests.adapter.samples import perturb
from tests.conftest import finish, short
from tests.launching import fine_tune
from tests.networks.tiny import SIZES
from tests.text_home import NETWORK, PETS, texts_of
from tests.trained_home import TrainedHome
from tests.training.tiny_passages import CONFIGS, task_of
from tests.training.tiny_passages import network_of as language_model
from tests.training.tiny_texts import ARCHITECTURES, network_of, spec_of, texts

SPECS: dict[str, LowRankSpec] = {
    "a": LoRASpec.of(rank=2, target_modules=("attention",)),
    "b": LoRASpec.of(rank=1, alpha=3.0, scaling="alpha"),
    "c": DoRASpec.of(rank=3),
}


POSITIONS = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}
NETWORKS: dict[str, Callable[[], TransformerSpec]] = {
    **{kind: partial(spec_of, kind) for kind in ARCHITECTURES},
    "deberta": lambda: built("deberta", POSITIONS | {"pooler_hidden_size": 16}, "pooler", "classifier"),
    "deberta-v2, own projections": lambda: built("deberta-v2", {"share_att_key": False}, "pooler", "classifier"),
    "deberta-v2, no positions": lambda: built("deberta-v2", {"pos_att_type": []}, "classifier"),
    "modernbert, mean": lambda: built("modernbert", {"classifier_pooling": "mean"}, "head", "classifier"),
}
"""Architectures, also with other settings, and with other modules that their weights came without."""


def built(kind: str, changes: dict[str, Any], *head: str) -> TransformerSpec:
    """A tiny network of another kind, or with other settings, None for what its config has no field for; ``head`` are
    the modules that its weights lack."""
    given = SIZES.get(kind, SIZES["bert"]) | changes
    values = AutoConfig.for_model(kind, **{name: each for name, each in given.items() if each is not None}).to_dict()
    config = architecture(json.loads(json.dumps(values)), 0)
    return TransformerSpec.of(weights="0" * 64, config=config, num_classes=3, head=head)


def adapters(kind: str) -> tuple[torch.nn.Module, dict[str, AdapterFile]]:
    """A network, and files of adapters for it."""
    base, files = _made(kind)
    return copy.deepcopy(base), files


@cache
def _made(kind: str) -> tuple[torch.nn.Module, dict[str, AdapterFile]]:
    base = network_of(NETWORKS[kind]()).eval()
    return base, files_of(base, texts(4).batch(slice(None)))


def files_of(base: torch.nn.Module, probe: Batch, specs: dict[str, LowRankSpec] = SPECS) -> dict[str, AdapterFile]:
    """Files of adapters for a network that add something. Args: probe: inputs that it reads."""
    files = {}
    for seed, (name, spec) in enumerate(specs.items()):
        model = spec.prepare(copy.deepcopy(base), torch.Generator().manual_seed(seed))
        perturb(*(parameter for parameter in model.parameters() if parameter.requires_grad), seed=seed)
        files[name] = read_adapter(
            adapter_bytes(model, spec, base_fingerprint=base_fingerprint(base), card=Card("r-1", "r-0"), probe=probe)
        )
    return files


def test_the_head_is_left_at_a_strength_of_zero() -> None:
    base, files = adapters("bert")
    panes = Panes(base, copy.deepcopy(base))
    for name, file in files.items():
        panes.add_adapter(name, file)
    found = panes.answer(texts(4).batch(slice(None)), list(files), dict.fromkeys(files, 0.0)).logits
    for name, left in {"a": ("head",), "b": ("head",), "c": ("magnitudes", "head")}.items():
        assert panes.left_at_zero(name) == left
        assert not torch.allclose(found[name], found[BASE])


MIXES: list[list[str | None]] = [
    [None, "a", "b", "c", "a", None, "c", "b"],
    ["c", "a", "b", "c", "a", "c", "c", "b"],
    ["b"] * 8,
    ["a"],
    [None, "c"],
    [None] * 8,
]


@pytest.mark.parametrize("kind", NETWORKS)
def test_each_row_has_its_own_adapter_and_head_and_the_base_stays(kind: str) -> None:
    base, files = adapters(kind)
    network = MixedNetwork(base, files.__getitem__, 2**24)
    alone = {name: apply_adapter(base, file).eval() for name, file in files.items()}
    for names in MIXES:
        batch = texts(len(names)).batch(slice(None))
        found = network.answer(batch, names)
        with torch.no_grad():
            answers = {name: forward(alone[name], batch) for name in names if name}
            plain = forward(base, batch)
        for row, name in enumerate(names):
            if name is None:
                assert torch.equal(found[row], plain[row])
            else:
                torch.testing.assert_close(found[row], answers[name][row], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "deberta-v2", "modernbert", "gpt2", "llama"])
def test_many_texts_are_answered_in_parts_of_similar_length(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[Batch] = []

    def recorded(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
        passes.append(batch)
        return forward(network, batch)

    base, files = adapters(kind)
    network = MixedNetwork(base, files.__getitem__, 2**24)
    monkeypatch.setattr(mixed, "forward", recorded)
    monkeypatch.setattr(mixed, "MAX_TOKENS", 40)
    names = [None, "a", "b", "c", None] * 5
    own = texts(len(names))
    found = network.answer(own.batch(slice(None)), names)
    masks = [batch["attention_mask"] for batch in passes]
    assert all(mask.numel() <= 40 and mask.any(0).all() for mask in masks)
    assert len(masks) < len(names) / 2
    alone = {name: apply_adapter(base, file).eval() for name, file in files.items()} | {None: base}
    rows = own.by_length().split([len(mask) for mask in masks])
    with torch.no_grad():
        for batch, part in zip(passes, rows, strict=True):
            for name in {names[row] for row in part.tolist()}:
                mine = [k for k, row in enumerate(part.tolist()) if names[row] == name]
                wanted = forward(alone[name], batch)[mine]
                exact = {"rtol": 0.0, "atol": 0.0} if name is None else {"rtol": 1e-5, "atol": 1e-5}
                torch.testing.assert_close(found[part[mine]], wanted, **exact)


@pytest.mark.parametrize("kind", CONFIGS)
def test_each_token_of_a_row_costs_what_its_own_adapter_gives_however_many_texts_there_are(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = language_model(kind, dtype=torch.float32).eval()
    files = files_of(base, task_of().test.batch(slice(0, 4)))
    network = MixedNetwork(base, files.__getitem__, 2**24)
    alone = {name: apply_adapter(base, file).eval() for name, file in files.items()} | {None: base}
    for names in [*MIXES, [None, "a", "b", "c", None] * 5]:
        own = task_of().test.first(len(names))
        batch = own.batch(slice(None))
        for tokens in mixed.MAX_TOKENS, 60:
            monkeypatch.setattr(mixed, "MAX_TOKENS", tokens)
            found = network.answer(batch, names)
            for row, name in enumerate(names):
                with torch.no_grad():
                    scored = own.scored[slice(*own.offsets[row : row + 2].tolist())].nonzero().flatten()
                    ids = own.tokens[slice(*own.offsets[row : row + 2].tolist())]
                    logs = alone[name](input_ids=ids[None]).logits[0].log_softmax(1)
                wanted = torch.zeros(found.shape[1])
                wanted[scored] = -logs[scored - 1, ids[scored]]
                torch.testing.assert_close(found[row], wanted, rtol=1e-4, atol=1e-5)
        monkeypatch.undo()


def test_an_adapter_of_the_output_layer_is_one_sentence() -> None:
    base = language_model("llama", dtype=torch.float32).eval()
    files = files_of(base, task_of().test.batch(slice(0, 4)), {"out": LoRASpec.of(target_modules=("lm_head",))})
    network = MixedNetwork(base, files.__getitem__, 2**24)
    with pytest.raises(ServingError, match="changes the output layer, lm_head: load it with PEFT"):
        network.answer(task_of().test.batch(slice(0, 1)), ["out"])


def test_heads_come_and_go_with_their_adapters_and_count() -> None:
    base, files = adapters("modernbert")
    network = MixedNetwork(base, files.__getitem__, 2**24)
    network.answer(texts(1).batch(slice(None)), ["c"])
    size = network.use.nbytes
    assert size > sum(tensor.nbytes for tensor in files["c"].head.values())
    network = MixedNetwork(base, files.__getitem__, size)
    batch = texts(1).batch(slice(None))
    for name in ("a", "b", "c", "a", "c", "b"):
        found = network.answer(batch, [name])
        with torch.no_grad():
            alone = forward(apply_adapter(base, files[name]).eval(), batch)
        torch.testing.assert_close(found, alone, rtol=1e-5, atol=1e-5)
        assert name in network.held
        assert network.use.nbytes <= size


def test_an_architecture_whose_layers_read_other_things_than_rows_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mixed, "SCORES", ())  # as if DeBERTa were not known
    base, files = adapters("deberta-v2")
    network = MixedNetwork(base, files.__getitem__, 2**24)
    batch = texts(3).batch(slice(None))
    for names in ["a", None, "c"], ["a", "b", "c"]:
        with pytest.raises(ServingError, match="read more than the rows"):
            network.answer(batch, names)


@pytest.mark.parametrize(
    ("kind", "changes", "head"),
    [
        ("xlnet", {"d_head": 8, "d_inner": 32, "max_position_embeddings": None}, ("sequence_summary", "logits_proj")),
        ("longformer", {"attention_window": 4, "max_position_embeddings": 66}, ("classifier",)),
        ("opt", {"ffn_dim": 32, "word_embed_proj_dim": 16}, ("score",)),
    ],
)
def test_an_architecture_whose_layers_read_no_rows_is_refused_however_many_rows_there_are(
    kind: str, changes: dict[str, Any], head: tuple[str, ...]
) -> None:
    base = network_of(built(kind, changes, *head)).eval()
    files = files_of(base, texts(4).batch(slice(None)), {"a": LoRASpec.of(rank=2)})
    network = MixedNetwork(base, files.__getitem__, 2**24)
    for rows, tokens in (4, 4), (4, 6), (1, 1), (1, 4):
        tensors = {"input_ids": torch.full((rows, tokens), 7), "attention_mask": torch.ones(rows, tokens).long()}
        with pytest.raises(ServingError, match="read more than the rows: load each adapter with PEFT"):
            network.answer(tensors, ["a"] * rows)
        with torch.no_grad():
            assert torch.equal(network.answer(tensors, [None] * rows), forward(base, tensors))


@pytest.mark.parametrize("which", ["direct", "after_source"])
def test_served_texts_are_what_each_run_answers(trained_home: TrainedHome, which: str) -> None:
    lab = Lab(Settings(home=trained_home.home))
    runs = [run for run in lab.store.members(getattr(trained_home, which)) if run.spec.role == "adapter"]
    asked = ["the big red dog sat", "a cat", "far and far and far and far and far and far and far and far and far", ""]
    rows = [Row(text=text, adapter=run.id) for text in asked for run in runs]
    rows += [Row(text=asked[0])] if which == "after_source" else []
    found = lab.predictor.predict(PredictRequest(rows=rows)).predictions
    names = lab.catalog.load("pets").class_names
    for row, prediction in zip(rows, found, strict=True):
        run = next((run for run in runs if run.id == row.adapter), None)
        own = run or runs[0]
        base = lab.artifacts.base_network(own)
        network = apply_adapter(base, lab.artifacts.adapter(run.id)) if run else base
        digest = own.spec.network.brought
        assert digest is not None
        length = own.spec.task.length if run else lab.store.run(str(own.spec.base)).spec.task.length
        (tokens,) = lab.networks.tokenizer(digest).encode([row.text or ""], length)
        batch = {"input_ids": torch.tensor([tokens]), "attention_mask": torch.ones(1, len(tokens), dtype=torch.int64)}
        with torch.no_grad():
            expected = forward(network.eval(), batch).softmax(1)[0]
        torch.testing.assert_close(torch.tensor(prediction.probabilities), expected, rtol=1e-4, atol=1e-5)
        assert prediction.name == names[int(expected.argmax())]
    listed = {each.adapter: each for each in lab.predictor.adapters().adapters}
    assert all(listed[run.id].reads == "text" for run in runs)
    lab.predictor.close()


def test_adapters_that_are_listed_with_one_base_are_answered_together_and_by_its_name(
    trained_home: TrainedHome, tmp_path: Path
) -> None:
    lab = Lab(Settings(home=trained_home.copy(tmp_path / "home")))
    lab.start()
    lab.catalog.keep(TextDataset("upload", *texts_of((20, 20), 0), *texts_of((10, 10), 1), ("cat", "dog")), "two")
    network, task = lab.networks.spec(trained_home.digest), PETS.but(dataset="two")
    other = fine_tune(lab, network, task, [(short(), LoRASpec.of(rank=1))], [0])
    finish(lab, *other.runs)
    groups: dict[str, list[Row]] = {}
    for each in lab.predictor.adapters().adapters:
        if each.reads == "text":
            groups.setdefault(each.base, []).append(Row(text="a cat", adapter=each.adapter))
    bases = {f"{trained_home.digest}/4", f"{trained_home.digest}/2", trained_home.after_source.base}
    assert set(groups) == bases
    for base, rows in groups.items():
        for named in base, None:
            assert len(lab.predictor.predict(PredictRequest(rows=rows, base=named)).predictions) == len(rows)
    with pytest.raises(ServingError, match="All rows of a request are on one base"):
        lab.predictor.predict(PredictRequest(rows=[rows[0] for rows in groups.values()]))
    with pytest.raises(ServingError, match="each row names an adapter"):
        lab.predictor.predict(PredictRequest(rows=[Row(text="a cat")], base=f"{trained_home.digest}/2"))
    with pytest.raises(UnknownRunError, match="There is no base 'tiny-bert'"):
        lab.predictor.predict(PredictRequest(rows=[Row(text="a cat")], base=NETWORK))
    lab.close()


def test_rows_of_the_wrong_kind_and_without_an_adapter_are_one_sentence(trained_home: TrainedHome) -> None:
    lab = Lab(Settings(home=trained_home.home))
    run = next(run for run in lab.store.members(trained_home.direct) if run.spec.role == "adapter")
    for rows, sentence in (
        ([Row(pixels=[0.5], adapter=run.id)], "reads texts: give each row its text"),
        ([Row(text="a", adapter=run.id), Row(text="a")], "each row names an adapter"),
        ([Row(text="a", prompt="b", adapter=run.id)], "takes a prompt: leave it out"),
    ):
        with pytest.raises(ServingError, match=sentence):
            lab.predictor.predict(PredictRequest(rows=rows))
    lab.predictor.close()
