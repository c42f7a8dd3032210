"""An adapter goes onto its own base only, and is verified there."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.adapter import apply_adapter, read_adapter, verify_adapter
from core.adapter.archive import CERTIFICATE, json_bytes, zip_bytes
from core.adapter.certificate import logits_of, merged_logits_of
from core.errors import AdapterError, BaseMismatchError, NetworkFileError
from core.methods.adapted import adapted_layers
from core.methods.linear import count_parameters
from core.networks.file import fingerprint, write_network
from tests.adapter.samples import (
    A0,
    B0,
    BASE,
    ENTRIES,
    GOOD,
    MODEL,
    SMALL,
    WHOLE,
    WIDE,
    assert_close,
    logits,
    peft_like,
    probe,
)

pytestmark = pytest.mark.usefixtures("read_here")

# Putting an adapter on a base


def test_applying_leaves_the_base_and_the_random_numbers_alone() -> None:
    before, state = fingerprint(BASE.state_dict()), torch.get_rng_state()
    base_logits = logits(BASE, probe())
    model = apply_adapter(BASE, read_adapter(WHOLE))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(logits(model, probe()), logits(MODEL, probe()))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert fingerprint(BASE.state_dict()) == before
    assert torch.equal(logits(BASE, probe()), base_logits)
    assert all(p.requires_grad for p in BASE.parameters())
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        n for n, p in model.named_parameters() if ".lora." in n
    }


@pytest.mark.parametrize("training", [True, False])
def test_an_applied_adapter_has_the_mode_of_the_base(training: bool) -> None:
    model = apply_adapter(copy.deepcopy(BASE).train(training), read_adapter(WHOLE))
    assert {m.training for m in model.modules()} == {training}


def test_another_base_is_refused_however_small_the_difference() -> None:
    other = copy.deepcopy(BASE)
    with torch.no_grad():
        other.layers[0].bias[0] = torch.nextafter(other.layers[0].bias[0], torch.tensor(9.0))
    for base in (other, SMALL.build(seed=2), WIDE.build(seed=1)):
        with pytest.raises(BaseMismatchError, match="trained on another base"):
            apply_adapter(base, read_adapter(WHOLE))


def test_a_network_with_adapters_takes_no_second_one() -> None:
    with pytest.raises(AdapterError, match="already has LoRA adapters"):
        apply_adapter(MODEL, read_adapter(WHOLE))


@pytest.mark.parametrize(
    "base",
    [
        WIDE.build(seed=1),
        SMALL.but(num_hidden_1=10).build(seed=1),
        SMALL.but(num_classes=6).build(seed=1),
        nn.Sequential(nn.Linear(12, 11)),
        nn.ModuleDict({"layers": nn.Sequential(*list(BASE.layers)[:3])}),
    ],
    ids=["wide", "hidden", "classes", "flat", "shallower"],
)
@pytest.mark.parametrize("targets", [["layers.0", "layers.2", "layers.4"], "all-linear"], ids=str)
def test_shapes_that_do_not_fit_are_refused_without_a_fingerprint_too(base: nn.Module, targets: Any) -> None:
    adapter = read_adapter(peft_like(config={"target_modules": targets}))
    with pytest.raises(BaseMismatchError, match="does not fit this base"):
        apply_adapter(base, adapter)


def test_a_pair_that_only_the_base_can_miss_is_missed_there() -> None:
    everywhere = {"target_modules": "all-linear"}
    with pytest.raises(BaseMismatchError, match=r"layer layers\.0 is in only one"):
        apply_adapter(BASE, read_adapter(peft_like({A0: None, B0: None}, everywhere)))
    deeper = nn.ModuleDict({"layers": nn.Sequential(*BASE.layers, nn.ReLU(), nn.Linear(5, 5))})
    with pytest.raises(BaseMismatchError, match=r"layer layers\.6 is in only one"):
        apply_adapter(deeper, read_adapter(peft_like(config=everywhere)))


# Verifying


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "adapter.zip").write_bytes(WHOLE)
    write_network(tmp_path / "base.safetensors", BASE)
    return tmp_path / "adapter.zip", tmp_path / "base.safetensors"


def test_a_sound_adapter_is_verified_in_full(files: tuple[Path, Path]) -> None:
    found = verify_adapter(*files)
    assert (found.fingerprint_matches, found.certified) == (True, True)
    assert (found.layers, found.rank) == (GOOD.layers, 3)
    assert found.parameters == count_parameters(MODEL, trainable=True)
    assert 0 < found.merged.largest_difference < 1e-5
    assert found == verify_adapter(*files)


def test_an_adapter_of_peft_is_verified_without_claims(files: tuple[Path, Path]) -> None:
    files[0].write_bytes(peft_like())
    found = verify_adapter(*files)
    assert (found.fingerprint_matches, found.certified) == (None, False)


def test_another_base_a_broken_base_and_a_broken_adapter_do_not_verify(files: tuple[Path, Path]) -> None:
    adapter, base = files
    write_network(base, SMALL.build(seed=2))
    with pytest.raises(BaseMismatchError):
        verify_adapter(adapter, base)
    for broken in (b"", WHOLE):
        base.write_bytes(broken)
        with pytest.raises(NetworkFileError):
            verify_adapter(adapter, base)
    write_network(base, BASE)
    adapter.write_bytes(WHOLE[:-1])
    with pytest.raises(AdapterError):
        verify_adapter(adapter, base)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"reloaded_difference": 0.1}, "above the tolerance"),
        ({"merged_difference": 0.1}, "above the tolerance"),
        ({"merged_difference": -1}, "above the tolerance"),
        ({"largest_logit": 1e30}, "it is not of this adapter"),
        ({"largest_logit": 1e30, "merged_difference": 1e20}, "it is not of this adapter"),
        ({"largest_logit": -1.0}, "it is not of this adapter"),
    ],
)
def test_a_certificate_of_a_difference_or_of_logits_that_are_never_reached_does_not_verify(
    files: tuple[Path, Path], change: dict[str, float], sentence: str
) -> None:
    claims = json.loads(ENTRIES[CERTIFICATE]) | change
    files[0].write_bytes(zip_bytes(ENTRIES | {CERTIFICATE: json_bytes(claims)}))
    with pytest.raises(AdapterError, match=sentence):
        verify_adapter(*files)


def test_what_is_said_of_an_adapter_is_what_was_compared(files: tuple[Path, Path]) -> None:
    found = verify_adapter(*files)
    probe = SMALL.examples(found.merged.examples, torch.Generator().manual_seed(0)).batch(slice(None))["pixels"]
    assert found.merged.largest_logit == logits(MODEL, probe).abs().max().item()
    assert "its certificate matches the file's contents" in str(found)
    assert f"on 64 random inputs its logits reach {found.merged.largest_logit:.3g}" in str(found)


def test_measuring_leaves_the_network_as_it_was() -> None:
    before = fingerprint(MODEL.state_dict())
    for training in (True, False):
        MODEL.train(training)
        assert_close(merged_logits_of(MODEL, {"pixels": probe()}), logits_of(MODEL, {"pixels": probe()}))
        assert MODEL.training == training
        assert not any(layer.merged for layer in adapted_layers(MODEL).values())
    assert fingerprint(MODEL.state_dict()) == before
