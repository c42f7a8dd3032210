"""Texts: rows of one batch have other adapters and other heads, as every architecture has them."""

from __future__ import annotations

import copy

import pytest
import torch

from core.adapter import AdapterFile, apply_adapter, read_adapter
from core.adapter.card import Card
from core.adapter.write import adapter_bytes
from core.errors import ServingError
from core.lab import Lab
from core.methods.dora import DoRASpec
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.networks.fingerprint import base_fingerprint
from core.networks.forward import forward
from core.serving import mixed
from core.serving.mixed import MixedNetwork
from core.serving.panes import BASE, Panes
from core.serving.request import PredictRequest, Row
from core.settings import Settings
from tests.adapter.samples import perturb
from tests.text_home import TextHome
from tests.training.tiny_texts import ARCHITECTURES, network_of, spec_of, texts

SPECS: dict[str, LowRankSpec] = {
    "a": LoRASpec.of(rank=2, target_modules=("attention",)),
    "b": LoRASpec.of(rank=1, alpha=3.0, scaling="alpha"),
    "c": DoRASpec.of(rank=3),
}
REFUSED = {"deberta-v2": "read more than the rows", "modernbert": "more than a small linear layer"}
"""The first projects positions by adapted layers, the second has a norm in its head."""


def adapters(kind: str) -> tuple[torch.nn.Module, dict[str, AdapterFile]]:
    base = network_of(spec_of(kind)).eval()
    files = {}
    for seed, (name, spec) in enumerate(SPECS.items()):
        model = spec.prepare(copy.deepcopy(base), torch.Generator().manual_seed(seed))
        perturb(*(parameter for parameter in model.parameters() if parameter.requires_grad), seed=seed)
        probe = texts(4).batch(slice(None))
        files[name] = read_adapter(
            adapter_bytes(model, spec, base_fingerprint=base_fingerprint(base), card=Card("r-1", "r-0"), probe=probe)
        )
    return base, files


def test_the_head_is_left_at_a_strength_of_zero() -> None:
    base, files = adapters("bert")
    panes = Panes(base, copy.deepcopy(base))
    for name, file in files.items():
        panes.add_adapter(name, file)
    found = panes.answer(texts(4).batch(slice(None)), list(files), dict.fromkeys(files, 0.0)).logits
    for name, left in {"a": ("head",), "b": ("head",), "c": ("magnitudes", "head")}.items():
        assert panes.left_at_zero(name) == left
        assert not torch.allclose(found[name], found[BASE])


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_each_row_has_its_own_adapter_and_head_and_the_base_stays(kind: str) -> None:
    base, files = adapters(kind)
    network = MixedNetwork(base, files.__getitem__, 2**24)
    names = [None, "a", "b", "c", "a", None, "c", "b"]
    batch = texts(len(names)).batch(slice(None))
    all_named = ["c" if name is None else name for name in names]  # computed otherwise, since no bits are promised
    if kind in REFUSED:
        for wanted in names, all_named:
            with pytest.raises(ServingError, match=REFUSED[kind]):
                network.answer(batch, wanted)
        return
    found, found_named = network.answer(batch, names), network.answer(batch, all_named)
    with torch.no_grad():
        alone = {name: forward(apply_adapter(base, file).eval(), batch) for name, file in files.items()}
        plain = forward(base, batch)
    for row, name in enumerate(names):
        if name is None:
            assert torch.equal(found[row], plain[row])
        else:
            torch.testing.assert_close(found[row], alone[name][row], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found_named[row], alone[all_named[row]][row], rtol=1e-5, atol=1e-5)
    assert torch.equal(network.answer(batch, [None] * len(names)), plain)


def test_a_head_that_takes_too_many_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    base, files = adapters("bert")
    monkeypatch.setattr(mixed, "MAX_HEAD", 1)
    with pytest.raises(ServingError, match="more than a small linear layer"):
        MixedNetwork(base, files.__getitem__, 2**24).answer(texts(1).batch(slice(None)), ["a"])


@pytest.mark.parametrize("which", ["direct", "after_source"])
def test_served_texts_are_what_each_run_answers(text_home: TextHome, which: str) -> None:
    lab = Lab(Settings(home=text_home.home))
    runs = [run for run in lab.members(getattr(text_home, which)) if run.spec.adapter]
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
        length = own.spec.task.length if run else lab.run(str(own.spec.base)).spec.task.length
        (tokens,) = lab.networks.reader(digest).encode([row.text or ""], length)
        batch = {"input_ids": torch.tensor([tokens]), "attention_mask": torch.ones(1, len(tokens), dtype=torch.int64)}
        with torch.no_grad():
            expected = forward(network.eval(), batch).softmax(1)[0]
        torch.testing.assert_close(torch.tensor(prediction.probabilities), expected, rtol=1e-4, atol=1e-5)
        assert prediction.name == names[int(expected.argmax())]
    listed = {each.adapter: each for each in lab.predictor.adapters().adapters}
    assert all(listed[run.id].reads == "text" for run in runs)
    lab.predictor.close()


def test_rows_of_the_wrong_kind_and_without_an_adapter_are_one_sentence(text_home: TextHome) -> None:
    lab = Lab(Settings(home=text_home.home))
    run = next(run for run in lab.members(text_home.direct) if run.spec.adapter)
    for rows, sentence in (
        ([Row(pixels=[0.5], adapter=run.id)], "reads texts: give each row its text"),
        ([Row(text="a", adapter=run.id), Row(text="a")], "name an adapter in each row"),
    ):
        with pytest.raises(ServingError, match=sentence):
            lab.predictor.predict(PredictRequest(rows=rows))
    lab.predictor.close()
